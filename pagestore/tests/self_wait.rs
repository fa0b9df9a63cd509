//! A thread that would wait for itself is told so, in debug builds, with the page, the file, and the place
//! where it took the guard that is in its way.
//!
//! Method: each order of guards on one thread that would hang, one more with a writer in between, and those that
//! must go through. A test that hangs is red.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[expect(dead_code, reason = "no other users are needed")]
mod skip;

use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use pagestore::{Error, PageCount, PageFile, PageId, PageSize};

fn id(page: u64) -> PageId {
    PageId::new(page)
}

fn file() -> (tempfile::TempDir, PageFile) {
    let folder = tempfile::tempdir().unwrap();
    let file = PageFile::create(folder.path().join("the-file")).unwrap();
    file.grow(PageCount::new(300)).unwrap();
    (folder, file)
}

/// What `wait` panics with.
#[track_caller]
fn message_of<T>(wait: impl FnOnce() -> T) -> String {
    match catch_unwind(AssertUnwindSafe(wait)) {
        Ok(_) => panic!("it should have panicked"),
        Err(payload) => payload.downcast_ref::<String>().unwrap().clone(),
    }
}

#[track_caller]
fn check_told<T>(wait: impl FnOnce() -> T, page: u64, wanted: &str, held: &str) {
    let message = message_of(wait);
    let begin = format!("page {page} of ");
    let middle =
        format!("the-file is wanted to {wanted}, but this thread holds a guard to {held} it");
    for words in [&begin, &middle, "taken at pagestore/tests/self_wait.rs:", "drop that guard"] {
        assert!(message.contains(words), "`{words}` is not in: {message}");
    }
}

fn is_off(name: &str) -> bool {
    if cfg!(debug_assertions) {
        return false;
    }
    skip::skipped(name, "nothing is looked for without debug assertions");
    true
}

#[test]
fn every_order_of_two_guards_that_would_wait_is_told() {
    if is_off("every_order_of_two_guards_that_would_wait_is_told") {
        return;
    }
    let (_folder, file) = file();
    let read = file.page(id(3)).unwrap();
    check_told(|| file.page_mut(id(3)).map(drop), 3, "write", "read");
    check_told(|| file.pages_mut(id(0)..id(9)).map(drop), 3, "write", "read");
    check_told(|| file.pages_mut(..).map(drop), 3, "write", "read");
    drop(read);

    let mut write = file.page_mut(id(70)).unwrap();
    check_told(|| file.page_mut(id(70)).map(drop), 70, "write", "write");
    check_told(|| file.page(id(70)).map(drop), 70, "read", "write");
    check_told(|| file.with_pages(id(69)..=id(70), <[u8]>::len), 70, "read", "write");
    check_told(|| file.recover_into(_folder.path().join("copy")).map(drop), 70, "read", "write");
    write.fill(1);
    drop(write);

    let range = file.pages_mut(id(60)..id(130)).unwrap();
    check_told(|| file.pages_mut(id(129)..).map(drop), 129, "write", "write");
    check_told(|| file.pages(..=id(60)).map(drop), 60, "read", "write");
    drop(range);
    // What was latched on the way to the panic was given back.
    thread::scope(|scope| {
        scope.spawn(|| file.try_pages_mut(..).unwrap().fill(2));
    });
    // A guard that is never dropped is in the way for ever.
    mem::forget(file.page(id(5)).unwrap());
    check_told(|| file.page_mut(id(5)).map(drop), 5, "write", "read");
    file.flush().unwrap();
}

/// Two guards to read are fine, unless a writer waits between them: it waits for the first guard, and the second
/// one waits for it.
#[test]
fn a_second_guard_to_read_waits_behind_a_writer_who_waits_for_the_first() {
    if is_off("a_second_guard_to_read_waits_behind_a_writer_who_waits_for_the_first") {
        return;
    }
    let (_folder, file) = file();
    let first = file.page(id(7)).unwrap();
    drop(file.page(id(7)).unwrap());
    thread::scope(|scope| {
        let writer = scope.spawn(|| file.page_mut(id(7)).unwrap().fill(3));
        // The writer waits as soon as nobody else is let in to read.
        while file.try_page(id(7)).is_ok() {
            thread::yield_now();
        }
        check_told(|| file.page(id(7)).map(drop), 7, "read", "read");
        drop(first);
        writer.join().unwrap();
    });
    assert_eq!(file.page(id(7)).unwrap()[0], 3);
}

#[test]
fn what_does_not_wait_for_itself_goes_through() {
    let (_folder, one) = file();
    let other = PageFile::anonymous(PageSize::DEFAULT).unwrap();
    other.grow(PageCount::new(300)).unwrap();
    let held = (one.page_mut(id(3)).unwrap(), one.page(id(4)).unwrap(), one.page(id(4)).unwrap());
    drop((one.page_mut(id(2)).unwrap(), one.page_mut(id(5)).unwrap()));
    drop((other.page_mut(id(3)).unwrap(), one.page(id(4)).unwrap()));
    assert!(matches!(one.try_page(id(3)), Err(Error::Latched { page }) if page == id(3)));
    one.flush().unwrap();
    // Others wait for this thread and not for themselves.
    thread::scope(|scope| {
        let waits = scope.spawn(|| one.page_mut(id(3)).unwrap().fill(9));
        thread::yield_now();
        drop(held);
        waits.join().unwrap();
    });
    // Files come and go at the same address; what was held of one says nothing of the next.
    for _ in 0..100 {
        let file = PageFile::anonymous(PageSize::DEFAULT).unwrap();
        file.grow(PageCount::new(1)).unwrap();
        mem::forget(file.page(id(0)).unwrap());
    }
    let file = PageFile::anonymous(PageSize::DEFAULT).unwrap();
    file.grow(PageCount::new(1)).unwrap();
    thread::scope(|scope| {
        let guard = file.page(id(0)).unwrap();
        let waits = scope.spawn(|| file.page_mut(id(0)).unwrap().fill(1));
        thread::yield_now();
        drop(guard);
        waits.join().unwrap();
    });
}
