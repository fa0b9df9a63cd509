//! Any sequence of calls gives what the same calls on vectors give, and so does a layer that was
//! opened anew and knows nothing yet.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use storage::{
    BufferPool, Compressed, Limits, MemoryBackend, MmapBackend, PosixBackend, StorageBackend,
    StorageError, WriteRequest,
};

use super::shelf::{Shelf, content, noise};

#[derive(Clone, Debug)]
enum Step {
    Write(usize, u64, Fill),
    WriteMany(Vec<(usize, u64, Fill)>),
    Read(usize, u64, usize),
    Truncate(usize, u64),
    Rename(usize, usize),
    Delete(usize),
    Reopen(u64),
}

#[derive(Clone, Debug)]
enum Fill {
    Byte(u8, usize),
    Noise(u64, usize),
}

impl Fill {
    fn bytes(&self) -> Vec<u8> {
        match *self {
            Self::Byte(byte, len) => vec![byte; len],
            Self::Noise(seed, len) => noise(len, seed),
        }
    }
}

const PATHS: [&str; 3] = ["a", "b", "folder/c"];
/// Ten blocks of the smallest size, and a bit more than two of the next but one.
const LEN_MAX: u64 = 40_000;

fn step() -> impl Strategy<Value = Step> {
    let path = 0..PATHS.len();
    let len = prop_oneof![0..300_usize, 3_900..4_200_usize, 0..20_000_usize];
    let fill = prop_oneof![
        (any::<u8>(), len.clone()).prop_map(|(byte, len)| Fill::Byte(byte, len)),
        (any::<u64>(), len.clone()).prop_map(|(seed, len)| Fill::Noise(seed, len)),
    ];
    let edge =
        (0..10_u64, 0..40_u64).prop_map(|(block, near)| (block * 4096 + near).saturating_sub(20));
    let offset = prop_oneof![0..LEN_MAX, edge];
    let write = (path.clone(), offset.clone(), fill);
    prop_oneof![
        8 => write.clone().prop_map(|(p, o, f)| Step::Write(p, o, f)),
        1 => prop::collection::vec(write, 0..4).prop_map(Step::WriteMany),
        4 => (path.clone(), offset.clone(), len).prop_map(|(p, o, l)| Step::Read(p, o, l)),
        4 => (path.clone(), offset).prop_map(|(p, o)| Step::Truncate(p, o)),
        1 => (path.clone(), path.clone()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => path.prop_map(Step::Delete),
        1 => (12..=16_u64).prop_map(Step::Reopen),
    ]
}

type Model = BTreeMap<&'static str, Vec<u8>>;

fn write(model: &mut Model, path: &'static str, offset: u64, data: &[u8]) {
    let file = model.entry(path).or_default();
    let offset = usize::try_from(offset).unwrap();
    if !data.is_empty() {
        file.resize(file.len().max(offset + data.len()), 0);
        file[offset..offset + data.len()].copy_from_slice(data);
    }
}

fn agree<T, U: PartialEq + std::fmt::Debug>(
    real: Result<T, StorageError>,
    model: Option<U>,
    convert: impl Fn(T) -> U,
) {
    match (real, model) {
        (Ok(real), Some(model)) => assert!(convert(real) == model, "another result"),
        (Err(StorageError::NotFound { .. } | StorageError::PastEnd { .. }), None) => {}
        (Ok(_), None) => panic!("the model fails here"),
        (Err(error), _) => panic!("{error}"),
    }
}

async fn run<B>(backend: B, steps: &[Step])
where
    B: StorageBackend<Error = StorageError> + Clone + 'static,
{
    let open =
        |log2: u64| Compressed::new(backend.clone(), 1 << log2, BufferPool::new(1 << 30)).unwrap();
    let (mut layer, mut model) = (open(12), Model::new());
    for step in steps {
        apply(&mut layer, &mut model, step, &open).await;
    }
    for layer in [layer, open(13)] {
        assert_eq!(layer.list("").await.unwrap(), model.keys().copied().collect::<Vec<_>>());
        for (path, expected) in &model {
            assert!(content(&layer, path).await.unwrap() == *expected, "{path}");
        }
    }
}

async fn apply<B>(
    layer: &mut Compressed<B>,
    model: &mut Model,
    step: &Step,
    open: &impl Fn(u64) -> Compressed<B>,
) where
    B: StorageBackend<Error = StorageError> + 'static,
{
    match step {
        Step::Write(path, offset, fill) => {
            let data = fill.bytes();
            layer.write(PATHS[*path], *offset, &data).await.unwrap();
            write(model, PATHS[*path], *offset, &data);
        }
        Step::WriteMany(writes) => {
            let request = |(path, offset, fill): &(usize, u64, Fill)| WriteRequest {
                path: PATHS[*path],
                offset: *offset,
                data: Bytes::from(fill.bytes()),
            };
            let requests: Vec<_> = writes.iter().map(request).collect();
            for result in layer.write_many(&requests).await {
                result.unwrap();
            }
            for (path, offset, fill) in writes {
                write(model, PATHS[*path], *offset, &fill.bytes());
            }
        }
        Step::Read(path, offset, length) => {
            let start = usize::try_from(*offset).unwrap();
            let expected = model.get(PATHS[*path]);
            let expected = expected.and_then(|file| file.get(start..start + length));
            agree(
                layer.read(PATHS[*path], *offset, *length).await,
                expected.map(<[u8]>::to_vec),
                |b| b.to_vec(),
            );
        }
        Step::Truncate(path, len) => {
            let file = model.get_mut(PATHS[*path]);
            let done = file.map(|file| file.resize(usize::try_from(*len).unwrap(), 0));
            agree(layer.truncate(PATHS[*path], *len).await, done, |()| ());
        }
        Step::Rename(from, to) => {
            let file = model.remove(PATHS[*from]);
            let done = file.map(|file| drop(model.insert(PATHS[*to], file)));
            agree(layer.rename(PATHS[*from], PATHS[*to]).await, done, |()| ());
        }
        Step::Delete(path) => {
            let done = model.remove(PATHS[*path]).map(drop);
            agree(layer.delete(PATHS[*path]).await, done, |()| ());
        }
        Step::Reopen(log2) => *layer = open(*log2),
    }
    for path in PATHS {
        let len = model.get(path).map(|file| file.len() as u64);
        assert_eq!(layer.exists(path).await.unwrap(), len.is_some());
        agree(layer.len(path).await, len, |len| len);
    }
}

fn on_runtime(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn on_vectors(steps in steps()) {
        on_runtime(run(Shelf::default(), &steps));
    }

    #[test]
    fn in_memory(steps in steps()) {
        on_runtime(run(MemoryBackend::with_budget(64 << 20, Limits::default()).unwrap(), &steps));
    }

    #[test]
    fn through_mappings(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        on_runtime(run(MmapBackend::open(folder.path(), Limits::default()).unwrap(), &steps));
    }

    #[test]
    fn by_system_calls(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        on_runtime(run(PosixBackend::open(folder.path(), Limits::default()).unwrap(), &steps));
    }
}
