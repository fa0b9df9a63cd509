//! Who may use which blocks of which file at the same time, and in which order.
//!
//! Each call takes its place when it begins, for all that it is going to use, and keeps it until all
//! that it does is done. It waits for those before it that use the same in another way, and for
//! nobody else. So what was begun first is done first, also where nobody waits for it any more.
//!
//! What a call uses may turn out to be more than it took its place for, as where the file is shorter
//! than was known. It then [widens](Turn::widen) what it uses and keeps its place.
//!
//! Turns are taken and awaited by driven work only (see [`crate::driver`]): one that nobody polls would
//! be in the way of all behind it.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    ops::RangeInclusive,
    sync::Arc,
    task::{Poll, Waker},
};

use parking_lot::Mutex;

/// How a call uses a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Use {
    /// That it is there, and its length.
    Length,
    /// Reads blocks.
    Read(RangeInclusive<u64>),
    /// Changes blocks, and leaves the file's length as it is.
    Write(RangeInclusive<u64>),
    /// Waits for all changes of blocks that began before.
    Settled,
    /// All of it, its length and its name.
    Whole,
}

impl Use {
    fn conflicts(&self, other: &Self) -> bool {
        let overlap = |one: &RangeInclusive<u64>, other: &RangeInclusive<u64>| {
            one.start() <= other.end() && other.start() <= one.end()
        };
        match (self, other) {
            (Self::Whole, _) | (_, Self::Whole) => true,
            (Self::Write(one), Self::Write(other) | Self::Read(other))
            | (Self::Read(one), Self::Write(other)) => overlap(one, other),
            (Self::Settled, Self::Write(_)) | (Self::Write(_), Self::Settled) => true,
            _ => false,
        }
    }

    /// Whether whoever uses this much may do what takes `other`.
    fn covers(&self, other: &Self) -> bool {
        let within = |inner: &RangeInclusive<u64>, outer: &RangeInclusive<u64>| {
            outer.start() <= inner.start() && inner.end() <= outer.end()
        };
        match (self, other) {
            (Self::Whole, _) => true,
            (_, Self::Length) => true,
            (Self::Read(outer), Self::Read(inner)) | (Self::Write(outer), Self::Write(inner)) => {
                within(inner, outer)
            }
            (one, other) => one == other,
        }
    }
}

/// What a call uses.
#[derive(Clone, Debug)]
pub(super) enum Claim {
    File(Arc<str>, Use),
    Rename {
        from: Arc<str>,
        to: Arc<str>,
    },
    /// Which files there are whose paths begin so.
    List {
        prefix: Arc<str>,
    },
}

impl Claim {
    /// The paths that this may give a file to, or take one from.
    fn names(&self) -> impl Iterator<Item = &str> {
        let (one, other) = match self {
            Self::File(path, Use::Whole) => (Some(path), None),
            Self::Rename { from, to } => (Some(from), Some(to)),
            Self::File(..) | Self::List { .. } => (None, None),
        };
        one.into_iter().chain(other).map(|path| &**path)
    }

    fn conflicts(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(one, one_use), Self::File(other, other_use)) if one == other => {
                one_use.conflicts(other_use)
            }
            (Self::List { prefix }, names) | (names, Self::List { prefix }) => {
                names.names().any(|name| name.starts_with(&**prefix))
            }
            (Self::File(path, part), Self::Rename { from, to })
            | (Self::Rename { from, to }, Self::File(path, part))
                if *part != Use::Whole =>
            {
                path == from || path == to
            }
            _ => self.names().any(|one| other.names().any(|other| nested(one, other))),
        }
    }
}

/// Whether two paths are the same, or one is a folder that the other lies in.
fn nested(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// All calls that are under way, in the order in which they began.
#[derive(Default)]
pub(super) struct Turns(Arc<Mutex<Places>>);

#[derive(Default)]
struct Places {
    next: u64,
    taken: BTreeMap<u64, Place>,
    /// How many of them wait to be woken.
    waiting_count: usize,
}

struct Place {
    claim: Claim,
    /// Whether its turn has come, and it was told so.
    is_in: bool,
    waker: Option<Waker>,
}

impl Places {
    fn place(&mut self, ticket: u64) -> &mut Place {
        self.taken.get_mut(&ticket).expect("a turn has its place until it is dropped")
    }

    /// Whether nobody is in the way of a place: nobody before it, and, where it was widened, nobody
    /// behind it who is in.
    ///
    /// Who is in waits for no turn, and a call of several turns comes to them in their order. So
    /// whoever has the first place of all gets on, and nobody waits for ever.
    fn is_free(&self, ticket: u64) -> bool {
        let claim = &self.taken[&ticket].claim;
        !self.taken.iter().any(|(&other, place)| {
            other != ticket && (other < ticket || place.is_in) && place.claim.conflicts(claim)
        })
    }

    /// Those to wake: all who wait and whom nobody is in the way of.
    fn take_free_wakers(&mut self) -> Vec<Waker> {
        if self.waiting_count == 0 {
            return Vec::new();
        }
        let waiting = self.taken.iter().filter(|(_, place)| place.waker.is_some());
        let free = waiting.map(|(&ticket, _)| ticket).filter(|&ticket| self.is_free(ticket));
        let free: Vec<u64> = free.collect();
        self.waiting_count -= free.len();
        free.into_iter().filter_map(|ticket| self.place(ticket).waker.take()).collect()
    }
}

impl Turns {
    /// Takes a place behind all that are taken.
    pub(super) fn take(&self, claim: Claim) -> Turn {
        let mut places = self.0.lock();
        let ticket = places.next;
        places.next += 1;
        places.taken.insert(ticket, Place { claim, is_in: false, waker: None });
        Turn { places: Arc::clone(&self.0), ticket }
    }
}

/// A place in the order. Those behind it that it is in the way of go on when it is dropped.
pub(super) struct Turn {
    places: Arc<Mutex<Places>>,
    ticket: u64,
}

impl Turn {
    /// Waits until nobody is in the way.
    pub(super) async fn come(&self) {
        poll_fn(|context| {
            let mut places = self.places.lock();
            if places.place(self.ticket).is_in || places.is_free(self.ticket) {
                places.place(self.ticket).is_in = true;
                return Poll::Ready(());
            }
            let waker = Some(context.waker().clone());
            if std::mem::replace(&mut places.place(self.ticket).waker, waker).is_none() {
                places.waiting_count += 1;
            }
            Poll::Pending
        })
        .await;
    }

    /// Whether what it took its place for covers this use of its file.
    pub(super) fn covers(&self, part: &Use) -> bool {
        match &self.places.lock().place(self.ticket).claim {
            Claim::File(_, taken) => taken.covers(part),
            Claim::Rename { .. } | Claim::List { .. } => false,
        }
    }

    /// Uses all of its file from now on. Waits until nobody is in the way.
    pub(super) async fn widen(&self) {
        let woken = {
            let mut places = self.places.lock();
            let place = places.place(self.ticket);
            if let Claim::File(_, part) = &mut place.claim {
                *part = Use::Whole;
            }
            place.is_in = false;
            places.take_free_wakers()
        };
        woken.into_iter().for_each(Waker::wake);
        self.come().await;
    }

    /// Uses only this of its file from now on, which is part of what it used.
    pub(super) fn narrow(&self, part: Use) {
        let woken = {
            let mut places = self.places.lock();
            if let Claim::File(_, taken) = &mut places.place(self.ticket).claim {
                debug_assert!(taken.covers(&part), "{taken:?} does not cover {part:?}");
                *taken = part;
            }
            places.take_free_wakers()
        };
        woken.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let woken = {
            let mut places = self.places.lock();
            let place = places.taken.remove(&self.ticket);
            if place.is_some_and(|place| place.waker.is_some()) {
                places.waiting_count -= 1;
            }
            places.take_free_wakers()
        };
        woken.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn file(path: &str, part: Use) -> Claim {
        Claim::File(path.into(), part)
    }

    fn has_come(turn: &Turn) -> bool {
        turn.come().now_or_never().is_some()
    }

    #[test]
    fn only_what_is_in_the_way_waits_and_in_the_order_of_coming() {
        let turns = Turns::default();
        let write = turns.take(file("a", Use::Write(2..=5)));
        let apart = turns.take(file("a", Use::Write(6..=9)));
        let read = turns.take(file("a", Use::Read(5..=6)));
        let whole = turns.take(file("a", Use::Whole));
        let behind = turns.take(file("a", Use::Read(20..=20)));
        let other = turns.take(file("b", Use::Whole));
        assert!(has_come(&write) && has_come(&apart) && has_come(&other));
        assert!(!has_come(&read) && !has_come(&whole) && !has_come(&behind));
        drop(write);
        assert!(!has_come(&read), "the other write is in its way, too");
        drop(apart);
        assert!(has_come(&read) && !has_come(&whole) && !has_come(&behind));
        drop(read);
        assert!(has_come(&whole) && !has_come(&behind));
        whole.narrow(Use::Read(20..=30));
        assert!(has_come(&behind));
    }

    #[test]
    fn who_widens_keeps_its_place() {
        let turns = Turns::default();
        let first = turns.take(file("a", Use::Write(0..=0)));
        let second = turns.take(file("a", Use::Write(1..=1)));
        let third = turns.take(file("a", Use::Write(0..=1)));
        assert!(has_come(&first) && has_come(&second) && !has_come(&third));
        assert!(first.widen().now_or_never().is_none(), "the second is at it");
        assert!(second.widen().now_or_never().is_none(), "the first comes first");
        assert!(has_come(&first) && !has_come(&second));
        drop(first);
        assert!(has_come(&second) && !has_come(&third));
        drop(second);
        assert!(has_come(&third));
    }

    #[test]
    fn names_are_in_the_way_of_names() {
        let turns = Turns::default();
        let rename = turns.take(Claim::Rename { from: "a/b".into(), to: "c".into() });
        for waits in [
            file("a", Use::Whole),
            file("a/b", Use::Length),
            file("c/d", Use::Whole),
            Claim::List { prefix: "a/".into() },
            Claim::Rename { from: "x".into(), to: "c".into() },
        ] {
            assert!(!has_come(&turns.take(waits.clone())), "{waits:?}");
        }
        for goes_on in [
            file("a", Use::Length),
            file("a/bc", Use::Whole),
            Claim::List { prefix: "a/c".into() },
            Claim::Rename { from: "x".into(), to: "y".into() },
        ] {
            assert!(has_come(&turns.take(goes_on.clone())), "{goes_on:?}");
        }
        drop(rename);
    }
}
