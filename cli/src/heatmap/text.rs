//! The picture in a terminal.

use std::{fmt, num::NonZeroU32, path::Path};

use console::{Style, Term};
use indicatif::HumanBytes;

use super::heat::{Cell, Heat};

/// The most rows that a picture has: it fits a usual screen with the lines around it.
const ROWS_MAX: u32 = 20;

/// The columns that are left to the place in the file, at the beginning of each row.
const MARGIN_COLUMNS: u16 = 12;

/// Where standard output is no terminal, and on very narrow and very wide ones.
const COLUMNS_DEFAULT: u16 = 64;
const COLUMNS_MIN: u16 = 16;
const COLUMNS_MAX: u16 = 128;

/// How many cells the terminal has room for.
pub(super) fn cells() -> NonZeroU32 {
    let cells = u32::from(columns()) * ROWS_MAX;
    NonZeroU32::new(cells).expect("there are columns and rows")
}

fn columns() -> u16 {
    match Term::stdout().size_checked() {
        Some((_, width)) => {
            width.saturating_sub(MARGIN_COLUMNS + 1).clamp(COLUMNS_MIN, COLUMNS_MAX)
        }
        None => COLUMNS_DEFAULT,
    }
}

/// The picture, to be printed. Without colours the characters tell as much.
pub(super) struct Picture<'a> {
    file: &'a Path,
    heat: &'a Heat<'a>,
}

impl<'a> Picture<'a> {
    pub(super) fn new(file: &'a Path, heat: &'a Heat<'a>) -> Self {
        Self { file, heat }
    }
}

impl fmt::Display for Picture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (map, columns) = (self.heat.map, usize::from(columns()));
        writeln!(
            f,
            "{}: {}, each cell {}",
            self.file.display(),
            HumanBytes(map.file_len),
            HumanBytes(map.part_len),
        )?;
        for (row, cells) in self.heat.cells.chunks(columns).enumerate() {
            let place = HumanBytes((row * columns) as u64 * map.part_len).to_string();
            write!(f, "{place:>width$} ", width = usize::from(MARGIN_COLUMNS) - 1)?;
            for cell in cells {
                let (sign, style) = drawn(*cell);
                write!(f, "{}", style.apply_to(sign))?;
            }
            writeln!(f)?;
        }
        writeln!(f, "{}", self.heat.summary())?;
        f.write_str(". not in memory  ░▒▓ in part  █ all of it")?;
        f.write_str("  # some of it not on the disk yet")?;
        if self.heat.damaged_pages.is_some() {
            f.write_str("  ! damaged")?;
        }
        writeln!(f)
    }
}

fn drawn(cell: Cell) -> (char, Style) {
    match cell {
        Cell::Damaged => ('!', Style::new().red().bold()),
        Cell::Dirty => ('#', Style::new().yellow()),
        Cell::InMemory(share) => {
            let sign = match share {
                0.0 => '.',
                ..0.33 => '░',
                ..0.67 => '▒',
                ..1.0 => '▓',
                _ => '█',
            };
            (sign, if share > 0.0 { Style::new().cyan() } else { Style::new().dim() })
        }
    }
}
