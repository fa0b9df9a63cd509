//! In a cgroup that is limited to the budget and 64 MiB: files of eight times the budget, and no
//! kill.
//!
//! Method: this test is run once more in a process of its own, inside the group. There a thread
//! samples what the kernel has of the files, all the time, while another writes and reads them.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use pagestore::{Access, PageCount, PageFile, PageId, ResidencyBudget, SealedFile};

use super::{
    MIB,
    files::{check, folder, seal},
};
use crate::{cgroup::Cgroup, child, report::say, skip};

const BUDGET: u64 = 64 * MIB;
const PAGES: u64 = 8 * BUDGET / 4096;
const TEST: &str = "eight_times_the_budget_in_a_cgroup_and_no_kill";

/// Says so when the work is done, also where it panics.
struct Done<'flag>(&'flag AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Runs `work` while what the kernel has of the files is sampled; gives the most that it had, and
/// how many samples there were.
fn sampled(resident: impl Fn() -> u64 + Sync, work: impl FnOnce()) -> (u64, u64) {
    let (done, most, samples) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                // The kernel counts page by page: what comes while it does is counted, and what had to go for it
                // was before. So what one look finds may never have been there at one time.
                let looks = [resident(), resident(), resident()];
                most.fetch_max(looks.into_iter().min().unwrap(), Ordering::Relaxed);
                samples.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_micros(500));
            }
        });
        let _done = Done(&done);
        work();
    });
    (most.into_inner(), samples.into_inner())
}

#[test]
fn eight_times_the_budget_in_a_cgroup_and_no_kill() {
    if let Some(path) = child::path() {
        let budget = ResidencyBudget::new(BUDGET).unwrap();
        let sealed = SealedFile::options().budget(&budget).open(path.join("sealed")).unwrap();
        let written = PageFile::options().budget(&budget).create(path.join("written")).unwrap();
        written.grow(PageCount::new(PAGES)).unwrap();
        let resident = || {
            sealed.residency().unwrap().resident_bytes + written.residency().unwrap().resident_bytes
        };
        let report = |what: &str, (most, samples): (u64, u64)| {
            say(&format!(
                "cgroup, {what}: at most {:.1} % of the budget in {samples} samples",
                most as f64 * 100.0 / BUDGET as f64
            ));
            assert!(most <= BUDGET + BUDGET / 20, "{what}: {most}");
        };
        let copied = sampled(resident, || {
            for page in 0..PAGES {
                let mut to = written.page_mut(PageId::new(page)).unwrap();
                to.copy_from_slice(sealed.page(PageId::new(page)).unwrap());
            }
        });
        report("copy from a sealed file to a mutable one", copied);
        let read = sampled(resident, || {
            for access in [Access::Normal, Access::Random] {
                written.advise(.., access).unwrap();
                for start in (0..PAGES).step_by(256) {
                    let range = PageId::new(start)..PageId::new(start + 256);
                    for (page, bytes) in (start..).zip(written.pages(range).unwrap().chunks(4096)) {
                        check(page, bytes);
                    }
                }
            }
        });
        report("read it in order, twice", read);
        let scattered = sampled(resident, || {
            let mut page = 1;
            for _ in 0..20_000 {
                page = page * 40_503 % PAGES;
                page = (page + 77) % PAGES;
                check(page, sealed.page(PageId::new(page)).unwrap());
            }
        });
        report("random pages", scattered);
        say(&format!("cgroup: {:?}", budget.stats()));
        return child::done();
    }
    let group = match Cgroup::new("pagestore-budget", BUDGET + 64 * MIB) {
        Ok(group) => group,
        Err(reason) => return skip::skipped(TEST, &reason),
    };
    let folder = folder();
    seal(&folder.path().join("sealed"), PAGES);
    child::check(&mut child::command(&group.enter(), TEST, folder.path()));
    let peak = group.peak_bytes().unwrap_or(0);
    say(&format!("cgroup: {} MiB at most, of {} MiB", peak >> 20, (BUDGET >> 20) + 64));
}
