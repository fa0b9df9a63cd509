//! Files that are not what they should be: exit code 1 and a message that says what to do, or, for
//! `verify`, 3 where the file is one of ours that was damaged.

use std::{
    fs::{self, File, Permissions},
    os::unix::{
        fs::{PermissionsExt, symlink},
        process::CommandExt,
    },
    path::Path,
};

use crc_fast::{CrcAlgorithm, checksum};
use storage::{PageCount, PageFile};

use crate::command::{Folder, Ran, command, run, some_bytes};

/// Runs the commands that read a page file on it.
fn verify_unpack_inspect(path: &Path) -> [Ran; 3] {
    let run = |command: &str| run([command.as_ref(), path.as_os_str()]);
    let unpacked = crate::command::run(["unpack".as_ref(), path.as_os_str(), "-".as_ref()]);
    [run("verify"), unpacked, run("inspect")]
}

/// Checks that all of them refuse the file with these words.
#[track_caller]
fn all_refuse(path: &Path, words: &[&str]) {
    for ran in verify_unpack_inspect(path) {
        ran.refused(words);
        assert!(ran.stdout.is_empty());
    }
}

/// Checks that what maps a file refuses it with these words. (`inspect` only looks.)
#[track_caller]
fn mapping_is_refused(path: &Path, words: &[&str]) {
    let [verified, unpacked, _] = verify_unpack_inspect(path);
    verified.refused(words);
    unpacked.refused(words);
}

#[test]
fn other_files() {
    let folder = Folder::new();
    let text = folder.file("text", b"This is not a page file but a text of some length.\n");
    all_refuse(&text, &["this is not a page file", "text: "]);
    let zeros = folder.file("zeros", &[0; 20_000]);
    all_refuse(&zeros, &["this is not a page file"]);
    let short = folder.file("short", b"text\n");
    all_refuse(&short, &["this is not a page file: it has 5 bytes"]);
    let empty = folder.file("empty", b"");
    all_refuse(&empty, &["this is not a page file: it is empty"]);
    all_refuse(&folder.join("missing"), &["cannot open", "No such file", "check the path"]);
    run(["pack".as_ref(), folder.join("missing").as_os_str(), folder.join("x").as_os_str()])
        .refused(&["cannot open", "No such file", "check the path"]);
}

#[test]
fn what_is_no_file() {
    let folder = Folder::new();
    let packed = folder.packed("packed", b"bytes", "4k");
    let (fifo, link) = (folder.join("fifo"), folder.join("link"));
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    symlink(&packed, &link).unwrap();
    for (path, found) in [
        (folder.path(), "a folder"),
        (&fifo, "a FIFO"),
        (&link, "a symlink"),
        (Path::new("/dev/null"), "a device"),
    ] {
        all_refuse(path, &[found, "pass the path of a regular file"]);
    }
    run(["pack".as_ref(), folder.path().as_os_str(), folder.join("x").as_os_str()])
        .refused(&["is a folder", "tar c FOLDER | storage pack - OUT"]);
}

#[test]
fn files_that_were_cut_short() {
    let folder = Folder::new();
    let packed = folder.packed("packed", &some_bytes(20_000), "4k");
    let bytes = fs::read(&packed).unwrap();
    for len in [1, 7, 8, 9, 255, 256, 257, 4095, 4096, 4097, 8191] {
        let cut = folder.file("cut", &bytes[..len]);
        fs::set_permissions(&cut, Permissions::from_mode(0o600)).unwrap();
        let [verified, unpacked, inspected] = verify_unpack_inspect(&cut);
        verified.damaged(&["the header takes 8192 bytes", "the file was cut short"]);
        unpacked.refused(&["the header takes 8192 bytes", "the file was cut short"]);
        inspected.refused(&["the header takes 8192 bytes", "the file was cut short"]);
    }
    for len in [8192, 8193, 10_000, 12_288, bytes.len() - 4097, bytes.len() - 1] {
        let cut = folder.file("cut", &bytes[..len]);
        let [verified, unpacked, inspected] = verify_unpack_inspect(&cut);
        let found = format!("the file is {len} bytes long");
        verified.damaged(&[&found, "it was cut short"]);
        unpacked.refused(&[&found, "it was cut short"]);
        assert!(inspected.done().contains("bytes: DAMAGED, the header describes"), "{inspected:?}");
    }
    let mut longer = bytes;
    longer.push(0);
    let longer = folder.file("longer", &longer);
    let [verified, unpacked, _] = verify_unpack_inspect(&longer);
    verified.damaged(&["written to from outside"]);
    unpacked.refused(&["written to from outside"]);
}

/// A superblock that is intact but says `field` at `offset`, in both slots.
fn forged(bytes: &[u8], offset: usize, field: &[u8]) -> Vec<u8> {
    let mut forged = bytes.to_vec();
    for slot in [0, 4096] {
        forged[slot + offset..][..field.len()].copy_from_slice(field);
        let crc = checksum(CrcAlgorithm::Crc32Iscsi, &forged[slot..slot + 252]);
        forged[slot + 252..slot + 256].copy_from_slice(&crc.to_le_bytes()[..4]);
    }
    forged
}

#[test]
fn headers_that_say_what_cannot_be() {
    let folder = Folder::new();
    let bytes = fs::read(folder.packed("packed", &some_bytes(20_000), "4k")).unwrap();
    for (offset, field, words) in [
        (8, &2_u32.to_le_bytes()[..], "format version 2 cannot be read"),
        (64, &5_u64.to_le_bytes(), "needs features 0x4 that this build does not know"),
        (64, &3_u64.to_le_bytes(), "expected sealed or versioned, not both"),
        (16, &0_u64.to_le_bytes(), "page size 0 is not possible: pass a power of two"),
        (16, &3_u64.to_le_bytes(), "page size 3 is not possible: pass a power of two"),
        (16, &(1_u64 << 63).to_le_bytes(), "page size 9223372036854775808 is not possible"),
        (24, &(1_u64 << 52).to_le_bytes(), "do not fit a file"),
        (24, &u64::MAX.to_le_bytes(), "do not fit a file"),
    ] {
        let path = folder.file("forged", &forged(&bytes, offset, field));
        all_refuse(&path, &[words]);
    }
    // More pages than there are: a page file of ours as far as anybody can tell, but not whole.
    let path = folder.file("forged", &forged(&bytes, 24, &1_000_000_u64.to_le_bytes()));
    let [verified, unpacked, _] = verify_unpack_inspect(&path);
    verified.damaged(&["bytes long, but its header describes 4"]);
    unpacked.refused(&["bytes long, but its header describes 4"]);
}

#[test]
fn files_that_are_in_use_or_open_to_others() {
    let folder = Folder::new();
    let packed = folder.packed("packed", b"bytes", "4k");
    let writer = File::open(&packed).unwrap();
    writer.lock().unwrap();
    mapping_is_refused(&packed, &["is in use", "close it there first"]);
    drop(writer);
    for mode in [0o620, 0o602, 0o666] {
        fs::set_permissions(&packed, Permissions::from_mode(mode)).unwrap();
        mapping_is_refused(&packed, &["cannot be opened safely", "(chmod go-w)"]);
    }
    fs::set_permissions(&packed, Permissions::from_mode(0o644)).unwrap();
    run(["verify".as_ref(), packed.as_os_str()]).done();
}

#[test]
fn a_mutable_file_can_be_inspected_only() {
    let folder = Folder::new();
    let path = folder.join("mutable");
    let file = PageFile::create(&path).unwrap();
    file.grow(PageCount::new(5)).unwrap();
    mapping_is_refused(&path, &["is in use"]);
    let inspected = run(["inspect".as_ref(), path.as_os_str()]);
    assert!(inspected.done().contains("5 (20.00 KiB), from byte 8192 on; 0 at the last flush"));
    assert!(inspected.told().contains("slot 1 empty: never written"), "{}", inspected.told());
    file.close().unwrap();
    mapping_is_refused(&path, &["is a mutable page file", "only a sealed one"]);
    let inspected = run(["inspect".as_ref(), path.as_os_str()]);
    for words in ["version 1, mutable", "generation   2", "slot 1 in use", "slot 0 intact"] {
        assert!(inspected.done().contains(words), "{words:?} is missing in {}", inspected.told());
    }
}

#[test]
fn no_address_space() {
    let folder = Folder::new();
    let packed = folder.packed("packed", &vec![0; 200 << 20], "4k");
    let ran = std::process::Command::new("sh")
        .args(["-c", "ulimit -v 150000 && exec \"$0\" verify \"$1\""])
        .args([env!("CARGO_BIN_EXE_storage").as_ref(), packed.as_os_str()])
        .output();
    Ran::from(ran.unwrap()).refused(&["cannot reserve 209", "ulimit -v unlimited"]);
}

#[test]
fn no_permission() {
    const NOBODY: u32 = 65_534;
    let folder = Folder::new();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let packed = folder.packed("packed", b"bytes", "4k");
    fs::set_permissions(&packed, Permissions::from_mode(0o000)).unwrap();
    // Root may read everything, so it sends somebody else, who needs the command in a place that
    // everybody can reach.
    let binary = folder.join("storage");
    // By another process, so that no descriptor of this one is open for writing to what is to run.
    let mut copy = std::process::Command::new("cp");
    assert!(copy.arg(env!("CARGO_BIN_EXE_storage")).arg(&binary).status().unwrap().success());
    let runs = [
        vec!["verify".as_ref(), packed.as_os_str()],
        vec!["inspect".as_ref(), packed.as_os_str()],
        vec!["unpack".as_ref(), packed.as_os_str(), "-".as_ref()],
        vec!["pack".as_ref(), packed.as_os_str(), "/dev/shm/never-made".as_ref()],
    ];
    for args in runs {
        let mut command = command::<&str>([]);
        if rustix::process::geteuid().is_root() {
            command = std::process::Command::new(&binary);
            command.uid(NOBODY).gid(NOBODY);
        }
        let ran = Ran::from(command.args(args).output().unwrap());
        ran.refused(&["cannot open", "Permission denied", "by the owner and the mode"]);
    }
}
