//! What goes wrong is said: damage, and files that others could change.

use std::{
    fs::{self, OpenOptions, Permissions},
    ops::ControlFlow,
    os::unix::fs::{FileExt, PermissionsExt},
    path::Path,
};

use storage::{Error as StoreError, Geometry, PageFile, PageId, SealedFile};

use crate::{
    demo::{
        data::{DATA_LEN_BYTES, Files},
        stage::Stage,
    },
    error::{Error, Result},
    report::Rate,
};

/// The page that gets damaged.
const VICTIM: PageId = PageId::new(12_345);

/// Shows errors that other stores do not have.
pub(crate) fn show(stage: &Stage, files: &Files) -> Result<()> {
    damage(stage, files)?;
    shared(stage)
}

fn damage(stage: &Stage, files: &Files) -> Result<()> {
    stage.heading("Flip one bit of 2,147,483,648 in a copy of the sealed file")?;
    let path = stage.path("damaged");
    fs::copy(files.sealed.path(), &path).map_err(Error::io("copy to", &path))?;
    flip(&path, VICTIM)?;
    let damaged = SealedFile::open(&path)?;
    let refusal = match damaged.page(VICTIM) {
        Err(error @ StoreError::Checksum { .. }) => error,
        _ => return Err(Error::Unexpected { expected: "a flipped bit to be found" }),
    };
    stage.check()?;
    let report = damaged.verify(|_| ControlFlow::Continue(()))?;
    if report.bad_pages.len() != 1 || report.bad_pages[0].page != VICTIM {
        return Err(Error::Unexpected { expected: "one damaged page and no other" });
    }
    let rate = Rate { bytes: DATA_LEN_BYTES, elapsed: report.elapsed }.to_string();
    stage.ours("SealedFile::verify finds that page and no other", &rate)?;
    stage.remark(&format!("borrowing it: {refusal}"))
}

fn flip(path: &Path, page: PageId) -> Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path);
    let file = file.map_err(Error::io("open", path))?;
    let page_size = storage::PageSize::DEFAULT;
    let offset = Geometry::data_start(page_size) + page.get() * page_size.get() + 1_000;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).map_err(Error::io("read", path))?;
    byte[0] ^= 1 << 3;
    file.write_all_at(&byte, offset).map_err(Error::io("write to", path))
}

fn shared(stage: &Stage) -> Result<()> {
    stage.heading("Open a file that others could change under the slices borrowed from it")?;
    let path = stage.path("shared");
    PageFile::create(&path)?.close()?;
    fs::set_permissions(&path, Permissions::from_mode(0o666))
        .map_err(Error::io("set the mode of", &path))?;
    match PageFile::open(&path) {
        Err(error @ StoreError::OthersCanWrite { .. }) => {
            stage.ours("PageFile::open of a file with mode 0666", &"refused")?;
            stage.remark(&error.to_string())
        }
        _ => Err(Error::Unexpected { expected: "a file with mode 0666 to be refused" }),
    }
}
