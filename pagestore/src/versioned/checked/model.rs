//! What is known of pages, under loom.
//!
//! The claims: who finds a page in order that was copied before a commit changed it does so because that copy is
//! in order, and not because the commit's page is; and where all pages are right, that is known when all who said
//! so have ended. Bound and run: as in `map/fault/model.rs`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use layout::{PageCount, PageId, PageRange};
use loom::{sync::Arc, thread};

use super::{Checked, Doubtful};
use crate::{
    map::fault::model::explore,
    tables::bits::{BITS, Word, words_of},
};

fn word(page: u64) -> Word {
    words_of(PageRange::from(PageId::new(page))).next().expect("a page has a word")
}

fn room_for(pages: u64) -> Arc<Checked> {
    let checked = Checked::new();
    checked.make_room_for(PageCount::new(pages)).expect("a model has room");
    Arc::new(checked)
}

/// Somebody reads page 0 from a copy of what nobody has verified, while its commit says that it is right.
fn a_copy_beside_its_commit(is_doubted: bool) {
    explore(move || {
        let (checked, doubtful) = (room_for(1), Arc::new(Doubtful::none()));
        let commit = thread::spawn({
            let (checked, doubtful) = (Arc::clone(&checked), Arc::clone(&doubtful));
            move || {
                if is_doubted {
                    doubtful.add(word(0));
                }
                checked.add(word(0));
            }
        });
        assert_eq!(doubtful.prefix(&checked), 0);
        assert_ne!(doubtful.unknown(&checked, word(0)), 0);
        commit.join().expect("it only notes");
        assert_ne!(doubtful.unknown(&checked, word(0)), 0);
        doubtful.remove(word(0));
        assert_eq!(doubtful.unknown(&checked, word(0)), 0);
    });
}

#[test]
fn a_copy_is_not_taken_for_what_its_commit_wrote() {
    a_copy_beside_its_commit(true);
}

#[test]
fn loom_finds_copies_that_nobody_doubts() {
    let found = catch_unwind(AssertUnwindSafe(|| a_copy_beside_its_commit(false)));
    assert!(found.is_err());
}

#[test]
fn all_pages_that_are_right_are_known_in_the_end() {
    explore(|| {
        let words = [0, 1].map(|index| Word { index, bits: u64::MAX });
        let checked = room_for(2 * BITS as u64);
        let threads = words.map(|word| {
            let checked = Arc::clone(&checked);
            thread::spawn(move || checked.add(word))
        });
        for thread in threads {
            thread.join().expect("it only notes");
        }
        assert_eq!(checked.prefix(), 2 * BITS as u64);
    });
}
