//! What may be in a folder after a crash.
//!
//! The bytes and the length of a file are durable after a sync of the file, its names after a sync of the
//! folder. Until then each change of a name is there or not, whatever became of the others and of the bytes; a
//! file that got another name has the old one or the new one.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
};

use super::{
    note::Note,
    recorder::{Change, Happening, Node},
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
    /// The files that are there, and where the choices of each begin in those of all.
    files: Vec<(Node, Window, usize)>,
    /// The choices of all files together.
    pub(crate) window: Window,
}

/// A file of a state.
#[derive(Debug)]
pub(crate) struct File<'a> {
    pub(crate) name: &'a OsStr,
    pub(crate) len: u64,
    /// Of the bytes.
    pub(crate) hash: u64,
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
            Happening::Sync { node } => self.call(*node, Operation::Sync),
            Happening::Change(change) => self.changes.push(change.clone()),
            Happening::SyncFolder => self.settle_names(),
            Happening::Note(Note::Start) => {
                self.settle_names();
                self.disks.values_mut().for_each(Disk::settle_all);
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
            let mut some: Vec<Vec<(Node, Window)>> = vec![Vec::new()];
            for node in nodes {
                let disk = self.disks.entry(node).or_insert_with(|| Disk::new(Vec::new()));
                let windows = disk.windows();
                some = some
                    .iter()
                    .flat_map(|files| {
                        windows.iter().map(|window| {
                            let mut files = files.clone();
                            files.push((node, window.clone()));
                            files
                        })
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
        for (node, window, start) in &scene.files {
            let disk = &self.disks[node];
            let own: Pick = pick[*start..*start + window.choices.len()].to_vec();
            let hash = explore::hash(disk, window, &own);
            for (name, _) in scene.names.iter().filter(|(_, its)| *its == node) {
                let sectors = explore::sectors(window, &own);
                files.push(File { name, len: window.len, hash, disk, sectors });
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
    fn new(names: Names, reached: Vec<bool>, files: Vec<(Node, Window)>) -> Self {
        let mut whole = Window { len: 0, choices: Vec::new(), hash: 0 };
        let mut placed = Vec::new();
        for (node, window) in files {
            let start = whole.choices.len();
            whole.choices.extend(window.choices.iter().cloned());
            placed.push((node, window, start));
        }
        Self { names, reached, files: placed, window: whole }
    }

    /// Tells of each file how long it is.
    pub(crate) fn tell_files(&self) -> String {
        let names = self.names.iter().map(|(name, node)| {
            let file = self.files.iter().find(|(its, _, _)| its == node);
            format!("{} of {} bytes", name.display(), file.map_or(0, |(_, window, _)| window.len))
        });
        let names: Vec<String> = names.collect();
        if names.is_empty() { "no files".into() } else { names.join(", ") }
    }

    /// Tells where a choice is: the name of its file, and the byte.
    pub(crate) fn tell_place(&self, choice: usize) -> String {
        let file = self.files.iter().rfind(|(_, _, start)| *start <= choice);
        let node = file.map_or(0, |(node, _, _)| *node);
        let name = self.names.iter().find(|(_, its)| **its == node).map(|(name, _)| name.display());
        let byte = self.window.choices[choice].sector * SECTOR as u64;
        format!("byte {byte} of {}", name.map_or_else(String::new, |name| name.to_string()))
    }
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
