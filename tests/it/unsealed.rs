//! What keeps columns, runs and spills gives itself back where its file could not be finished, as the page
//! writer below does: a step that fails at the end takes nothing away.
//!
//! Method: the last steps are made to fail one by one: the name is taken, a name cannot be given, somebody
//! has a copy of the descriptor, there is no address space, the disk is full. What was in the way is taken
//! away, the writer finishes, and every item is looked at. Limits and filters (seccomp) hold for a process,
//! so those cases are children.

use std::{
    fmt::Debug,
    fs::{self, OpenOptions},
    path::Path,
};

use storage::{
    ColumnSpec, Columns, ColumnsError, ColumnsWriter, Error, Existing, PageWriter, ResidencyBudget,
    TempColumnsWriter, Unsealed,
    run::{Run, RunWriter, TempRunWriter},
    spill::{SpillCompression, SpillError, SpillOptions, SpillReader, SpillWriter},
};

use crate::{
    address_limit::without_address_space,
    child,
    filter::{Call, refuse},
    loop_disk::LoopDisk,
    nameless::the_nameless_in,
    skip,
};

/// Far more than is kept in memory under the budget of these tests, so columns have temporary files, and more
/// than there was disk space reserved for.
const ITEMS: u64 = 450_000;

fn specs() -> [ColumnSpec; 2] {
    [ColumnSpec::of::<u64>(), ColumnSpec::of::<u32>()]
}

fn budget() -> ResidencyBudget {
    ResidencyBudget::new(4 << 20).unwrap()
}

/// Columns that are given a bit of each by turns.
fn fill_columns<T>(writer: &mut ColumnsWriter<T>) -> Result<(), ColumnsError> {
    for item in 0..ITEMS {
        writer.append(0, &[item])?;
        writer.append(1, &[!u32::try_from(item).unwrap()])?;
    }
    Ok(())
}

fn check_columns(columns: &Columns) {
    assert!(columns.column::<u64>(0).unwrap().iter().copied().eq(0..ITEMS));
    let inverse = columns.column::<u32>(1).unwrap().iter().map(|item| u64::from(!item));
    assert!(inverse.eq(0..ITEMS));
}

fn key(record: u64) -> String {
    format!("{record:09}")
}

fn fill_run<T>(writer: &mut RunWriter<str, u64, T>) {
    for record in 0..ITEMS {
        writer.push_weighted(&key(record), &record, 2).unwrap();
    }
}

fn check_run(run: &Run<str, u64>) {
    assert_eq!(run.record_count() as u64, ITEMS);
    for record in [0, 1, 1023, 1024, ITEMS - 1] {
        let key = key(record);
        assert_eq!(run.cursor().seek(&key).unwrap(), Some(key.as_str()));
    }
}

fn fill_spill(writer: &mut SpillWriter) {
    for record in 0..ITEMS {
        writer.append_record(key(record).as_bytes()).unwrap();
    }
}

fn check_spill(reader: &SpillReader) {
    let mut cursor = reader.cursor(..).unwrap();
    for record in 0..ITEMS {
        assert_eq!(cursor.next().unwrap(), Some(key(record).as_bytes()));
    }
    assert!(cursor.next().unwrap().is_none());
}

/// The error, and the writer that has to be there.
#[track_caller]
fn given_back<R: Debug, W, E>(finished: Result<R, Unsealed<W, E>>) -> (E, W)
where
    Unsealed<W, E>: Debug,
{
    let (error, writer) = finished.unwrap_err().into_parts();
    (error, writer.expect("the writer is given back"))
}

/// Runs the rest of a test in a child, in a folder that it gets.
fn in_child(test: &str, run: impl FnOnce(&Path)) {
    if let Some(folder) = child::path() {
        run(&folder);
        return child::done();
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    child::check(&mut child::command("", test, folder.path()));
}

#[test]
fn columns_and_runs_are_sealed_when_their_name_is_free_again() {
    let folder = tempfile::tempdir().unwrap();
    let (columns, run) = (folder.path().join("columns"), folder.path().join("run"));
    let pages = PageWriter::options().budget(&budget());
    let mut columns_writer =
        ColumnsWriter::options().pages(pages.clone()).create(&columns, &specs()).unwrap();
    let mut run_writer = RunWriter::create_with(pages, &run).unwrap();
    fill_columns(&mut columns_writer).unwrap();
    fill_run(&mut run_writer);
    for path in [&columns, &run] {
        fs::write(path, "somebody was faster").unwrap();
    }
    for _ in 0..3 {
        let error;
        (error, columns_writer) = given_back(columns_writer.seal());
        assert!(matches!(error, ColumnsError::Store(Error::AlreadyExists { .. })), "{error}");
        let error = columns_writer.append(0, &[7_u64]).unwrap_err();
        assert!(matches!(error, ColumnsError::Store(Error::Sealed { .. })), "{error}");
        assert_eq!(columns_writer.len(0).unwrap(), ITEMS);
        let error;
        (error, run_writer) = given_back(run_writer.seal());
        assert!(matches!(error, ColumnsError::Store(Error::AlreadyExists { .. })), "{error}");
        let error = run_writer.push("9", &7).unwrap_err();
        assert!(matches!(error, ColumnsError::Store(Error::Sealed { .. })), "{error}");
        assert_eq!(run_writer.record_count(), ITEMS);
    }
    for path in [&columns, &run] {
        fs::remove_file(path).unwrap();
    }
    check_columns(&columns_writer.seal().unwrap());
    check_run(&run_writer.seal().unwrap());
    check_columns(&Columns::open(&columns).unwrap());
    check_run(&Run::open(&run).unwrap());
}

#[test]
fn what_somebody_could_still_write_to_is_sealed_but_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let not_opened = |error: &ColumnsError| {
        assert!(matches!(error, ColumnsError::Store(Error::SealedNotOpened { .. })), "{error}");
    };
    let path = folder.path().join("columns");
    let mut writer = ColumnsWriter::create(&path, &specs()).unwrap();
    fill_columns(&mut writer).unwrap();
    let copy = OpenOptions::new().write(true).open(the_nameless_in(folder.path())).unwrap();
    let (error, writer) = writer.seal().unwrap_err().into_parts();
    not_opened(&error);
    assert!(writer.is_none(), "nothing is left to do");
    drop(copy);
    check_columns(&Columns::open(&path).unwrap());
}

#[test]
fn what_cannot_get_its_name_is_kept_under_another() {
    in_child("what_cannot_get_its_name_is_kept_under_another", |folder| {
        let path = folder.join("columns");
        let pages = PageWriter::options().existing(Existing::Replace);
        let mut writer = ColumnsWriter::options().pages(pages).create(&path, &specs()).unwrap();
        fill_columns(&mut writer).unwrap();
        // What root may not do: a filter stands for a folder that somebody else changed.
        refuse(Call::all("renameat", libc::SYS_renameat), libc::EACCES);
        let error = writer.seal().unwrap_err().into_error();
        let ColumnsError::Store(Error::NotNamed { kept_as, .. }) = &error else {
            panic!("{error}")
        };
        check_columns(&Columns::open(kept_as).unwrap());
    });
}

#[test]
fn without_address_space_what_is_temporary_is_finished_later() {
    in_child("without_address_space_what_is_temporary_is_finished_later", |folder| {
        let no_addresses = |error: &Error| {
            assert!(matches!(error, Error::AddressSpace { .. }), "{error}");
        };
        let pages = PageWriter::options().budget(&budget());
        let options = ColumnsWriter::options().pages(pages.clone());
        let mut columns: TempColumnsWriter = options.create_temporary(folder, &specs()).unwrap();
        fill_columns(&mut columns).unwrap();
        let mut run = TempRunWriter::create_in_with(pages, folder).unwrap();
        fill_run(&mut run);
        let [mut plain, mut blocks] = [SpillCompression::None, SpillCompression::Lz4]
            .map(|compression| SpillOptions::new(folder).compression(compression))
            .map(|options| options.budget(&budget()).create().unwrap());
        fill_spill(&mut plain);
        fill_spill(&mut blocks);
        let finished = without_address_space(|| {
            (columns.finish(), run.finish(), plain.finish(), blocks.finish())
        });
        let (error, mut columns) = given_back(finished.0);
        let ColumnsError::Store(error) = error else { panic!("{error}") };
        no_addresses(&error);
        let refused = columns.append(0, &[7_u64]).unwrap_err();
        assert!(matches!(refused, ColumnsError::Store(Error::Sealed { .. })), "{refused}");
        check_columns(&columns.finish().unwrap());
        let (error, run) = given_back(finished.1);
        let ColumnsError::Store(error) = error else { panic!("{error}") };
        no_addresses(&error);
        check_run(&run.finish().unwrap());
        let (error, plain) = given_back(finished.2);
        let SpillError::Store(error) = error else { panic!("{error}") };
        no_addresses(&error);
        check_spill(&plain.finish().unwrap());
        let (error, mut blocks) = given_back(finished.3);
        let SpillError::Store(error) = error else { panic!("{error}") };
        no_addresses(&error);
        assert!(matches!(blocks.append_record(b"more"), Err(SpillError::Ended)));
        let written = blocks.stats();
        assert_eq!(written.records, ITEMS);
        let reader = blocks.finish().unwrap();
        assert_eq!(reader.stats().bytes, written.bytes);
        check_spill(&reader);
    });
}

#[test]
fn on_a_full_disk_nothing_is_lost() {
    let disk = match LoopDisk::new(64, 32) {
        Ok(disk) => disk,
        Err(reason) => return skip::skipped("on_a_full_disk_nothing_is_lost", &reason),
    };
    let is_full = |error: &ColumnsError| {
        assert!(matches!(error, ColumnsError::Store(Error::DiskFull { .. })), "{error}");
    };
    for free_blocks in [0, 40, 80, 120, 160] {
        let (columns, run) = (disk.path().join("columns"), disk.path().join("run"));
        let pages = PageWriter::options().budget(&budget());
        let options = ColumnsWriter::options().pages(pages.clone());
        let mut columns_writer = options.create(&columns, &specs()).unwrap();
        fill_columns(&mut columns_writer).unwrap();
        let mut run_writer = RunWriter::create_with(pages, &run).unwrap();
        fill_run(&mut run_writer);
        let ballast = disk.fill_but(free_blocks);
        let (error, columns_writer) = given_back(columns_writer.seal());
        is_full(&error);
        let (error, run_writer) = given_back(run_writer.seal());
        is_full(&error);
        fs::remove_file(ballast).unwrap();
        check_columns(&columns_writer.seal().unwrap());
        check_run(&run_writer.seal().unwrap());
        fs::remove_file(columns).unwrap();
        fs::remove_file(run).unwrap();
    }
}
