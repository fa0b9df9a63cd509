//! Arguments: help, sizes, and names that are taken.

use std::{fs, os::unix::fs::symlink, path::Path};

use crate::command::{Folder, run};

#[test]
fn no_arguments_show_the_help() {
    let ran = run::<&str>([]);
    assert_eq!(ran.code, Some(2));
    let commands = ["pack", "unpack", "verify", "inspect", "heatmap", "sort", "demo"];
    for command in commands.into_iter().chain(["Exit codes:"]) {
        assert!(ran.stderr.contains(command), "{}", ran.stderr);
    }
    let help = run(["verify", "--help"]);
    assert!(help.done().contains("3    `verify`, or `heatmap --verify`, found damage"), "{help:?}");
}

#[test]
fn a_bad_page_size_is_refused_with_the_possible_ones() {
    for (size, words) in [
        ("0", "pass a power of two from 4096 (4 KiB) to 2097152 (2 MiB)"),
        ("3", "page size 3 is not possible"),
        ("9223372036854775808", "pass a power of two from 4096"),
        ("4MiB", "page size 4194304 is not possible"),
        ("many", "write it like 4096, 4KiB, 64k or 2MiB"),
    ] {
        let ran = run(["pack", "-", "out", "--page-size", size]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(words), "{words:?} is missing in {}", ran.stderr);
    }
}

#[test]
fn nothing_is_replaced_without_force() {
    let folder = Folder::new();
    let packed = folder.packed("packed", b"packed", "4k");
    let taken = folder.file("taken", b"precious");
    for command in ["pack", "unpack"] {
        let ran = run([command.as_ref(), packed.as_os_str(), taken.as_os_str()]);
        ran.refused(&["taken exists already", "pass --force"]);
        assert_eq!(fs::read(&taken).unwrap(), b"precious");
    }
    run(["unpack".as_ref(), packed.as_os_str(), taken.as_os_str(), "--force".as_ref()]).done();
    assert_eq!(fs::read(&taken).unwrap(), b"packed");
    run(["pack".as_ref(), taken.as_os_str(), taken.as_os_str(), "--force".as_ref()]).done();
    let unpacked = run(["unpack".as_ref(), taken.as_os_str(), "-".as_ref()]);
    assert_eq!(unpacked.stdout, b"packed", "packing a file in its own place is fine");
    assert_eq!(folder.names(), ["input", "packed", "taken"]);
}

#[test]
fn force_replaces_files_only() {
    let folder = Folder::new();
    let packed = folder.packed("packed", b"packed", "4k");
    let (link, sub_folder) = (folder.join("link"), folder.join("folder"));
    symlink(&packed, &link).unwrap();
    fs::create_dir(&sub_folder).unwrap();
    for command in ["pack", "unpack"] {
        for (path, found) in [
            (link.as_path(), "a symlink"),
            (sub_folder.as_path(), "a folder"),
            (Path::new("/dev/null"), "a device"),
        ] {
            let ran =
                run([command.as_ref(), packed.as_os_str(), path.as_os_str(), "--force".as_ref()]);
            ran.refused(&["cannot write to", found, "name a regular file"]);
        }
    }
    let nowhere = folder.join("no/where");
    for command in ["pack", "unpack"] {
        let ran = run([command.as_ref(), packed.as_os_str(), nowhere.as_os_str()]);
        ran.refused(&["No such file or directory", "check the path"]);
    }
    run(["pack".as_ref(), packed.as_os_str(), "-".as_ref()]).refused(&["standard output", "`./-`"]);
}

/// README's first command is `cargo run`, and other members of the workspace have programs too. What cargo would run is
/// what it says of them: building it once more takes a minute.
#[test]
fn cargo_run_means_this_program() {
    let top = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let output = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(top)
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains(r#""default_run":"storage""#), "no package says which program it runs");
    assert_eq!(told.matches(r#""default_run":""#).count(), 1, "several say which one they run");
}
