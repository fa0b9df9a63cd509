//! What somebody else does to files that are open: cut short, they are errors and never bytes that
//! nobody wrote, nor the end of the process.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use super::files::{self, block, keep, read, read_async};

/// Cuts a file short, as its owner can if he insists.
fn cut(path: &Path, len: u64) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o400)).unwrap();
}

#[test]
fn a_file_that_is_cut_short_under_its_reader_is_an_error() {
    // In the middle of a page, at its end, and to nothing; before the pages were read and after.
    for (new_len, is_warm) in
        [(700_001, true), (700_001, false), (4096, true), (0, false), (0, true)]
    {
        let (folder, backend) = files::backend();
        let bytes = files::random(1, 1 << 20);
        keep(&backend, "file", &bytes);
        let reader = backend.open(&"file".into()).unwrap();
        if is_warm {
            assert_eq!(read(reader.as_ref(), 0, 1 << 20).unwrap(), bytes);
        }
        cut(&folder.path().join("file"), new_len);
        for (offset, size) in [(700_000, 512), (900_000, 4096), (0, 1 << 20), (1 << 19, 1 << 18)] {
            assert!(
                read(reader.as_ref(), offset, size).is_err(),
                "{size} at {offset} of {new_len}"
            );
            let many = vec![block(offset, size), block(0, 512)];
            assert!(read_async(reader.as_ref(), many)[0].is_err());
        }
        assert!(reader.commit().is_err());
        // Another file is unharmed.
        keep(&backend, "other", &bytes);
        let other = backend.open(&"other".into()).unwrap();
        assert_eq!(read(other.as_ref(), 0, 1 << 20).unwrap(), bytes);
    }
}

#[test]
fn a_file_that_others_can_write_to_is_read_without_a_mapping() {
    let (folder, backend) = files::backend();
    let path = folder.path().join("shared");
    fs::write(&path, [1; 10_000]).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let reader = backend.open(&"shared".into()).unwrap();
    assert_eq!(read(reader.as_ref(), 0, 10_000).unwrap(), [1; 10_000]);
    // That its bytes change is nobody's undefined behaviour, since nobody borrowed them.
    fs::write(&path, [2; 10_000]).unwrap();
    assert_eq!(read(reader.as_ref(), 0, 10_000).unwrap(), [2; 10_000]);
    cut(&path, 5000);
    assert!(read(reader.as_ref(), 0, 10_000).is_err());
}
