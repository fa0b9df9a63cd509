//! The files of batches: what is in them, and what becomes of those that are damaged or forged.

use std::path::{Path, PathBuf};

use feldera_types::checkpoint::CheckpointMetadata;

use super::{Batches, Running, Val, step_of_run};

/// A run with a checkpoint, and the payload of its largest batch.
fn checkpointed(folder: &Path) -> (CheckpointMetadata, PathBuf, Vec<u8>) {
    let mut running = Running::start(Batches::InPlace, folder, 1, None);
    (0..3).for_each(|at| {
        running.step(&step_of_run(at));
    });
    let checkpoint = running.checkpoint(3);
    running.stop();
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let batches = files.filter(|path| path.extension().is_some_and(|name| name == "feldera"));
    let payload = |path: PathBuf| {
        let sealed = storage::SealedFile::open(&path).ok()?;
        let len = usize::try_from(sealed.payload_len()).unwrap();
        let bytes = sealed.as_slice_of_at::<u8>(storage::ByteOffset::ZERO, len).unwrap().to_vec();
        Some((path, bytes))
    };
    let (path, bytes) = batches.filter_map(payload).max_by_key(|(_, bytes)| bytes.len()).unwrap();
    (checkpoint, path, bytes)
}

/// Puts a sealed file of this payload, with checksums that fit, in the place of another.
fn replace(path: &Path, payload: &[u8]) {
    std::fs::remove_file(path).unwrap();
    let mut writer = storage::PageWriter::create(path).unwrap();
    writer.append(payload).unwrap();
    writer.seal().unwrap();
}

/// Restores; gives what the panic said that a refusal ends in, here.
fn restore(folder: &Path, checkpoint: &CheckpointMetadata) -> Result<(), String> {
    let restored = std::panic::catch_unwind(|| {
        Running::start(Batches::InPlace, folder, 1, Some(checkpoint)).stop();
    });
    restored.map_err(|said| said.downcast_ref::<String>().cloned().unwrap_or_default())
}

/// A number of the directory of columns, which ends the payload: where `docs/format.md` says that it
/// stands in the record of a column.
fn number_at(payload: &[u8], column: usize, offset: usize) -> usize {
    payload.len() - 4096 + 64 + column * 64 + offset
}

/// Where in the payload a column begins.
fn start_of(payload: &[u8], column: usize) -> usize {
    let at = number_at(payload, column, 0);
    usize::try_from(u64::from_le_bytes(payload[at..at + 8].try_into().unwrap())).unwrap()
}

#[test]
fn a_batch_is_a_file_of_columns_that_anybody_can_read() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (_checkpoint, path, _payload) = checkpointed(folder.path());
    let columns = storage::Columns::open(path).unwrap();
    columns.expect_kind(storage::ColumnsKind::new(*b"dbsp\0\0\0\0")).unwrap();
    let keys = columns.column::<u16>(0).unwrap();
    let offsets = columns.column::<u64>(1).unwrap();
    let vals = columns.len(2).unwrap();
    let weights = columns.column::<i64>(3).unwrap();
    assert!(keys.len() > 1 && keys.is_sorted_by(|key, next| key < next));
    assert_eq!(offsets.len(), if keys.len() == vals { 0 } else { keys.len() + 1 });
    assert_eq!(columns.spec(2).unwrap().layout(), <Val as storage_dbsp::Mappable>::LAYOUT);
    assert_eq!(weights.len(), vals);
    assert!(!weights.contains(&0));
}

#[test]
fn a_file_that_is_damaged_anywhere_is_refused_and_not_read() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (checkpoint, path, payload) = checkpointed(folder.path());
    // The file itself, put there anew, is restored, so what follows is refused for its bytes.
    replace(&path, &payload);
    restore(folder.path(), &checkpoint).unwrap();

    let sound = std::fs::read(&path).unwrap();
    // By docs/format.md: two superblocks, the pages, the checksums of these, and the seal record.
    let seal = sound.len() - 4096;
    let checksums = seal - 4096;
    let pages = 8192..checksums;
    let checksums = checksums..checksums + pages.len() / 4096 * 4;
    let write = |bytes: &[u8]| {
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
    };
    let places = pages.step_by(1531).chain(checksums.step_by(3)).chain(seal..seal + 64);
    for place in places {
        let mut flipped = sound.clone();
        flipped[place] ^= 1;
        write(&flipped);
        let refused = restore(folder.path(), &checkpoint).expect_err(&place.to_string());
        assert!(refused.contains("InvalidData"), "{place}: {refused}");
    }
    // One superblock is as good as two.
    for slot in [0, 4096] {
        let mut flipped = sound.clone();
        flipped[slot + 20] ^= 1;
        write(&flipped);
        restore(folder.path(), &checkpoint).unwrap();
    }
    let mut flipped = sound.clone();
    (flipped[20], flipped[4096 + 20]) = (!sound[20], !sound[4096 + 20]);
    write(&flipped);
    let refused = restore(folder.path(), &checkpoint).unwrap_err();
    assert!(refused.contains("InvalidData"), "{refused}");
    write(&sound);
    restore(folder.path(), &checkpoint).unwrap();
}

#[test]
fn a_forged_file_is_refused_and_not_read() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (checkpoint, path, payload) = checkpointed(folder.path());
    let (keys, weights) = (start_of(&payload, 0), start_of(&payload, 3));
    // A key that is greater than all that follow, a weight of nothing, a column of fewer items, one
    // of more than there can be, and one of another type.
    let forgeries: [(usize, [u8; 8]); 5] = [
        (keys, u64::MAX.to_le_bytes().map(|byte| byte & 0x7f)),
        (weights, [0; 8]),
        (number_at(&payload, 3, 8), 77_u64.to_le_bytes()),
        (number_at(&payload, 3, 8), u64::MAX.to_le_bytes()),
        (number_at(&payload, 2, 24), 77_u64.to_le_bytes()),
    ];
    for (place, bytes) in forgeries {
        let mut forged = payload.clone();
        forged[place..place + 8].copy_from_slice(&bytes);
        replace(&path, &forged);
        let refused = restore(folder.path(), &checkpoint).unwrap_err();
        assert!(refused.contains("InvalidData"), "{place}: {refused}");
    }
    replace(&path, &payload);
    restore(folder.path(), &checkpoint).unwrap();
}
