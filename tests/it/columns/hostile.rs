//! Files that somebody made up: whatever stands in the directory, opening and borrowing gives an
//! answer, and what is borrowed lies in the file.
//!
//! Method: a page file's checksums are right, since the page writer writes it; only its payload is
//! made up. Every byte of a real directory takes many values; every shorter payload is tried.

use std::path::Path;

use storage::{
    ColumnDirectory, ColumnSpec, Columns, ColumnsError, ColumnsWriter, Existing, PageWriter,
    PageWriterOptions, SealedFile,
};

/// The payload of a real file of two columns: the last block is its directory.
fn payload(folder: &Path) -> Vec<u8> {
    let path = folder.join("real");
    let specs = [ColumnSpec::of::<u32>(), ColumnSpec::of::<[u8; 3]>()];
    let mut writer = ColumnsWriter::create(&path, &specs).unwrap();
    writer.append(0, &[7_u32; 1500]).unwrap();
    writer.append(1, &[[1_u8, 2, 3]; 9]).unwrap();
    writer.seal().unwrap();
    let file = SealedFile::open(&path).unwrap();
    let len = usize::try_from(file.payload_len()).unwrap();
    file.pages(..).unwrap()[..len].to_vec()
}

/// Opens a page file with this payload and borrows all that it offers.
fn try_all(path: &Path, payload: &[u8]) -> Result<(), ColumnsError> {
    let options = PageWriterOptions::new().existing(Existing::Replace);
    let mut writer: PageWriter = options.create(path).unwrap();
    writer.append(payload).unwrap();
    let columns = Columns::of(writer.seal().unwrap())?;
    for column in 0..columns.column_count() {
        let spec = columns.spec(column).unwrap();
        let bytes = columns.column_bytes(column, &spec)?;
        assert!(bytes.len() <= payload.len() - ColumnDirectory::LEN_BYTES);
        assert_eq!(bytes, columns.column_bytes_unverified(column, &spec)?);
        for error in [
            columns.column::<u32>(column).map(<[u32]>::len),
            columns.column_range::<[u8; 3]>(column, 0..9).map(<[[u8; 3]]>::len),
        ] {
            let _shown = error.map_err(|error| error.to_string());
        }
    }
    Ok(())
}

#[test]
fn every_byte_of_the_directory_takes_other_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("forged");
    let real = payload(folder.path());
    try_all(&path, &real).unwrap();
    let directory = real.len() - ColumnDirectory::LEN_BYTES;
    let (mut refused, mut accepted) = (0, 0);
    // The preamble and a record for each column.
    for at in directory..directory + 3 * 64 {
        for value in [0, 4, 255] {
            let mut forged = real.clone();
            forged[at] = value;
            match try_all(&path, &forged) {
                Ok(()) => accepted += 1,
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 100 && accepted > 100, "{refused} refused, {accepted} accepted");
}

#[test]
fn numbers_that_overflow_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("forged");
    let real = payload(folder.path());
    let record = real.len() - ColumnDirectory::LEN_BYTES + 64;
    for (field, value, word) in [
        (0, u64::MAX, "offset"),
        (0, u64::MAX - 4095, "item count"),
        (0, 1, "offset"),
        (0, 4096, "offset"),
        (8, u64::MAX, "item count"),
        (8, 1 << 62, "item count"),
        (16, 0, "item alignment"),
        (16, 4 << 32, "item size"),
        (16, 6 | 4 << 32, "item size"),
        (16, 8192 | 8192 << 32, "item alignment"),
    ] {
        let mut forged = real.clone();
        forged[record + field..][..8].copy_from_slice(&value.to_le_bytes());
        let error = try_all(&path, &forged).unwrap_err();
        let message = storage::WithCauses(&error).to_string();
        assert!(message.contains(word), "{field} {value:#x}: {message}");
    }
}

#[test]
fn shorter_payloads_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("forged");
    let real = payload(folder.path());
    for len in (0..real.len()).step_by(113) {
        let error = try_all(&path, &real[..len]).unwrap_err();
        assert!(matches!(error, ColumnsError::Store(_)), "{len}: {error}");
    }
}

/// Lengths of the file itself, not only of its payload.
#[test]
fn truncations_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    payload(folder.path());
    let real = folder.path().join("real");
    let len = std::fs::metadata(&real).unwrap().len();
    for len in (0..len).rev().filter(|len| len % 4096 < 2 || len % 61 == 0) {
        // Closed at once: opening waits a while for whoever has the file open for writing.
        std::fs::OpenOptions::new().write(true).open(&real).unwrap().set_len(len).unwrap();
        let error = Columns::open(&real).unwrap_err();
        assert!(matches!(error, ColumnsError::Store(_)), "{len}: {error}");
    }
}

#[test]
fn offsets_of_strings_that_lead_nowhere_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let specs = [ColumnSpec::of::<u64>(), ColumnSpec::of::<u8>()];
    let mut writer = ColumnsWriter::create(folder.path().join("strings"), &specs).unwrap();
    writer.append(1, b"some bytes").unwrap();
    writer.append(0, &[0, 4, 2, 10, 11, u64::MAX, 0]).unwrap();
    let columns = writer.seal().unwrap();
    let strings = columns.byte_strings(0, 1).unwrap();
    assert_eq!(strings.len(), 6);
    let found: Vec<_> = (0..8).map(|index| strings.get(index).ok()).collect();
    let (some, rest) = (Some(&b"some"[..]), Some(&b"me bytes"[..]));
    assert_eq!(found, [some, None, rest, None, None, None, None, None]);
    assert!(columns.byte_strings(1, 0).is_err() && columns.byte_strings(0, 2).is_err());
}
