//! Records written to a temporary file and read back, against `BufWriter` and `BufReader`.

use std::io::{BufReader, BufWriter, Read, Seek, Write};

use storage::spill::SpillOptions;

use crate::{
    Bench, Result,
    data::{self, Pieces},
    runner::{Pairs, Run, timed},
    table::{Reach, Row, Unit},
};

const SPILL: &str = "spill, write + read back, against BufWriter + BufReader";

/// The bytes of a record; a piece has a whole number of them.
const RECORD_BYTES: usize = 1 << 10;

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    if !bench.wants(SPILL) {
        return Ok(());
    }
    let (len, pieces) = (bench.data_len(), bench.piece_count());
    let pairs = Pairs::run(
        bench.pairs(),
        |_| {
            bench.settle()?;
            spill(bench, pieces)
        },
        |_| {
            bench.settle()?;
            buffered(bench, pieces)
        },
    )?;
    let unit = Unit::GigabytesPerSecond { bytes: len as u64 };
    bench.push(Row::of_times(SPILL, unit, Reach::TimesFaster(1.3), &pairs));
    Ok(())
}

fn spill(bench: &Bench, piece_count: usize) -> Result<Run> {
    let mut pieces = Pieces::new();
    let options = SpillOptions::new(bench.folder());
    timed(|| {
        let mut writer = options.create()?;
        for number in 0..piece_count {
            for record in pieces.get(number).chunks_exact(RECORD_BYTES) {
                writer.append_record(record)?;
            }
        }
        let reader = writer.finish()?;
        let mut cursor = reader.cursor(..)?;
        let mut sum = 0_u64;
        while let Some(record) = cursor.next()? {
            sum = sum.wrapping_add(sum_of(record));
        }
        Ok(sum)
    })
}

fn buffered(bench: &Bench, piece_count: usize) -> Result<Run> {
    let mut pieces = Pieces::new();
    timed(|| {
        let mut writer = BufWriter::new(tempfile::tempfile_in(bench.folder())?);
        for number in 0..piece_count {
            for record in pieces.get(number).chunks_exact(RECORD_BYTES) {
                writer.write_all(&u32::try_from(record.len())?.to_le_bytes())?;
                writer.write_all(record)?;
            }
        }
        let mut file = writer.into_inner()?;
        file.rewind()?;
        let mut reader = BufReader::new(file);
        let (mut sum, mut len, mut record) = (0_u64, [0; 4], Vec::new());
        for _ in 0..piece_count * (data::PIECE_BYTES / RECORD_BYTES) {
            reader.read_exact(&mut len)?;
            record.resize(usize::try_from(u32::from_le_bytes(len))?, 0);
            reader.read_exact(&mut record)?;
            sum = sum.wrapping_add(sum_of(&record));
        }
        Ok(sum)
    })
}

/// The sum of a record's words, wherever it lies in memory.
fn sum_of(record: &[u8]) -> u64 {
    let words = record.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes));
    words.fold(0, u64::wrapping_add)
}
