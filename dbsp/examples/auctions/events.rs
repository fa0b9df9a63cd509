//! Auctions, and bids on them: made by chance, the same each time.
//!
//! The kinds of events, what they have, and their shares (3 auctions to 46 bids) are those of the Nexmark benchmark's
//! public description.

use dbsp::{never_none, never_roaring_filter};
use rand::{Rng, SeedableRng, rngs::StdRng};
use storage_dbsp::{Null, Text, mappable_struct};

macro_rules! row {
    ($(#[$about:meta])* struct $name:ident {
        $($(#[$field_about:meta])* $field:ident: $kind:ty),* $(,)?
    }) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(size_of::SizeOf, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
        #[archive_attr(derive(PartialEq, Eq, PartialOrd, Ord))]
        pub(crate) struct $name { $($(#[$field_about])* pub(crate) $field: $kind),* }
        never_none!($name);
        never_roaring_filter!($name);
        mappable_struct!($name { $($field: $kind),* });
    };
}

row! {
    /// Something that is for sale.
    struct Auction {
        item: Text,
        seller: u64,
        category: u64,
        /// The least price that it goes for, if the seller named one.
        reserve: Null<u64>,
    }
}

row! {
    /// An offer. The highest price is the greatest bid.
    struct Bid {
        price: u64,
        auction: u64,
        bidder: u64,
        /// By which page or program it came.
        channel: Text,
        is_automatic: bool,
        device: u8,
        version: u16,
        country: u32,
    }
}

/// What happens at once.
pub(crate) struct Step {
    /// With their numbers.
    pub(crate) auctions: Vec<(u64, Auction)>,
    /// With the second in which they came.
    pub(crate) bids: Vec<(u64, Bid)>,
}

/// Events in steps.
pub(crate) struct Events {
    random: StdRng,
    count: u64,
    auctions: u64,
}

const WORDS: [&str; 16] = [
    "lamp", "chair", "old", "brass", "painted", "table", "clock", "violin", "rare", "oak", "print",
    "signed", "vase", "glass", "rug", "map",
];

const CHANNELS: [&str; 4] =
    ["Baidu", "Facebook", "Google", "https://www.nexmark.com/item.htm?query="];

impl Events {
    pub(crate) fn new() -> Self {
        Self { random: StdRng::seed_from_u64(1), count: 0, auctions: 0 }
    }

    fn item(&mut self) -> Text {
        let words = self.random.gen_range(1..=5);
        let words = (0..words).map(|_| WORDS[self.random.gen_range(0..WORDS.len())]);
        Text::from(words.collect::<Vec<_>>().join(" "))
    }

    /// As many programs of a channel as there are numbers, so that there are many texts.
    fn channel(&mut self) -> Text {
        let channel = CHANNELS[self.random.gen_range(0..CHANNELS.len())];
        Text::from(format!("{channel}{}", self.random.gen_range(0..10_000)))
    }

    /// The next so many events.
    pub(crate) fn step(&mut self, events: u64) -> Step {
        let mut step = Step { auctions: Vec::new(), bids: Vec::new() };
        for number in self.count..self.count + events {
            if number % 49 < 3 {
                let auction = Auction {
                    item: self.item(),
                    seller: self.random.gen_range(0..=self.auctions / 3),
                    category: self.random.gen_range(0..20),
                    reserve: self.random.gen_bool(0.5).then_some(number % 1_000).into(),
                };
                step.auctions.push((self.auctions, auction));
                self.auctions += 1;
            } else {
                let recent = self.auctions.saturating_sub(3_000);
                let oldest = if self.random.gen_bool(0.3) { 0 } else { recent };
                let bid = Bid {
                    price: self.random.gen_range(1..100_000_000),
                    auction: self.random.gen_range(oldest..self.auctions),
                    bidder: self.random.gen_range(0..1_000_000),
                    channel: self.channel(),
                    is_automatic: self.random.gen_bool(0.1),
                    device: self.random.r#gen(),
                    version: self.random.r#gen(),
                    country: self.random.gen_range(0..200),
                };
                // 2,000 bids a second.
                step.bids.push((number / 2_000, bid));
            }
        }
        self.count += events;
        step
    }
}
