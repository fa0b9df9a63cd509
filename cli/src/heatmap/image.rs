//! The picture as a file.

use std::{
    io::{self, BufWriter, Write},
    path::Path,
};

use indicatif::HumanBytes;
use svg::{
    Document,
    node::element::{Group, Rectangle, Text, Title},
};

use super::heat::{Cell, Heat};
use crate::output::Failure;

/// Cells in a row, at the most.
const COLUMNS: usize = 128;

/// The pixels of a cell, the line between cells among them.
const CELL_PIXELS: usize = 8;
const LINE_PIXELS: usize = 1;

/// Room for the words above and below the cells, in the SVG.
const TOP_PIXELS: usize = 32;
const BOTTOM_PIXELS: usize = 56;
/// The least width at which the words fit.
const WIDTH_PIXELS_MIN: usize = 640;

type Rgb = [u8; 3];

const BACKGROUND: Rgb = [0x11, 0x14, 0x1a];
const ON_DISK: Rgb = [0x2a, 0x30, 0x3a];
const IN_MEMORY: Rgb = [0x2e, 0xc4, 0xb6];
const DIRTY: Rgb = [0xff, 0x9f, 0x1c];
const DAMAGED: Rgb = [0xe7, 0x1d, 0x36];

/// Draws a PNG: one square a cell, nothing else.
pub(super) fn png(heat: &Heat<'_>, file: &mut dyn Write) -> Result<(), Failure> {
    let columns = heat.cells.len().clamp(1, COLUMNS);
    let rows = heat.cells.len().div_ceil(columns).max(1);
    let (width, height) = (columns * CELL_PIXELS, rows * CELL_PIXELS);
    let mut pixels = Vec::with_capacity(width * height * BACKGROUND.len());
    for y in 0..height {
        for x in 0..width {
            let on_line = |at: usize| at % CELL_PIXELS >= CELL_PIXELS - LINE_PIXELS;
            let cell = heat.cells.get(y / CELL_PIXELS * columns + x / CELL_PIXELS);
            let colour = match cell {
                Some(cell) if !on_line(x) && !on_line(y) => colour(*cell),
                _ => BACKGROUND,
            };
            pixels.extend(colour);
        }
    }
    let [width, height] =
        [width, height].map(|side| u32::try_from(side).expect("a picture is small"));
    let mut encoder = png::Encoder::new(BufWriter::new(file), width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(&pixels)?;
        writer.finish()
    });
    written.map_err(|error| {
        Failure::Output(match error {
            png::EncodingError::IoError(source) => source,
            other => io::Error::other(other),
        })
    })
}

/// Draws an SVG: the cells, which tell what they are when pointed at, and the words around them.
pub(super) fn svg(shown: &Path, heat: &Heat<'_>, file: &mut dyn Write) -> Result<(), Failure> {
    let columns = heat.cells.len().clamp(1, COLUMNS);
    let rows = heat.cells.len().div_ceil(columns);
    let width = (columns * CELL_PIXELS).max(WIDTH_PIXELS_MIN);
    let bottom = TOP_PIXELS + rows * CELL_PIXELS;
    let side = CELL_PIXELS - LINE_PIXELS;
    let map = heat.map;
    let mut cells = Group::new();
    for (index, cell) in heat.cells.iter().enumerate() {
        let start = index as u64 * map.part_len;
        let end = (start + map.part_len).min(map.file_len);
        let what = match cell {
            Cell::Damaged => "damaged".to_owned(),
            Cell::Dirty => "not on the disk yet".to_owned(),
            Cell::InMemory(share) => format!("{:.0} % in memory", share * 100.0),
        };
        let square = Rectangle::new()
            .set("x", index % columns * CELL_PIXELS)
            .set("y", TOP_PIXELS + index / columns * CELL_PIXELS)
            .set("width", side)
            .set("height", side)
            .set("fill", hex(colour(*cell)))
            .add(Title::new(format!("bytes {start} to {end}: {what}")));
        cells = cells.add(square);
    }
    let words = |text: String, y: usize| {
        Text::new(text).set("x", 4).set("y", y).set("fill", "#dddddd").set("font-size", 13)
    };
    let title = format!(
        "{}: {}, each cell {}",
        shown.display(),
        HumanBytes(map.file_len),
        HumanBytes(map.part_len)
    );
    let mut document = Document::new()
        .set("viewBox", (0, 0, width, bottom + BOTTOM_PIXELS))
        .set("font-family", "sans-serif")
        .add(
            Rectangle::new()
                .set("width", "100%")
                .set("height", "100%")
                .set("fill", hex(BACKGROUND)),
        )
        .add(words(title, 20))
        .add(cells)
        .add(words(heat.summary(), bottom + 20));
    let legend = [
        (ON_DISK, "not in memory"),
        (IN_MEMORY, "in memory"),
        (DIRTY, "not on the disk yet"),
        (DAMAGED, "damaged"),
    ];
    for ((x, y), (colour, name)) in (0..).map(|place| (4 + place * 150, bottom + 32)).zip(legend) {
        let square = Rectangle::new()
            .set("x", x)
            .set("y", y)
            .set("width", 12)
            .set("height", 12)
            .set("fill", hex(colour));
        document = document.add(square).add(words(name.to_owned(), y + 11).set("x", x + 18));
    }
    let mut writer = BufWriter::new(file);
    let written = svg::write(&mut writer, &document).and_then(|()| writer.flush());
    written.map_err(Failure::Output)
}

fn colour(cell: Cell) -> Rgb {
    match cell {
        Cell::Damaged => DAMAGED,
        Cell::Dirty => DIRTY,
        Cell::InMemory(share) => {
            let mixed = |channel: usize| {
                let (from, to) = (f64::from(ON_DISK[channel]), f64::from(IN_MEMORY[channel]));
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "between two bytes"
                )]
                let byte = (from + (to - from) * share).round() as u8;
                byte
            };
            [mixed(0), mixed(1), mixed(2)]
        }
    }
}

fn hex([red, green, blue]: Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}
