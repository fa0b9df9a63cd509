//! What was packed comes back byte for byte, whatever its length and the page size.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::command::{Folder, Ran, command, run, run_with_input, some_bytes};

const LENGTHS: [usize; 6] = [0, 1, 4095, 4096, 4097, (3 << 20) + 7];
const PAGE_SIZES: [&str; 4] = ["4096", "4KiB", "64k", "2MiB"];

#[test]
fn files_of_all_lengths_and_page_sizes() {
    for len in LENGTHS {
        for page_size in PAGE_SIZES {
            let folder = Folder::new();
            let bytes = some_bytes(len);
            let packed = folder.packed("packed", &bytes, page_size);
            let unpacked = folder.join("unpacked");
            run(["unpack".as_ref(), packed.as_os_str(), unpacked.as_os_str()]).done();
            assert!(fs::read(&unpacked).unwrap() == bytes, "{len} bytes in pages of {page_size}");
            let verified = run(["verify".as_ref(), packed.as_os_str()]);
            assert!(verified.done().starts_with("good: all "), "{verified:?}");
            assert_eq!(folder.names(), ["input", "packed", "unpacked"], "nothing else is left");
        }
    }
}

#[test]
fn pipes_on_both_sides() {
    let folder = Folder::new();
    let packed = folder.join("packed");
    for len in LENGTHS {
        let bytes = some_bytes(len);
        let ran = run_with_input(
            ["pack".as_ref(), "-".as_ref(), packed.as_os_str(), "--force".as_ref()],
            &bytes,
        );
        assert!(ran.done().contains("of standard input into"), "{ran:?}");
        let unpacked = run(["unpack".as_ref(), packed.as_os_str(), "-".as_ref()]);
        assert_eq!((unpacked.code, unpacked.stderr.as_str()), (Some(0), ""));
        assert!(unpacked.stdout == bytes, "{len} bytes through pipes, and nothing but them");
    }
}

#[test]
fn standard_input_may_be_a_file_and_input_a_fifo() {
    let folder = Folder::new();
    let bytes = some_bytes(200_000);
    let (input, packed, fifo) =
        (folder.file("input", &bytes), folder.join("packed"), folder.join("fifo"));
    let output = command(["pack".as_ref(), "-".as_ref(), packed.as_os_str()])
        .stdin(fs::File::open(&input).unwrap())
        .output();
    Ran::from(output.unwrap()).done();
    let unpacked = run(["unpack".as_ref(), packed.as_os_str(), "-".as_ref()]);
    assert!(unpacked.stdout == bytes);

    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    let args = ["pack".as_ref(), fifo.as_os_str(), packed.as_os_str(), "--force".as_ref()];
    let child = command(args).spawn().unwrap();
    fs::write(&fifo, &bytes[..100_000]).unwrap();
    Ran::from(child.wait_with_output().unwrap()).done();
    let unpacked = run(["unpack".as_ref(), packed.as_os_str(), "-".as_ref()]);
    assert!(unpacked.stdout == bytes[..100_000]);
}

#[test]
fn what_is_made_is_its_owners_alone() {
    let folder = Folder::new();
    let packed = folder.packed("packed", b"secret", "4k");
    let unpacked = folder.join("unpacked");
    run(["unpack".as_ref(), packed.as_os_str(), unpacked.as_os_str()]).done();
    for path in [packed, unpacked] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn the_report_counts_what_was_done() {
    let folder = Folder::new();
    let input = folder.file("input", &some_bytes(10_000));
    let packed = folder.join("packed");
    let told = run(["pack".as_ref(), input.as_os_str(), packed.as_os_str()]);
    assert!(told.done().contains("(10,000 bytes)"), "{told:?}");
    assert!(told.done().contains("3 pages of 4 KiB, sealed and durable, in "), "{told:?}");
    let inspected = run(["inspect".as_ref(), packed.as_os_str()]);
    for words in [
        "version 1, sealed",
        "page size    4 KiB (4096 bytes)",
        "pages        3 (12.00 KiB), from byte 8192 on",
        "file length  28,672 bytes, as the header describes",
        "slot 0 in use",
        "slot 1 intact",
        "intact: payload of 10,000 bytes",
        "generation   1",
    ] {
        assert!(inspected.done().contains(words), "{words:?} is missing in {}", inspected.told());
    }
}
