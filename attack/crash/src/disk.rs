//! What may be on a disk after a crash, by sectors.
//!
//! A sector is what a disk writes whole: 512 bytes. Each has the bytes that are known to be durable, and
//! those that were written since; a crash leaves any one of these, each sector for itself. Lengths reach the
//! disk in their order, but independently of the bytes. What a shorter length cuts off is gone where the
//! length has reached the disk, and is there as before where it has not.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    rc::Rc,
};

use crate::record::{Event, Operation};

pub(crate) const SECTOR: usize = 512;

/// Bytes that a sector was to have.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) bytes: [u8; SECTOR],
    pub(crate) hash: u64,
    serial: u64,
    pub(crate) call: u32,
    /// The length that this sector was cut off by, counted among all lengths; then it is zero.
    cut_by: Option<u64>,
}

impl Version {
    /// Bytes that nobody wrote.
    pub(crate) fn new(bytes: [u8; SECTOR]) -> Self {
        Self { bytes, hash: 0, serial: 0, call: 0, cut_by: None }
    }
}

/// A length that may not have reached the disk.
#[derive(Clone, Copy, Debug)]
struct Len {
    len: u64,
    serial: u64,
    call: u32,
    /// Counted among all lengths.
    number: u64,
}

/// A call that was begun and has not ended.
#[derive(Debug)]
enum InFlight {
    Plain,
    /// What it makes durable when it ends: in these sectors, up to these versions.
    Durable {
        sectors: std::ops::Range<u64>,
        serial: u64,
    },
    Sync {
        serial: u64,
        unfinished: HashSet<u32>,
    },
}

/// A disk with one file.
#[derive(Debug)]
pub(crate) struct Disk {
    /// What is durable.
    pub(crate) image: Vec<u8>,
    pub(crate) len: u64,
    hashes: Vec<u64>,
    pending: BTreeMap<u64, Vec<Rc<Version>>>,
    lens: Vec<Len>,
    lens_count: u64,
    in_flight: HashMap<u32, InFlight>,
    serial: u64,
    /// Sectors of the image that were changed, in order, and how many of them the stage knows of.
    changed: Vec<u64>,
    told: usize,
}

/// A sector that a crash may leave in several ways.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub(crate) sector: u64,
    /// In the order in which they were written; the first is what is there for certain, otherwise.
    pub(crate) versions: Vec<Option<Rc<Version>>>,
}

/// What a crash at one moment may leave, with one of the lengths.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    pub(crate) len: u64,
    pub(crate) choices: Vec<Choice>,
    /// The hash of the first of all choices.
    pub(crate) hash: u64,
}

/// A hash of a sector and its place; none for zeros, so that what was never written needs none.
pub(crate) fn sector_hash(sector: u64, bytes: &[u8]) -> u64 {
    if bytes.iter().all(|&byte| byte == 0) {
        return 0;
    }
    let mut hasher = DefaultHasher::new();
    sector.hash(&mut hasher);
    hasher.write(bytes);
    hasher.finish()
}

fn len_hash(len: u64) -> u64 {
    sector_hash(u64::MAX, &len.to_le_bytes())
}

impl Disk {
    /// A disk on which these bytes are durable.
    pub(crate) fn new(image: Vec<u8>) -> Self {
        let hashes = image
            .chunks(SECTOR)
            .enumerate()
            .map(|(sector, bytes)| sector_hash(sector as u64, bytes))
            .collect();
        Self {
            len: image.len() as u64,
            image,
            hashes,
            pending: BTreeMap::new(),
            lens: Vec::new(),
            lens_count: 0,
            in_flight: HashMap::new(),
            serial: 0,
            changed: Vec::new(),
            told: 0,
        }
    }

    /// The same disk after a crash that left some sectors otherwise.
    pub(crate) fn after(&self, len: u64, sectors: &[(u64, Rc<Version>)]) -> Self {
        let mut image = self.image.clone();
        let mut hashes = self.hashes.clone();
        let bytes_len = index(len);
        // The last sector is whole in the image, also where the file ends inside of it.
        image.resize(bytes_len.next_multiple_of(SECTOR), 0);
        hashes.resize(bytes_len.div_ceil(SECTOR), 0);
        for (sector, version) in sectors {
            let at = index(*sector);
            image[at * SECTOR..(at + 1) * SECTOR].copy_from_slice(&version.bytes);
            hashes[at] = version.hash;
        }
        Self { image, len, hashes, ..Self::new(Vec::new()) }
    }

    /// The sectors of the image that were changed since the last time.
    pub(crate) fn newly_changed(&mut self) -> &[u64] {
        let new = &self.changed[self.told..];
        self.told = self.changed.len();
        new
    }

    /// All sectors of the image that were changed.
    pub(crate) fn changed(&self) -> &[u64] {
        &self.changed
    }

    /// The bytes of a sector of the image, which may be longer.
    pub(crate) fn sector(&self, sector: u64) -> &[u8] {
        const ZEROS: [u8; SECTOR] = [0; SECTOR];
        let at = index(sector) * SECTOR;
        self.image.get(at..at + SECTOR).unwrap_or(&ZEROS)
    }

    /// Whether the image has nothing but zeros there.
    pub(crate) fn is_zero(&self, sector: u64) -> bool {
        self.image_hash(sector) == 0
    }

    /// Does what an event says.
    pub(crate) fn play(&mut self, event: &Event) {
        match event {
            Event::Begin { call, operation } => self.begin(*call, operation),
            Event::End { call } => self.end(*call),
            Event::Note(_) => {}
        }
    }

    fn begin(&mut self, call: u32, operation: &Operation) {
        let in_flight = match operation {
            Operation::Write { offset, bytes, is_durable } => {
                let sectors = self.write(call, *offset, bytes);
                match is_durable {
                    false => InFlight::Plain,
                    true => InFlight::Durable { sectors, serial: self.serial },
                }
            }
            Operation::Sync => {
                let unfinished = self.in_flight.keys().copied().collect();
                InFlight::Sync { serial: self.serial, unfinished }
            }
            Operation::SetLen(len) => {
                self.set_len(call, *len);
                InFlight::Plain
            }
        };
        self.in_flight.insert(call, in_flight);
    }

    fn latest(&self, sector: u64) -> &[u8] {
        match self.pending.get(&sector).and_then(|versions| versions.last()) {
            Some(version) => &version.bytes,
            None => self.sector(sector),
        }
    }

    fn push(&mut self, sector: u64, bytes: [u8; SECTOR], call: u32, cut_by: Option<u64>) {
        self.serial += 1;
        let hash = sector_hash(sector, &bytes);
        let version = Version { bytes, hash, serial: self.serial, call, cut_by };
        self.pending.entry(sector).or_default().push(Rc::new(version));
    }

    fn write(&mut self, call: u32, offset: u64, bytes: &[u8]) -> std::ops::Range<u64> {
        let end = offset + bytes.len() as u64;
        let sectors = offset / SECTOR as u64..end.div_ceil(SECTOR as u64);
        for sector in sectors.clone() {
            let start = sector * SECTOR as u64;
            let mut new = [0; SECTOR];
            new.copy_from_slice(self.latest(sector));
            let (from, to) = (offset.max(start), end.min(start + SECTOR as u64));
            let part = &bytes[index(from - offset)..index(to - offset)];
            new[index(from - start)..index(to - start)].copy_from_slice(part);
            if new != *self.latest(sector) {
                self.push(sector, new, call, None);
            }
        }
        sectors
    }

    fn set_len(&mut self, call: u32, len: u64) {
        let before = self.lens.last().map_or(self.len, |last| last.len);
        self.lens_count += 1;
        let number = self.lens_count;
        for sector in len.div_ceil(SECTOR as u64)..before.div_ceil(SECTOR as u64) {
            if self.latest(sector).iter().any(|&byte| byte != 0) {
                self.push(sector, [0; SECTOR], call, Some(number));
            }
        }
        self.serial += 1;
        self.lens.push(Len { len, serial: self.serial, call, number });
    }

    fn end(&mut self, call: u32) {
        match self.in_flight.remove(&call) {
            None | Some(InFlight::Plain) => {}
            Some(InFlight::Durable { sectors, serial }) => {
                for sector in sectors {
                    self.settle(sector, |version| version.serial <= serial);
                }
            }
            Some(InFlight::Sync { serial, unfinished }) => {
                let is_over = |its: u64, call: u32| its <= serial && !unfinished.contains(&call);
                let sectors: Vec<_> = self.pending.keys().copied().collect();
                for sector in sectors {
                    self.settle(sector, |version| is_over(version.serial, version.call));
                }
                while let Some(first) = self.lens.first()
                    && is_over(first.serial, first.call)
                {
                    self.len = first.len;
                    self.lens.remove(0);
                }
            }
        }
    }

    /// Makes durable the last version of a sector of which that is true.
    fn settle(&mut self, sector: u64, is_durable: impl Fn(&Version) -> bool) {
        let Some(versions) = self.pending.get_mut(&sector) else { return };
        let Some(last) = versions.iter().rposition(|version| is_durable(version)) else { return };
        let version = Rc::clone(&versions[last]);
        versions.drain(..=last);
        if versions.is_empty() {
            self.pending.remove(&sector);
        }
        let at = index(sector);
        if self.image.len() < (at + 1) * SECTOR {
            self.image.resize((at + 1) * SECTOR, 0);
            self.hashes.resize(at + 1, 0);
        }
        self.image[at * SECTOR..(at + 1) * SECTOR].copy_from_slice(&version.bytes);
        self.hashes[at] = version.hash;
        self.changed.push(sector);
    }

    /// Makes everything durable.
    pub(crate) fn settle_all(&mut self) {
        let sectors: Vec<u64> = self.pending.keys().copied().collect();
        sectors.into_iter().for_each(|sector| self.settle(sector, |_| true));
        if let Some(last) = self.lens.drain(..).next_back() {
            self.len = last.len;
        }
    }

    /// What a crash at this moment may leave, for each length that may have reached the disk.
    pub(crate) fn windows(&self) -> Vec<Window> {
        (0..=self.lens.len()).map(|reached| self.window(reached)).collect()
    }

    fn window(&self, reached: usize) -> Window {
        let (len, number) = match reached.checked_sub(1) {
            None => (self.len, 0),
            Some(last) => (self.lens[last].len, self.lens[last].number),
        };
        let number = number.max(self.lens.first().map_or(0, |first| first.number - 1));
        let end = len.div_ceil(SECTOR as u64);
        let mut hash = len_hash(len);
        for sector in 0..index(end).min(self.hashes.len()) {
            hash ^= self.hashes[sector];
        }
        let mut choices = Vec::new();
        for (&sector, versions) in self.pending.range(..end) {
            let cut = |version: &Version| version.cut_by.is_some_and(|by| by <= number);
            let first = versions.iter().rposition(|version| cut(version));
            let later = versions[first.map_or(0, |first| first + 1)..].iter();
            let later = later.filter(|version| version.cut_by.is_none()).cloned().map(Some);
            let mut allowed = vec![first.map(|first| Rc::clone(&versions[first]))];
            allowed.extend(later);
            if let Some(forced) = &allowed[0] {
                hash ^= forced.hash ^ self.image_hash(sector);
            }
            if allowed.len() > 1 || allowed[0].is_some() {
                choices.push(Choice { sector, versions: allowed });
            }
        }
        Window { len, choices, hash }
    }

    fn image_hash(&self, sector: u64) -> u64 {
        self.hashes.get(index(sector)).copied().unwrap_or(0)
    }

    /// The hash of what a sector has in a version; `None` is the image's.
    pub(crate) fn hash_of(&self, sector: u64, version: Option<&Rc<Version>>) -> u64 {
        version.map_or_else(|| self.image_hash(sector), |version| version.hash)
    }
}

/// A place in memory.
pub(crate) fn index(place: u64) -> usize {
    usize::try_from(place).unwrap()
}
