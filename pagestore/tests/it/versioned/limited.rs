//! Copies of pages are memory that the kernel cannot evict: past a limit of it, it ends the process. So a large
//! transaction, and an old snapshot, are refused before that.
//!
//! Method: a child in a control group whose limit is what the file may keep and some room beside. It asks for
//! more in three ways. Each must end in an error that says who has it, the child must live, and go on.

use pagestore::{Error, PageId, ResidencyBudget, VersionedFile};

use super::{count, page};
use crate::{cgroup::Cgroup, child, report, skip};

const MIB: u64 = 1 << 20;
/// What may be kept.
const KEPT: u64 = 32 * MIB;
/// What the process and the page cache have beside it.
const BESIDE: u64 = 48 * MIB;
/// Pages of a file that has three times as much as may be kept.
const PAGES: u64 = 3 * KEPT / 4096;

#[test]
fn what_would_have_the_process_killed_is_refused() {
    let test = "what_would_have_the_process_killed_is_refused";
    if let Some(folder) = child::path() {
        // By the file's own limit, and by a budget that others share.
        let own = VersionedFile::options().kept_bytes_max(KEPT);
        ask_for_more(&own.create(folder.join("own")).unwrap());
        let budget = ResidencyBudget::new(KEPT).unwrap();
        let shared = VersionedFile::options().budget(&budget);
        ask_for_more(&shared.create(folder.join("shared")).unwrap());
        return child::done();
    }
    let group = match Cgroup::new("pagestore-kept", KEPT + BESIDE) {
        Ok(group) => group,
        Err(reason) => return skip::skipped(test, &reason),
    };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    child::check(&mut child::command(&group.enter(), test, folder.path()));
    report::say(&format!("peak of the group: {:?} bytes", group.peak_bytes()));
}

fn ask_for_more(file: &VersionedFile) {
    // Piece by piece: each is kept only until it is committed.
    for _ in 0..PAGES / 1024 {
        let mut transaction = file.begin().unwrap();
        let added = transaction.grow(count(1024)).unwrap();
        transaction.pages_mut(added.start()..added.end()).unwrap().fill(1);
        transaction.commit().unwrap();
    }
    // One transaction that wants all pages; it can be given up, or go on with fewer.
    let mut transaction = file.begin().unwrap();
    let refused = (0..PAGES).find_map(|number| transaction.page_mut(page(number)).err());
    check(&refused.unwrap());
    drop(transaction);
    // An old snapshot, for which everything that changes has to be kept.
    let old = file.snapshot().unwrap();
    let change = |first: u64| -> pagestore::Result<()> {
        let mut transaction = file.begin()?;
        transaction.pages_mut(page(first)..page(first + 512))?.fill(2);
        transaction.commit().map(drop)
    };
    let refused = (0..PAGES / 512).find_map(|number| change(512 * number).err());
    check(&refused.unwrap());
    assert!(old.page(PageId::new(0)).unwrap().iter().all(|&byte| byte == 1));
    drop(old);
    (0..PAGES / 512).for_each(|number| change(512 * number).unwrap());
    assert!(file.snapshot().unwrap().pages(..).unwrap().iter().all(|&byte| byte == 2));
}

fn check(error: &Error) {
    let is_refusal = matches!(error, Error::KeptExceeded { .. } | Error::BudgetExceeded { .. });
    assert!(is_refusal, "{error}");
    report::say(&error.to_string());
}
