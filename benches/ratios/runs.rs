//! Sorted runs of records against vectors in memory, and against files written by hand.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
};

use storage::run::{Run, RunWriter};

use crate::{
    Bench, Result,
    data::scramble,
    runner::{Pairs, Run as Timed, timed, timed_busy},
    table::{Reach, Row, Unit},
};

const SCAN: &str = "run: scan per record, against a Vec of tuples";
const RANDOM: &str = "run: random seek, against binary search of a Vec";
const SORTED: &str = "run: seek in order, against binary search of a Vec";
const ABSENT: &str = "run: absent key in order, against binary search of a Vec";
const COLD: &str = "run: cold random seek, against binary search of its keys";
const BUILD: &str = "run: build and seal, against the same bytes by BufWriter + fdatasync";

type Tuple = (u64, u64, i64);

/// Record `number`: keys are multiples of 4, so that those between are absent.
fn record(number: u64) -> Tuple {
    (4 * number, scramble(number), 1 + i64::from(number.is_multiple_of(2)))
}

fn sum(key: u64, value: u64, weight: i64) -> u64 {
    (key ^ value).wrapping_mul(weight.unsigned_abs())
}

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    if !bench.wants_any(&[SCAN, RANDOM, SORTED, ABSENT, COLD, BUILD]) {
        return Ok(());
    }
    // A record takes 32 bytes of the file.
    let count = bench.data_len() as u64 / 128;
    bench.note(&format!("runs of {count} records: u64 key, u64 value, i64 weight"));
    let path = bench.path("run");
    let sealed = build(&path, count)?;
    let tuples: Vec<Tuple> = (0..count).map(record).collect();
    scan(bench, &sealed, &tuples)?;
    seeks(bench, &sealed, &tuples)?;
    cold(bench, &sealed)?;
    drop(sealed);
    fs::remove_file(&path)?;
    builds(bench, &tuples)
}

fn build(path: &Path, count: u64) -> Result<Run<u64, u64>> {
    let mut writer = RunWriter::create(path)?;
    for number in 0..count {
        let (key, value, weight) = record(number);
        writer.push_weighted(&key, &value, weight)?;
    }
    Ok(writer.seal()?)
}

fn scan(bench: &mut Bench, sealed: &Run<u64, u64>, tuples: &[Tuple]) -> Result<()> {
    if !bench.wants(SCAN) {
        return Ok(());
    }
    let pairs = Pairs::run_hot(
        bench.pairs(),
        |_| {
            timed_busy(|| {
                let mut total = 0_u64;
                for record in sealed.cursor() {
                    let record = record?;
                    total = total.wrapping_add(sum(*record.key, *record.value, record.weight));
                }
                Ok(total)
            })
        },
        |_| {
            timed_busy(|| {
                let sums = tuples.iter().map(|&(key, value, weight)| sum(key, value, weight));
                Ok(sums.fold(0, u64::wrapping_add))
            })
        },
    )?;
    let unit = Unit::NanosecondsEach { count: tuples.len() };
    bench.push(Row::of_times(SCAN, unit, Reach::TimesTheTime(1.5), &pairs));
    Ok(())
}

/// The keys that are looked for, in the order they are.
fn asked(work: &str, count: u64) -> Vec<u64> {
    let asked_count = 200_000.min(count);
    let step = count / asked_count;
    (0..asked_count)
        .map(|number| match work {
            RANDOM => 4 * (scramble(number) % count),
            SORTED => 4 * number * step,
            _ => 4 * number * step + 1,
        })
        .collect()
}

fn seeks(bench: &mut Bench, sealed: &Run<u64, u64>, tuples: &[Tuple]) -> Result<()> {
    for (work, reach) in [(RANDOM, 1.0), (SORTED, 0.6), (ABSENT, 0.6)] {
        if !bench.wants(work) {
            continue;
        }
        let keys = asked(work, tuples.len() as u64);
        let pairs = Pairs::run_hot(
            bench.pairs(),
            |_| timed_busy(|| look_up(sealed, &keys)),
            |_| {
                timed_busy(|| {
                    let found = keys.iter().filter_map(|&key| {
                        let at = tuples.partition_point(|tuple| tuple.0 < key);
                        tuples.get(at).filter(|tuple| tuple.0 == key)
                    });
                    Ok(found.fold(0, |total, tuple| total.wrapping_add(tuple.1)))
                })
            },
        )?;
        let unit = Unit::NanosecondsEach { count: keys.len() };
        bench.push(Row::of_times(work, unit, Reach::TimesTheTime(reach), &pairs));
    }
    Ok(())
}

fn look_up(sealed: &Run<u64, u64>, keys: &[u64]) -> Result<u64> {
    let (mut total, mut cursor) = (0_u64, sealed.cursor());
    for key in keys {
        if cursor.seek_exact(key)? {
            let record = cursor.next().ok_or("a key has a value")??;
            total = total.wrapping_add(*record.value);
        }
    }
    Ok(total)
}

/// From the disk: what a seek takes is mostly how many pages it has to wait for.
fn cold(bench: &mut Bench, sealed: &Run<u64, u64>) -> Result<()> {
    if !bench.wants(COLD) {
        return Ok(());
    }
    let keys: Vec<u64> = asked(RANDOM, sealed.key_count() as u64).into_iter().take(300).collect();
    let file = sealed.columns().file();
    file.advise(.., storage::Access::Random)?;
    let pairs = Pairs::run_hot(
        bench.pairs(),
        |_| {
            file.evict(..)?;
            timed(|| look_up(sealed, &keys))
        },
        |_| {
            file.evict(..)?;
            timed(|| {
                let columns = sealed.columns();
                let found = columns.column_unverified::<u64>(0)?;
                let values = columns.column_unverified::<u64>(2)?;
                let at = |key: &u64| found.partition_point(|other| other < key);
                Ok(keys.iter().fold(0, |total, key| total.wrapping_add(values[at(key)])))
            })
        },
    )?;
    file.advise(.., storage::Access::Normal)?;
    let unit = Unit::NanosecondsEach { count: keys.len() };
    bench.push(Row::of_times(COLD, unit, Reach::TimesTheTime(0.6), &pairs));
    Ok(())
}

fn builds(bench: &mut Bench, tuples: &[Tuple]) -> Result<()> {
    if !bench.wants(BUILD) {
        return Ok(());
    }
    let (ours, rival) = (bench.path("built"), bench.path("written"));
    let pairs = Pairs::run(
        bench.pairs(),
        |_| {
            bench.settle()?;
            let run = timed(|| {
                let mut writer = RunWriter::create(&ours)?;
                for (key, value, weight) in tuples {
                    writer.push_weighted(key, value, *weight)?;
                }
                Ok(writer.seal()?.record_count() as u64)
            });
            fs::remove_file(&ours)?;
            run
        },
        |_| {
            bench.settle()?;
            let run = write_by_hand(&rival, tuples);
            fs::remove_file(&rival)?;
            run
        },
    )?;
    let unit = Unit::NanosecondsEach { count: tuples.len() };
    bench.push(Row::of_times(BUILD, unit, Reach::TimesTheTime(2.0), &pairs));
    Ok(())
}

/// The same four numbers of each record, one after the other: the least that a file of them takes.
fn write_by_hand(path: &Path, tuples: &[Tuple]) -> Result<Timed> {
    timed(|| {
        let mut file = BufWriter::with_capacity(1 << 20, File::create_new(path)?);
        for (number, (key, value, weight)) in (0_u64..).zip(tuples) {
            for word in [*key, number, *value, weight.unsigned_abs()] {
                file.write_all(&word.to_le_bytes())?;
            }
        }
        file.into_inner()?.sync_data()?;
        Ok(tuples.len() as u64)
    })
}
