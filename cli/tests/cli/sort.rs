//! `storage sort`, against `LC_ALL=C sort` itself.
//!
//! Method: the same bytes through both, with all options, inputs that are random and such as are
//! made to be hard; small amounts of memory, so that runs are spilled and merged more than once.

use std::{
    fs,
    io::Write,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    command::{Folder, Ran, command, run, run_with_input},
    loop_disk::LoopDisk,
    skip,
};

/// The least memory that there can be.
const LITTLE: &str = "--memory=16MiB";

/// A generator that is always the same.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.below(256).to_le_bytes()[0]
    }
}

/// What GNU sort makes of a file.
fn gnu(options: &[&str], input: &std::path::Path) -> Vec<u8> {
    let output = Command::new("sort").env("LC_ALL", "C").args(options).arg(input).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// Checks that both sort a file alike.
#[track_caller]
fn same(folder: &Folder, input: &std::path::Path, options: &[&str], memory: &str) {
    let expected = gnu(options, input);
    let mut args: Vec<_> = vec!["sort".as_ref(), input.as_os_str(), "-".as_ref(), memory.as_ref()];
    args.push("--tmp".as_ref());
    args.push(folder.path().as_os_str());
    args.extend(options.iter().map(std::ffi::OsStr::new));
    let ran = run(args);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    if ran.stdout != expected {
        let at = ran.stdout.iter().zip(&expected).take_while(|(a, b)| a == b).count();
        let near = |bytes: &[u8]| {
            String::from_utf8_lossy(&bytes[at.saturating_sub(40)..(at + 40).min(bytes.len())])
                .into_owned()
        };
        panic!(
            "{options:?}: {} bytes and {} differ at {at}: {:?}, expected {:?}",
            ran.stdout.len(),
            expected.len(),
            near(&ran.stdout),
            near(&expected)
        );
    }
}

const ALL_OPTIONS: [&[&str]; 17] = [
    &[],
    &["-r"],
    &["-u"],
    &["-s"],
    &["-n"],
    &["-n", "-u"],
    &["-n", "-s"],
    &["-n", "-r"],
    &["-n", "-s", "-r"],
    &["-k2"],
    &["-k2,2"],
    &["-k2,2", "-s"],
    &["-k2,3", "-r", "-u"],
    &["-k3", "-n"],
    &["-k2,2", "-n", "-u", "-r"],
    &["-k3,2"],
    &["-k1,1", "-s", "-r"],
];

/// Texts that have been hard for somebody.
fn hard_texts() -> Vec<Vec<u8>> {
    let mut random = Random(88_172_645_463_325_252);
    let mut texts: Vec<Vec<u8>> = [
        &b""[..],
        b"\n",
        b"\n\n\n",
        b"no newline",
        b"b\na",
        b"\0\n\0\0\n\na\0b\na\0\na\n",
        b"\xff\xfe\n\x80\n\x7f\n \n\t\n",
        b"a\r\nb\r\na\n",
        b"  a\n a\na\n\t a\na  b\na b\n",
        b"10\n9\n-1\n-0\n0\n00\n 1\n1.\n1.0\n.5\n-.5\n1e3\n+4\n--3\n- 2\n0x10\n1,000\n",
        b"00000000000000000000001\n1\n99999999999999999999999\n1.00000000000000000001\n",
        b"12345678\n123456789\n1234567\n12345678\0\n12345678\x01\n",
    ]
    .iter()
    .map(|text| text.to_vec())
    .collect();
    for round in 0..12 {
        let mut text = Vec::new();
        for _ in 0..random.below(600) {
            match round % 4 {
                // Few different lines.
                0 => text.extend(b"abab \t01-."[random.index(8)..].iter().take(3)),
                // Fields and numbers.
                1 => {
                    let (a, b) = (random.below(50), random.below(2000));
                    text.extend(
                        format!("k{a}  {}.{} {b}", i64::try_from(b).unwrap() - 1000, a).bytes(),
                    );
                }
                2 => text.extend((0..random.below(40)).map(|_| random.byte())),
                _ => text.extend((0..random.below(6)).map(|_| b" \t-01.9a\0\n"[random.index(10)])),
            }
            text.push(b'\n');
        }
        if round % 2 == 0 {
            text.pop();
        }
        texts.push(text);
    }
    texts
}

#[test]
fn all_options_sort_hard_texts_as_gnu_does() {
    let folder = Folder::new();
    for text in hard_texts() {
        let input = folder.file("input", &text);
        for options in ALL_OPTIONS {
            same(&folder, &input, options, "--memory=256MiB");
        }
    }
}

/// Lines of many lengths: 48 MiB, so that they are spilled and merged in several passes.
fn long_text() -> Vec<u8> {
    let mut random = Random(1);
    let mut text = Vec::new();
    while text.len() < 48 << 20 {
        let len = match random.below(1000) {
            0 => random.below(100_000),
            1..=100 => 0,
            _ => random.below(150),
        };
        text.extend(format!("{} {} ", random.below(100), random.below(1_000_000)).bytes());
        let byte = random.byte();
        text.extend(
            (0..len)
                .map(|at| at.to_le_bytes()[0])
                .map(|at| byte.wrapping_add(at % 7))
                .filter(|&byte| byte != b'\n'),
        );
        text.push(b'\n');
    }
    text
}

#[test]
fn what_does_not_fit_into_memory_is_sorted_as_gnu_does() {
    let folder = on_disk();
    let input = folder.file("input", &long_text());
    for options in [&[][..], &["-r"], &["-u"], &["-k1,1", "-n", "-s"], &["-k2,2", "-n", "-u"]] {
        same(&folder, &input, options, LITTLE);
    }
}

#[test]
fn the_shortest_lines_of_all_need_no_more_memory() {
    let folder = on_disk();
    let mut random = Random(2);
    let text: Vec<u8> = (0..3 << 20).map(|_| b"\n\nab"[random.index(4)]).collect();
    let input = folder.file("input", &text);
    same(&folder, &input, &[], LITTLE);
    same(&folder, &input, &["-u"], LITTLE);
}

#[test]
fn lines_longer_than_a_sort_buffer_are_sorted_and_beyond_the_memory_refused() {
    let folder = on_disk();
    let mut text = long_text();
    text.truncate(20 << 20);
    // They come together when runs are merged, and are in memory at once then.
    for (at, len) in [(3, 5 << 20), (9 << 20, 4 << 20), (20 << 20, 3 << 20)] {
        let at = text[..at.min(text.len())].iter().rposition(|&byte| byte == b'\n').unwrap_or(0);
        text.splice(at..at, std::iter::repeat_n(b'5', len));
    }
    let input = folder.file("input", &text);
    same(&folder, &input, &[], LITTLE);
    same(&folder, &input, &["-n", "-r"], LITTLE);
    let first = text.iter().position(|&byte| byte == b'\n').unwrap();
    let mut longer = text.clone();
    for at in [first, 12 << 20] {
        let at = longer[..at].iter().rposition(|&byte| byte == b'\n').unwrap_or(0);
        longer.splice(at..at, std::iter::repeat_n(b'5', 5 << 20));
    }
    let together = folder.file("together", &longer);
    let out = folder.join("out");
    let ran = run(["sort".as_ref(), together.as_os_str(), out.as_os_str(), LITTLE.as_ref()]);
    ran.refused(&["--memory", "pass more"]);
    fs::remove_file(together).unwrap();
    text.extend(std::iter::repeat_n(b'x', 9 << 20));
    let input = folder.file("input", &text);
    let out = folder.join("out");
    let ran = run(["sort".as_ref(), input.as_os_str(), out.as_os_str(), LITTLE.as_ref()]);
    ran.refused(&["is longer than the", "--memory", "pass more"]);
    assert_eq!(folder.names(), ["input"]);
}

#[test]
fn pipes_are_sorted_and_the_output_can_be_the_input() {
    let folder = Folder::new();
    let ran = run_with_input(["sort", "-", "-"], b"b\nc\na");
    assert_eq!(ran.stdout, b"a\nb\nc\n");
    let file = folder.file("file", b"2\n1\n");
    run(["sort".as_ref(), file.as_os_str(), file.as_os_str()]).done();
    assert_eq!(fs::read(&file).unwrap(), b"1\n2\n");
    let other = folder.file("other", b"mine\n");
    let args = ["sort".as_ref(), file.as_os_str(), other.as_os_str()];
    run(args).refused(&["exists already", "--force"]);
    assert_eq!(fs::read(&other).unwrap(), b"mine\n");
    let forced = run(["sort".as_ref(), file.as_os_str(), other.as_os_str(), "--force".as_ref()]);
    assert!(forced.done().contains("2 lines"));
    assert_eq!(fs::read(&other).unwrap(), b"1\n2\n");
}

#[test]
fn ctrl_c_while_it_spills_leaves_nothing() {
    let folder = on_disk();
    let out = folder.join("out");
    let mut child = command(["sort".as_ref(), "-".as_ref(), out.as_os_str(), LITTLE.as_ref()])
        .arg("--tmp")
        .arg(folder.path())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&long_text()).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "it never ended");
        sleep(Duration::from_millis(5));
    };
    assert_eq!(status.code(), Some(130));
    assert_eq!(folder.names(), [""; 0]);
    drop(stdin);
}

#[test]
fn a_full_disk_is_an_error_and_leaves_nothing_and_it_works_when_space_is_free() {
    let name = "a_full_disk_is_an_error_and_leaves_nothing_and_it_works_when_space_is_free";
    let disk = match LoopDisk::new(128, 64) {
        Ok(disk) => disk,
        Err(reason) => return skip::skipped(name, &reason),
    };
    let folder = on_disk();
    let input = folder.file("input", &long_text());
    let (elsewhere, on_it) = (folder.join("out"), disk.path().join("out"));
    let tmp = |folder: &std::path::Path| format!("--tmp={}", folder.display());
    let free = disk.free_blocks();
    let ballast = disk.fill_but((20 << 20) >> 12);
    let sort = |out: &std::path::Path, tmp: &str| {
        run(["sort".as_ref(), input.as_os_str(), out.as_os_str(), LITTLE.as_ref(), tmp.as_ref()])
    };
    // Where the spills go; and where the output goes.
    sort(&elsewhere, &tmp(&disk.path())).refused(&["free some space and try again"]);
    sort(&on_it, &tmp(folder.path())).refused(&["No space left"]);
    assert_eq!((disk.names(), folder.names()), (vec!["ballast".into()], vec!["input".into()]));
    fs::remove_file(ballast).unwrap();
    assert_eq!(disk.free_blocks(), free);
    sort(&elsewhere, &tmp(&disk.path())).done();
    assert!(fs::read(&elsewhere).unwrap() == gnu(&[], &input));
    assert_eq!(disk.free_blocks(), free);
}

/// The command as an ordinary user whom a shell has set `limit` for; with the rights that root has,
/// folders can be written to whatever their mode is.
fn as_nobody(folder: &Folder, limit: &str) -> Command {
    const NOBODY: u32 = 65_534;
    // In a place that everybody can reach.
    let binary = folder.join("storage");
    // Copied by another process: a child that another test forks meanwhile would keep a descriptor of ours
    // that is open for writing, and nobody could run the copy as long ("text file busy").
    let mut copy = Command::new("cp");
    assert!(copy.arg(env!("CARGO_BIN_EXE_storage")).arg(&binary).status().unwrap().success());
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{limit} exec \"$0\" \"$@\"")]).arg(binary);
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The input stays open and empty, so a command that begins to read it never ends.
#[test]
fn an_output_that_cannot_be_made_is_found_out_before_the_input_is_read() {
    let folder = Folder::new();
    let (owned, missing) = (folder.join("owned"), folder.join("missing/out"));
    fs::create_dir(&owned).unwrap();
    // An ordinary user owns it already.
    if rustix::process::geteuid().is_root() {
        chown(&owned, Some(65_534), Some(65_534)).unwrap();
    }
    let packed = folder.packed("packed", b"bytes", "4k");
    fs::set_permissions(&packed, fs::Permissions::from_mode(0o644)).unwrap();
    let out = owned.join("out");
    // Not to be written to; not to be read, so that no name in it can be made durable; missing.
    for (out, mode, words) in [
        (&out, 0o500, "Permission denied"),
        (&out, 0o300, "Permission denied"),
        (&missing, 0o700, "No such file or directory"),
    ] {
        fs::set_permissions(&owned, fs::Permissions::from_mode(mode)).unwrap();
        for command in ["sort", "pack"] {
            let (input, _open) = std::io::pipe().unwrap();
            let mut child = as_nobody(&folder, "");
            child.args([command.as_ref(), "-".as_ref(), out.as_os_str()]).stdin(input);
            Ran::from(child.output().unwrap()).refused(&[words]);
        }
        for option in ["--svg", "--png"] {
            let mut child = as_nobody(&folder, "");
            child.args(["heatmap".as_ref(), packed.as_os_str(), option.as_ref(), out.as_os_str()]);
            let ran = Ran::from(child.output().unwrap());
            ran.refused(&[words]);
            assert_eq!(ran.told(), "", "nothing was looked at");
        }
    }
    fs::set_permissions(&owned, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(fs::read_dir(&owned).unwrap().count(), 0);
}

#[test]
fn without_memory_or_threads_it_is_an_error() {
    let folder = Folder::new();
    let input = folder.file("input", b"b\na\n");
    fs::set_permissions(&input, fs::Permissions::from_mode(0o644)).unwrap();
    for (limit, memory, words) in [
        ("ulimit -v 300000;", "--memory=2GiB", ["bytes of memory", "pass less --memory"]),
        (
            "ulimit -u 1 2>/dev/null || ulimit -p 1;",
            "--memory=16MiB",
            ["cannot start a thread", "`ulimit -u`"],
        ),
    ] {
        let mut command = as_nobody(&folder, limit);
        command.args(["sort".as_ref(), input.as_os_str(), "-".as_ref(), memory.as_ref()]);
        Ran::from(command.output().unwrap()).refused(&words);
    }
}

#[test]
fn wrong_asks_say_what_to_write() {
    for (args, words) in [
        (vec!["--memory=1MiB"], "16.00 MiB at least"),
        (vec!["--memory=much"], "write it like 256MiB"),
        (vec!["--key=0"], "counted from 1"),
        (vec!["--key=1,x"], "like 2 or 2,3"),
    ] {
        let ran = run(["sort", "-", "-"].into_iter().chain(args));
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(words), "{ran:?}");
    }
    run(["sort", "/nowhere", "-"]).refused(&["cannot open /nowhere"]);
    run(["sort", "/", "-"]).refused(&["is a folder"]);
}

/// A folder on a disk: what is on tmpfs cannot leave memory.
fn on_disk() -> Folder {
    Folder::in_target()
}

/// What does not fit into memory is not put into memory.
#[test]
fn temporary_files_go_to_a_disk_or_it_says_so() {
    const TMPFS: u64 = 0x0102_1994;
    let is_tmpfs =
        rustix::fs::statfs("/dev/shm").is_ok_and(|stat| stat.f_type.cast_unsigned() == TMPFS);
    if !is_tmpfs {
        return skip::skipped("temporary_files_go_to_a_disk_or_it_says_so", "/dev/shm is no tmpfs");
    }
    let folder = Folder::in_target();
    let input = folder.file("input", b"b\na\n");
    let out = folder.join("out");
    let args = ["sort".as_ref(), input.as_os_str(), out.as_os_str(), "--tmp=/dev/shm".as_ref()];
    run(args).refused(&["/dev/shm is in memory (tmpfs)", "--tmp"]);
    assert!(!out.exists());
    // Nobody said so this time: there are others.
    let numbers: Vec<u8> =
        (0..4_000_000_u32).rev().flat_map(|n| format!("{n:08}\n").into_bytes()).collect();
    let input = folder.file("much", &numbers);
    let args = ["sort".as_ref(), input.as_os_str(), out.as_os_str(), LITTLE.as_ref()];
    Ran::from(command(args).env("TMPDIR", "/dev/shm").output().unwrap()).done();
    let sorted = fs::read(&out).unwrap();
    assert!(sorted.len() == numbers.len() && sorted.chunks(9).is_sorted());
}
