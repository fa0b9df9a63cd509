//! What may be in a folder after a crash.
//!
//! The bytes, the length and the attributes of a file are durable after a sync of the file, its names after a sync
//! of the folder. Until then each change of a name is there or not, whatever became of the others and of the bytes; a
//! file that got another name has the old one or the new one.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use super::{
    note::Note,
    recorder::{Attributes, Change, Happening, Node},
};
use crate::{
    choose::Pick,
    disk::{Disk, SECTOR, Window},
    explore::{self, Sectors},
    random::Random,
    record::{Event, Operation},
};

/// Names that are there, each with its file.
pub(crate) type Names = BTreeMap<OsString, Node>;

/// The most changes of names of which all parts are tried.
const CHANGES_ALL_MAX: usize = 8;

/// A folder of which something is durable.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    disks: BTreeMap<Node, Disk>,
    /// Of each file: those that are durable, and those that it was given since.
    attributes: BTreeMap<Node, Vec<Attributes>>,
    names: Names,
    changes: Vec<Change>,
    calls: u32,
}

/// The names after a crash, and with each file one of the lengths that may have reached the disk.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) names: Names,
    /// Which changes of names are there.
    pub(crate) reached: Vec<bool>,
    files: Vec<Placed>,
    /// The choices of all files together.
    pub(crate) window: Window,
}

/// A file that is there.
#[derive(Debug)]
struct Placed {
    node: Node,
    window: Window,
    attributes: Attributes,
    /// Where its choices begin in those of all.
    start: usize,
}

/// A file of a state.
#[derive(Debug)]
pub(crate) struct File<'a> {
    pub(crate) name: &'a OsStr,
    pub(crate) len: u64,
    /// Of the bytes and the attributes.
    pub(crate) hash: u64,
    pub(crate) attributes: &'a Attributes,
    disk: &'a Disk,
    /// Those that are otherwise than on the disk.
    sectors: Sectors,
}

impl File<'_> {
    /// The sectors that are not zeros, in order.
    pub(crate) fn sectors(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let end = self.len.div_ceil(SECTOR as u64);
        let mut others = self.sectors.iter().peekable();
        (0..end).filter_map(move |sector| {
            if let Some((_, version)) = others.next_if(|(other, _)| *other == sector) {
                return Some((sector, &version.bytes[..]));
            }
            (!self.disk.is_zero(sector)).then(|| (sector, self.disk.sector(sector)))
        })
    }
}

impl Folder {
    /// Does what happened.
    pub(crate) fn play(&mut self, happening: &Happening) {
        match happening {
            Happening::Write { node, offset, bytes } => {
                let operation =
                    Operation::Write { offset: *offset, bytes: bytes.clone(), is_durable: false };
                self.call(*node, operation);
            }
            Happening::SetLen { node, len } => self.call(*node, Operation::SetLen(*len)),
            Happening::SetAttributes { node, attributes } => {
                let all = self.attributes.entry(*node).or_insert_with(|| vec![<_>::default()]);
                all.push(attributes.clone());
            }
            Happening::Sync { node } => {
                self.call(*node, Operation::Sync);
                self.attributes.entry(*node).and_modify(settle_attributes);
            }
            Happening::Change(change) => self.changes.push(change.clone()),
            Happening::SyncFolder => self.settle_names(),
            Happening::Note(Note::Start) => {
                self.settle_names();
                self.disks.values_mut().for_each(Disk::settle_all);
                self.attributes.values_mut().for_each(settle_attributes);
            }
            Happening::Note(_) => {}
        }
    }

    fn call(&mut self, node: Node, operation: Operation) {
        self.calls += 1;
        let call = self.calls;
        let disk = self.disks.entry(node).or_insert_with(|| Disk::new(Vec::new()));
        disk.play(&Event::Begin { call, operation });
        disk.play(&Event::End { call });
    }

    fn settle_names(&mut self) {
        let mut names = std::mem::take(&mut self.names);
        self.changes.drain(..).for_each(|change| apply(&mut names, &change));
        self.names = names;
    }

    /// The names that a crash may leave, each set of them once.
    fn all_names(&self, random: &mut Random) -> Vec<(Names, Vec<bool>)> {
        let count = self.changes.len();
        let parts = 1_u64 << count.min(CHANGES_ALL_MAX);
        let mut seen = BTreeSet::new();
        let mut all = Vec::new();
        for part in 0..parts {
            let part = if count > CHANGES_ALL_MAX { random.next() } else { part };
            let reached: Vec<bool> = (0..count).map(|at| part >> (at % 64) & 1 == 1).collect();
            let mut names = self.names.clone();
            for (change, _) in self.changes.iter().zip(&reached).filter(|(_, reached)| **reached) {
                apply(&mut names, change);
            }
            if seen.insert(names.clone()) {
                all.push((names, reached));
            }
        }
        all
    }

    /// What a crash at this moment may leave.
    pub(crate) fn scenes(&mut self, random: &mut Random) -> Vec<Scene> {
        let mut scenes = Vec::new();
        for (names, reached) in self.all_names(random) {
            let nodes: BTreeSet<Node> = names.values().copied().collect();
            let mut some: Vec<Vec<(Node, Window, Attributes)>> = vec![Vec::new()];
            for node in nodes {
                let disk = self.disks.entry(node).or_insert_with(|| Disk::new(Vec::new()));
                let attributes = self.attributes.get(&node).map_or(&[][..], |all| &all[..]);
                let attributes = all_attributes(attributes);
                let own: Vec<_> = disk
                    .windows()
                    .into_iter()
                    .flat_map(|window| {
                        attributes.iter().map(move |its| (node, window.clone(), its.clone()))
                    })
                    .collect();
                some = some
                    .iter()
                    .flat_map(|files| {
                        own.iter().map(|one| files.iter().chain([one]).cloned().collect())
                    })
                    .collect();
            }
            scenes.extend(
                some.into_iter().map(|files| Scene::new(names.clone(), reached.clone(), files)),
            );
        }
        scenes
    }

    /// The files of a state.
    pub(crate) fn files<'a>(&'a self, scene: &'a Scene, pick: &Pick) -> Vec<File<'a>> {
        let mut files = Vec::new();
        for Placed { node, window, attributes, start } in &scene.files {
            let disk = &self.disks[node];
            let own: Pick = pick[*start..*start + window.choices.len()].to_vec();
            let mut hasher = DefaultHasher::new();
            (explore::hash(disk, window, &own), attributes).hash(&mut hasher);
            let hash = hasher.finish();
            for (name, _) in scene.names.iter().filter(|(_, its)| *its == node) {
                let (len, sectors) = (window.len, explore::sectors(window, &own));
                files.push(File { name, len, hash, attributes, disk, sectors });
            }
        }
        files
    }

    /// Tells which changes of names are there and which are not.
    pub(crate) fn tell_changes(&self, reached: &[bool]) -> String {
        let told: Vec<String> = self
            .changes
            .iter()
            .zip(reached)
            .map(|(change, reached)| {
                format!(
                    "{} {}",
                    tell(change),
                    if *reached { "reached the disk" } else { "is lost" }
                )
            })
            .collect();
        if told.is_empty() { "all durable".into() } else { told.join(", ") }
    }
}

impl Scene {
    fn new(names: Names, reached: Vec<bool>, files: Vec<(Node, Window, Attributes)>) -> Self {
        let mut whole = Window { len: 0, choices: Vec::new(), hash: 0 };
        let mut placed = Vec::new();
        for (node, window, attributes) in files {
            let start = whole.choices.len();
            whole.choices.extend(window.choices.iter().cloned());
            placed.push(Placed { node, window, attributes, start });
        }
        Self { names, reached, files: placed, window: whole }
    }

    /// Tells of each file how long it is.
    pub(crate) fn tell_files(&self) -> String {
        let mut told = Vec::new();
        for Placed { node, window, attributes, .. } in &self.files {
            let mut file = format!("{} of {} bytes", self.name_of(*node), window.len);
            if *attributes != Attributes::default() {
                file = format!("{file} with {attributes:?}");
            }
            told.push(file);
        }
        if told.is_empty() { "no files".into() } else { told.join(", ") }
    }

    /// Tells where a choice is: the name of its file, and the byte.
    pub(crate) fn tell_place(&self, choice: usize) -> String {
        let file = self.files.iter().rfind(|file| file.start <= choice);
        let name = file.map_or_else(String::new, |file| self.name_of(file.node));
        format!("byte {} of {name}", self.window.choices[choice].sector * SECTOR as u64)
    }

    fn name_of(&self, node: Node) -> String {
        let name = self.names.iter().find(|(_, its)| **its == node);
        name.map_or_else(String::new, |(name, _)| name.display().to_string())
    }
}

/// All that a file may have: each attribute as it was or as it became, for itself.
fn all_attributes(versions: &[Attributes]) -> Vec<Attributes> {
    let mut all = Vec::new();
    for Attributes { mode, .. } in versions {
        for Attributes { extended, .. } in versions {
            let one = Attributes { mode: *mode, extended: extended.clone() };
            if !all.contains(&one) {
                all.push(one);
            }
        }
    }
    if all.is_empty() { vec![Attributes::default()] } else { all }
}

fn settle_attributes(versions: &mut Vec<Attributes>) {
    versions.drain(..versions.len() - 1);
}

fn tell(change: &Change) -> String {
    match change {
        Change::Add { name, .. } => format!("the new name {}", name.display()),
        Change::Move { from, to, .. } => format!("{} for {}", to.display(), from.display()),
        Change::Remove { name } => format!("the removal of {}", name.display()),
    }
}

fn apply(names: &mut Names, change: &Change) {
    match change {
        Change::Add { name, node } => {
            names.insert(name.clone(), *node);
        }
        Change::Move { from, to, node } => {
            if names.get(from) == Some(node) {
                names.remove(from);
            }
            names.insert(to.clone(), *node);
        }
        Change::Remove { name } => {
            names.remove(name);
        }
    }
}
