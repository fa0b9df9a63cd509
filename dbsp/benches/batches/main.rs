//! Batches read in place beside DBSP's own: in memory (`VecIndexedWSet`) and in layer files
//! (`FileIndexedWSet`, whose blocks are all in its cache).
//!
//! `cargo bench -p storage-dbsp --bench batches -- [FILTER] [--keys MILLIONS] [--circuits]`
//!
//! Each row does the same work on each kind of batch, one after the other, several times over, and
//! gives medians. `--circuits` measures whole circuits too, which takes some minutes.
#![expect(clippy::print_stdout, reason = "a bench is a program that prints")]

#[path = "../../examples/join/circuits.rs"]
#[expect(dead_code, reason = "other programs have more ways and loads")]
mod circuits;
mod index;

use std::{env, hint::black_box, time::Instant};

use circuits::{Kept, Load, Work};
use dbsp::{
    DynZWeight, Runtime, ZWeight,
    circuit::{CircuitConfig, CircuitStorageConfig},
    dynamic::{DowncastTrait, DynData, Erase},
    trace::{
        Batch, BatchLocation, BatchReader, BatchReaderFactories, Builder, Cursor, FileIndexedWSet,
        VecIndexedWSet,
    },
};
use feldera_types::{
    config::{StorageCacheConfig, StorageConfig, StorageOptions},
    size::ConfigSize,
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use storage_dbsp::{Mappable, MappedIndexedWSet, Text};

/// Runs of each row; the median counts.
const ROUNDS: usize = 5;

/// Seeks of a row.
const SEEKS: usize = 200_000;

type Memory = VecIndexedWSet<DynData, DynData, DynZWeight>;
type File = FileIndexedWSet<DynData, DynData, DynZWeight>;
type Mapped<K> = MappedIndexedWSet<K, u64>;

/// What the keys are.
trait Key: Mappable + Erase<DynData> {
    const NAME: &str;

    /// So many in order, with gaps between them, so that there are keys that are absent.
    fn keys(count: u64) -> Vec<Self>;

    /// One of the gap behind this one.
    fn absent(&self) -> Self;

    /// Looks at all of it, as far as memory goes.
    fn look(&self) -> u64;
}

impl Key for u64 {
    const NAME: &str = "keys of 8 bytes";

    fn keys(count: u64) -> Vec<Self> {
        let mut random = StdRng::seed_from_u64(7);
        (0..count).map(|place| place * 16 + 2 * random.gen_range(0..8)).collect()
    }

    fn absent(&self) -> Self {
        self + 1
    }

    #[inline]
    fn look(&self) -> u64 {
        *self
    }
}

impl Key for Text {
    const NAME: &str = "keys of text, 8 to 40 bytes";

    fn keys(count: u64) -> Vec<Self> {
        let mut random = StdRng::seed_from_u64(7);
        let mut text = |number: u64| {
            let filler = "abcdefghijklmnopqrstuvwxyzabcdef";
            let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24;
            let filler = &filler[..random.gen_range(0..=30)];
            Self::from(format!("{scattered:010x}{filler}"))
        };
        let mut keys: Vec<Self> = (0..count).map(&mut text).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    fn absent(&self) -> Self {
        Self::from(format!("{self}!"))
    }

    #[inline]
    fn look(&self) -> u64 {
        u64::from(*self.as_bytes().last().expect("no key is empty"))
    }
}

fn main() {
    let mut args = env::args().skip(1);
    let (mut filter, mut millions, mut with_circuits) = (None, 5, false);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--bench" => {}
            "--circuits" => with_circuits = true,
            "--keys" => {
                let number = args.next().and_then(|arg| arg.parse().ok());
                millions = number.expect("--keys takes millions");
            }
            _ => filter = Some(arg),
        }
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = folder.path().to_str().expect("a UTF-8 path").into();
    let place = StorageConfig { path, cache: StorageCacheConfig::default() };
    // Room for all blocks of the layer file.
    let options =
        StorageOptions { cache_size: Some(ConfigSize::from_gib(4)), ..Default::default() };
    let storage = CircuitStorageConfig::for_config(place, options).expect("storage");
    let config = CircuitConfig::with_workers(1).with_storage(Some(storage));
    // A worker's thread is where batches find their storage.
    let (circuit, ()) = Runtime::init_circuit(config, move |_circuit| {
        rows::<u64>(millions * 1_000_000, filter.as_deref());
        rows::<Text>(millions * 1_000_000, filter.as_deref());
        if filter.as_deref().is_none_or(|filter| "index".contains(filter)) {
            index::rows(millions * 1_000_000);
        }
        Ok(())
    })
    .expect("a circuit");
    circuit.kill().expect("the circuit ends");
    if with_circuits {
        circuit_rows();
    }
}

fn build<K: Key, B>(keys: &[K]) -> B
where
    B: Batch<Key = DynData, Val = DynData, R = DynZWeight, Time = ()>,
{
    let factories = B::Factories::new::<K, u64, ZWeight>();
    let place = Some(BatchLocation::Storage);
    let mut builder = B::Builder::with_capacity_in_location(&factories, 0, 0, place);
    for (key, val) in keys.iter().zip(0_u64..) {
        builder.push_val_diff(&val as &DynData, &1_i64 as &DynZWeight);
        builder.push_key(key.erase());
    }
    builder.done()
}

fn scan<K: Key, B>(batch: &B) -> u64
where
    B: BatchReader<Key = DynData, Val = DynData, R = DynZWeight, Time = ()>,
{
    let (mut cursor, mut sum) = (batch.cursor(), 0_u64);
    while cursor.key_valid() {
        while cursor.val_valid() {
            let weight = **cursor.weight();
            let val = *cursor.val().downcast_checked::<u64>();
            sum = sum.wrapping_add(look::<K>(cursor.key()) ^ val);
            sum = sum.wrapping_add(weight.cast_unsigned());
            cursor.step_val();
        }
        cursor.step_key();
    }
    sum
}

#[inline]
fn look<K: Key>(data: &DynData) -> u64 {
    data.downcast_checked::<K>().look()
}

fn rewind_and_seek<K: Key, B>(batch: &B, probes: &[K]) -> u64
where
    B: BatchReader<Key = DynData, Val = DynData, R = DynZWeight, Time = ()>,
{
    let (mut cursor, mut sum) = (batch.cursor(), 0_u64);
    for probe in probes {
        cursor.rewind_keys();
        cursor.seek_key(probe.erase());
        sum = sum.wrapping_add(cursor.get_key().map_or(0, look::<K>));
    }
    sum
}

fn seek<K: Key, B>(batch: &B, probes: &[K]) -> u64
where
    B: BatchReader<Key = DynData, Val = DynData, R = DynZWeight, Time = ()>,
{
    let (mut cursor, mut sum) = (batch.cursor(), 0_u64);
    for probe in probes {
        cursor.seek_key(probe.erase());
        sum = sum.wrapping_add(cursor.get_key().map_or(0, look::<K>));
    }
    sum
}

fn seek_exact<K: Key, B>(batch: &B, probes: &[K]) -> u64
where
    B: BatchReader<Key = DynData, Val = DynData, R = DynZWeight, Time = ()>,
{
    let (mut cursor, mut found) = (batch.cursor(), 0);
    for probe in probes {
        found += u64::from(cursor.seek_key_exact(probe.erase(), None));
    }
    found
}

/// Nanoseconds for one item, of each of the kinds: the median of some rounds.
fn measure(items: usize, works: [&dyn Fn() -> u64; 3]) -> [f64; 3] {
    let expected = works[0]();
    let mut times = [(); 3].map(|()| Vec::new());
    for _ in 0..ROUNDS {
        for (work, times) in works.iter().zip(&mut times) {
            let start = Instant::now();
            assert_eq!(black_box(work()), expected, "all kinds hold the same");
            #[expect(clippy::cast_precision_loss, reason = "a small count")]
            times.push(start.elapsed().as_secs_f64() * 1e9 / items as f64);
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[ROUNDS / 2]
    })
}

fn rows<K: Key>(count: u64, filter: Option<&str>) {
    let keys = K::keys(count);
    let wanted = |name: &str| filter.is_none_or(|filter| name.contains(filter));
    let count_told = keys.len();
    println!("\n{count_told} {}, values of 8 bytes; ns, medians of {ROUNDS}\n", K::NAME);
    println!(
        "{:24} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "", "in place", "memory", "file", "/ memory", "/ file"
    );
    let print = |name: &str, [mapped, memory, file]: [f64; 3]| {
        let ratios = (mapped / memory, mapped / file);
        println!(
            "{name:24} {mapped:9.1} {memory:9.1} {file:9.1} {:8.2}x {:8.3}x",
            ratios.0, ratios.1
        );
    };
    if wanted("build") {
        let works: [&dyn Fn() -> u64; 3] = [
            &|| build::<K, Mapped<K>>(&keys).len_upper_bound() as u64,
            &|| build::<K, Memory>(&keys).len_upper_bound() as u64,
            &|| build::<K, File>(&keys).len_upper_bound() as u64,
        ];
        print("build, a tuple", measure(keys.len(), works));
    }
    let (mapped, memory, file) =
        (build::<K, Mapped<K>>(&keys), build::<K, Memory>(&keys), build::<K, File>(&keys));
    if wanted("scan") {
        let works: [&dyn Fn() -> u64; 3] =
            [&|| scan::<K, _>(&mapped), &|| scan::<K, _>(&memory), &|| scan::<K, _>(&file)];
        print("scan, a tuple", measure(keys.len(), works));
    }
    let mut random = StdRng::seed_from_u64(11);
    let mut probes: Vec<K> = keys.choose_multiple(&mut random, SEEKS).cloned().collect();
    if wanted("random") {
        let works: [&dyn Fn() -> u64; 3] =
            [&|| rewind_and_seek(&mapped, &probes), &|| rewind_and_seek(&memory, &probes), &|| {
                rewind_and_seek(&file, &probes)
            }];
        print("random rewind + seek", measure(SEEKS, works));
    }
    probes.sort_unstable();
    // Every fourth key in order, as a join with a delta of a quarter's size asks for.
    let dense: Vec<K> = keys.iter().step_by(4).cloned().collect();
    if wanted("sorted") {
        let works: [&dyn Fn() -> u64; 3] =
            [&|| seek(&mapped, &dense), &|| seek(&memory, &dense), &|| seek(&file, &dense)];
        print("sorted seek, dense", measure(dense.len(), works));
        let works: [&dyn Fn() -> u64; 3] =
            [&|| seek(&mapped, &probes), &|| seek(&memory, &probes), &|| seek(&file, &probes)];
        print("sorted seek, sparse", measure(probes.len(), works));
    }
    if wanted("absent") {
        let absent: Vec<K> = dense.iter().map(K::absent).collect();
        let works: [&dyn Fn() -> u64; 3] =
            [&|| seek_exact(&mapped, &absent), &|| seek_exact(&memory, &absent), &|| {
                seek_exact(&file, &absent)
            }];
        print("absent exact key", measure(absent.len(), works));
    }
}

/// Whole circuits, each way by turns.
fn circuit_rows() {
    const RECORDS: u64 = 2_000_000;
    const WAYS: [Kept; 4] = [
        Kept::InPlace,
        Kept::InMemory,
        Kept::Posixio { cache_mib: Some(16) },
        Kept::Posixio { cache_mib: None },
    ];
    for (name, work) in [("join", Work::Join), ("join + max", Work::JoinAndMax)] {
        let mut times = WAYS.map(|_| Vec::new());
        let mut answers = Vec::new();
        for _ in 0..ROUNDS {
            for (way, times) in WAYS.iter().zip(&mut times) {
                let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
                let load = Load::anywhere(RECORDS);
                let outcome = circuits::run(*way, work, load, folder.path(), || {});
                times.push(outcome.wall.as_secs_f64());
                answers.push(outcome.checksum);
            }
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "all ways give one answer");
        let [ours, memory, small, default] = times.map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[ROUNDS / 2]
        });
        println!(
            "{name}: {ours:.2} s in place; {:.2}x of memory, {:.2}x of posixio with a cache of \
             16 MiB, {:.2}x with its default",
            ours / memory,
            ours / small,
            ours / default
        );
    }
}
