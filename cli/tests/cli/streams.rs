//! Standard output that nobody reads, or that has no room.

use std::{fs::OpenOptions, io};

use crate::command::{Folder, Ran, command, some_bytes};

#[test]
fn nobody_reads_the_output() {
    let folder = Folder::new();
    let packed = folder.packed("packed", &some_bytes(3 << 20), "4k");
    for (args, code) in [
        (vec!["inspect".as_ref(), packed.as_os_str()], 0),
        (vec!["verify".as_ref(), packed.as_os_str()], 0),
        (vec!["pack".as_ref(), packed.as_os_str(), folder.join("again").as_os_str()], 0),
        // The bytes went nowhere, so this is no success; but there is nothing to say about it.
        (vec!["unpack".as_ref(), packed.as_os_str(), "-".as_ref()], 1),
    ] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let ran = Ran::from(command(&args).stdout(writer).output().unwrap());
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(code), ""), "{args:?}");
    }
}

#[test]
fn the_output_has_no_room() {
    let folder = Folder::new();
    let packed = folder.packed("packed", b"bytes", "4k");
    for args in [
        vec!["inspect".as_ref(), packed.as_os_str()],
        vec!["unpack".as_ref(), packed.as_os_str(), "-".as_ref()],
    ] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ran = Ran::from(command(&args).stdout(full).output().unwrap());
        ran.refused(&["cannot write to standard output", "No space left on device"]);
    }
}
