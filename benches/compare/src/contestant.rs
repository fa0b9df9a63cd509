//! A rival as the runner sees it: what it is called, and how it is set to work.

use std::path::Path;

use crate::{
    Result,
    data::Shape,
    singles,
    store::{Kept, Rival},
    turn::{self, Sample, Turn},
    work::Work,
};

/// A rival, whatever its type.
#[derive(Clone, Copy)]
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) package: Option<&'static str>,
    pub(crate) settings: &'static str,
    pub(crate) kept: Kept,
    pub(crate) unfit: fn(Work) -> Option<&'static str>,
    /// Loads, reads and changes data of one size.
    pub(crate) turn: fn(&Turn<'_>) -> Result<Vec<Sample>>,
    pub(crate) small_files: fn(&Turn<'_>) -> Result<Vec<Sample>>,
    pub(crate) heartbeat: fn(&Turn<'_>) -> Result<Vec<Sample>>,
    /// Spills to a folder; gives the sum of what it read back.
    pub(crate) spill: fn(&Path, Shape) -> Result<u64>,
}

impl Contestant {
    pub(crate) const fn of<R: Rival>() -> Self {
        Self {
            name: R::NAME,
            package: R::PACKAGE,
            settings: R::SETTINGS,
            kept: R::KEPT,
            unfit: R::unfit,
            turn: turn::take::<R>,
            small_files: singles::small_files::<R>,
            heartbeat: singles::heartbeat::<R>,
            spill: singles::spill::<R>,
        }
    }
}
