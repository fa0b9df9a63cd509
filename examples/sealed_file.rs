//! Two columns appended to a file, sealed, and borrowed back as typed slices.
//!
//! Run: `cargo run --example sealed_file`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{error::Error, num::NonZeroU64};

use storage::{PageWriter, SealedFile};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("columns");
    let ids: Vec<u32> = (0..100_001).collect();
    let prices: Vec<f64> = ids.iter().map(|&id| f64::from(id) / 4.0).collect();

    let mut writer = PageWriter::create(&path)?;
    let ids_at = writer.append(bytemuck::cast_slice(&ids))?;
    // An array of `f64` begins at a multiple of 8; the column before may have ended anywhere.
    let prices_at = writer.align_to(const { NonZeroU64::new(8).unwrap() })?;
    writer.append(bytemuck::cast_slice(&prices))?;
    writer.seal()?;

    let sealed = SealedFile::open(&path)?;
    // No copy: these slices point into the mapping. Each page is verified when first borrowed.
    let ids: &[u32] = sealed.as_slice_of_at(ids_at, 100_001)?;
    let prices: &[f64] = sealed.as_slice_of_at(prices_at, 100_001)?;
    println!("id {} costs {}", ids[77_777], prices[77_777]);

    // An owned view keeps the mapping alive, whatever happens to the handle and to the file's name.
    let view = sealed.bytes(..)?;
    drop(sealed);
    std::fs::remove_file(&path)?;
    println!("{} bytes are still readable", view.len());
    Ok(())
}
