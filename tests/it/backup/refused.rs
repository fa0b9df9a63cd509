//! Backups that are damaged, made up, of another file or of another history: refused, and nothing appears.

use std::{fs, ops::ControlFlow, path::Path};

use storage::{
    ColumnSpec, ColumnsKind, ColumnsWriter, Existing, VersionedFile,
    backup::{Backup, BackupError, BackupOptions, Chain},
};
use tempfile::tempdir;

use super::{file, fill, go_on, increment, names, whole};

fn restore(backups: &[&Path], out: &Path) -> Result<(), BackupError> {
    Chain::open(backups)?.restore(out, Existing::Refuse, go_on)
}

#[test]
fn backups_that_do_not_belong_together() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let source = file(&at("file"), 8);
    let first = whole(&source, &at("1"));
    fill(&source, 1, 100);
    let second = increment(&source, &first, &at("2"));
    fill(&source, 2, 101);
    let third = increment(&source, &second, &at("3"));
    let later = whole(&source, &at("whole"));
    let other = file(&at("other"), 8);
    let of_other = whole(&other, &at("4"));
    let chain = |backups: &[&Backup]| {
        Chain::new(backups.iter().map(|&backup| backup.clone()).collect()).unwrap_err()
    };
    assert!(matches!(chain(&[]), BackupError::Empty));
    let error = chain(&[&third, &second]);
    assert!(
        matches!(&error, BackupError::NoWhole { path, since } if *path == at("2") && since.get() == 1)
    );
    let error = chain(&[&first, &third]);
    assert!(
        matches!(&error, BackupError::MissingLink { path, since, found, .. }
        if *path == at("3") && (since.get(), found.get()) == (2, 1)),
        "{error}"
    );
    assert!(error.to_string().contains("a backup is missing"), "{error}");
    let error = chain(&[&first, &second, &second]);
    assert!(matches!(error, BackupError::MissingLink { .. }), "one too many");
    assert!(matches!(chain(&[&first, &later]), BackupError::TwoWhole { .. }));
    assert!(matches!(chain(&[&of_other, &second]), BackupError::OtherFile { .. }));
    let snapshot = other.snapshot().unwrap();
    let since = BackupOptions::new().since(&first);
    let error = since.create(&snapshot, at("no"), go_on).unwrap_err();
    assert!(matches!(error, BackupError::OtherFile { .. }), "{error}");
    assert!(!at("no").exists());
}

/// A copy of the file goes on in another way than the file itself.
#[test]
fn a_copy_that_went_another_way() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let source = file(&at("file"), 8);
    let first = whole(&source, &at("1"));
    source.close().unwrap();
    fs::copy(at("file"), at("copy")).unwrap();
    let source = VersionedFile::open(at("file")).unwrap();
    let copy = VersionedFile::open(at("copy")).unwrap();
    fill(&source, 1, 100);
    let second = increment(&source, &first, &at("2"));
    let since = BackupOptions::new().since(&second);
    // It has not come as far.
    let error = since.create(&copy.snapshot().unwrap(), at("no"), go_on).unwrap_err();
    assert!(matches!(error, BackupError::Ahead { .. }), "{error}");
    // It has, and further, with another page at the same commit; then with the same page.
    fill(&copy, 2, 100);
    fill(&copy, 3, 101);
    let error = since.create(&copy.snapshot().unwrap(), at("no"), go_on).unwrap_err();
    assert!(matches!(&error, BackupError::OtherHistory { page, .. } if page.get() == 1), "{error}");
    // The increments of two histories fit by their numbers, but not by what they hold.
    let of_copy = increment(&copy, &first, &at("copy 2"));
    fill(&copy, 4, 102);
    let later = increment(&copy, &of_copy, &at("copy 3"));
    fill(&source, 5, 103);
    let same_number = increment(&source, &first, &at("file 2"));
    assert_eq!(same_number.commit(), of_copy.commit());
    let mixed = Chain::new(vec![first, same_number, later]).unwrap();
    let error = mixed.restore(at("no"), Existing::Refuse, go_on).unwrap_err();
    assert!(
        matches!(&error, BackupError::NotOneHistory { path } if *path == at("copy 3")),
        "{error}"
    );
    assert!(!at("no").exists());
    assert!(names(folder.path()).iter().all(|name| !name.starts_with('.')));
}

#[test]
fn a_flipped_bit_anywhere_is_found_or_harmless() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let source = file(&at("file"), 3);
    drop(whole(&source, &at("1")));
    let good = fs::read(at("1")).unwrap();
    let snapshot = source.snapshot().unwrap();
    let mut refused = 0;
    for place in (0..good.len()).step_by(97).chain(0..128) {
        let mut bytes = good.clone();
        bytes[place] ^= 1 << (place % 8);
        fs::write(at("1"), &bytes).unwrap();
        match restore(&[&at("1")], &at("out")) {
            Err(_) => {
                refused += 1;
                assert!(!at("out").exists(), "byte {place}");
            }
            Ok(()) => {
                let restored = VersionedFile::open(at("out")).unwrap();
                let restored = restored.snapshot().unwrap();
                assert!(restored.pages(..).unwrap() == snapshot.pages(..).unwrap(), "byte {place}");
                fs::remove_file(at("out")).unwrap();
            }
        }
    }
    assert!(refused > 150, "{refused} were found");
    for len in (0..good.len()).step_by(1_024) {
        fs::write(at("1"), &good[..len]).unwrap();
        assert!(restore(&[&at("1")], &at("out")).is_err(), "cut to {len}");
    }
    assert_eq!(names(folder.path()), ["1", "file"]);
}

/// The columns of a backup of one page, to be changed.
#[derive(Clone)]
struct MadeUp {
    kind: ColumnsKind,
    runs: Vec<[u64; 2]>,
    stamps: Vec<[u64; 2]>,
    page_bytes: usize,
    heads: Vec<[u64; 8]>,
}

fn made_up(change: impl FnOnce(&mut MadeUp)) -> Result<(), BackupError> {
    let folder = tempdir().unwrap();
    let path = folder.path().join("made up");
    let mut columns = MadeUp {
        kind: ColumnsKind::new(*b"backup\0\0"),
        runs: vec![[1, 1]],
        stamps: vec![[2, 0]],
        page_bytes: 4096,
        // Uuid, page size, page count, commit, since, length of the log, checksum of stamps.
        heads: vec![[7, 7, 4096, 2, 2, 0, 131_072, 0]],
    };
    change(&mut columns);
    let specs = [
        ColumnSpec::of::<[u64; 2]>(),
        ColumnSpec::of::<[u64; 2]>(),
        ColumnSpec::of::<u8>(),
        ColumnSpec::of::<[u64; 8]>(),
    ];
    let mut writer = ColumnsWriter::options().kind(columns.kind).create(&path, &specs).unwrap();
    writer.append(0, &columns.runs).unwrap();
    writer.append(1, &columns.stamps).unwrap();
    writer.append(2, &vec![0_u8; columns.page_bytes]).unwrap();
    writer.append(3, &columns.heads).unwrap();
    drop(writer.seal().unwrap());
    let out = folder.path().join("out");
    let restored = restore(&[&path], &out);
    assert_eq!(out.exists(), restored.is_ok());
    restored
}

#[test]
fn what_somebody_made_up() {
    let not_a_backup = |what: &str, change: &dyn Fn(&mut MadeUp)| match made_up(change) {
        Err(BackupError::NotABackup { .. }) => {}
        other => panic!("{what}: {other:?}"),
    };
    not_a_backup("no head", &|columns| columns.heads.clear());
    not_a_backup("two heads", &|columns| columns.heads.push(columns.heads[0]));
    not_a_backup("page size", &|columns| columns.heads[0][2] = 4097);
    not_a_backup("more pages than a file can have", &|columns| columns.heads[0][3] = u64::MAX);
    not_a_backup("since a later commit", &|columns| columns.heads[0][5] = 3);
    not_a_backup("length of the log", &|columns| columns.heads[0][6] = 1);
    not_a_backup("checksum of stamps", &|columns| columns.heads[0][7] = u64::MAX);
    not_a_backup("a run behind the end", &|columns| columns.runs = vec![[2, 1]]);
    not_a_backup("a run that overflows", &|columns| columns.runs = vec![[u64::MAX, 2]]);
    not_a_backup("an empty run", &|columns| columns.runs.push([1, 0]));
    not_a_backup("a run twice", &|columns| columns.runs.push([1, 1]));
    not_a_backup("no stamp", &|columns| columns.stamps.clear());
    not_a_backup("half a page", &|columns| columns.page_bytes = 2048);
    not_a_backup("a stamp ahead", &|columns| columns.stamps[0][0] = 3);
    not_a_backup("a stamp of no commit", &|columns| columns.stamps[0][0] = 0);
    not_a_backup("a checksum that is none", &|columns| columns.stamps[0][1] = u64::MAX);
    let other_kind = made_up(|columns| columns.kind = ColumnsKind::PLAIN);
    assert!(matches!(other_kind, Err(BackupError::Columns(_))), "{other_kind:?}");
    // All in order, but the checksum of the page is not its own.
    let wrong = made_up(|_| {});
    assert!(matches!(wrong, Err(BackupError::Store(storage::Error::Checksum { .. }))), "{wrong:?}");
}

#[test]
fn what_was_stopped_or_has_no_room_for_its_name_leaves_nothing() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let source = file(&at("file"), 600);
    let snapshot = source.snapshot().unwrap();
    let stop = |_| ControlFlow::Break(());
    let error = BackupOptions::new().create(&snapshot, at("1"), stop).unwrap_err();
    assert!(matches!(error, BackupError::Stopped), "{error}");
    let backup = whole(&source, &at("1"));
    let error = BackupOptions::new().create(&snapshot, at("1"), go_on).unwrap_err();
    assert!(error.to_string().contains("exists already"), "{error}");
    let chain = Chain::new(vec![backup]).unwrap();
    let error = chain.restore(at("2"), Existing::Refuse, stop).unwrap_err();
    assert!(matches!(error, BackupError::Stopped), "{error}");
    let error = chain.restore(at("file"), Existing::Refuse, go_on).unwrap_err();
    assert!(error.to_string().contains("exists already"), "{error}");
    assert_eq!(names(folder.path()), ["1", "file"]);
}
