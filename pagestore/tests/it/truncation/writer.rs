//! Rounds with a file that is cut while it is written and sealed.

use std::{
    fs::{self, OpenOptions},
    path::Path,
    thread,
    time::Duration,
};

use pagestore::{Error, PageWriter};

use super::{
    pages::DATA_START,
    round::{Tally, count},
};
use crate::{nameless::the_nameless_in, report::Random};

/// Appends and seals while somebody cuts the file that is being written.
pub(crate) fn writer_round(
    folder: &Path,
    payload: &[u8],
    tally: &Tally,
    random: &mut Random,
) -> bool {
    let path = folder.join("written");
    let _none_before = fs::remove_file(&path);
    let mut writer = PageWriter::create(&path).unwrap();
    let outside = OpenOptions::new().write(true).open(the_nameless_in(folder)).unwrap();
    let len = DATA_START + payload.len() as u64;
    let cuts = 1 + random.below(3);
    let mut cutter = random.fork();
    let sealed = thread::scope(|scope| {
        let tally = &tally;
        scope.spawn(move || {
            for _ in 0..cuts {
                thread::sleep(Duration::from_micros(cutter.below(600)));
                outside.set_len(cutter.below(len)).unwrap();
                count(&tally.cuts);
            }
            // Sealing waits until nobody has the file open for writing.
            drop(outside);
        });
        for piece in payload.chunks(payload.len() / 4 + 1) {
            writer.append(piece)?;
        }
        Ok(writer.seal()?)
    });
    count(&tally.rounds);
    // What was cut after it was published is found when it is opened.
    let sealed = sealed.map_err(|error: Error| match error {
        Error::SealedNotOpened { source, .. } => *source,
        error => error,
    });
    let sealed = match sealed {
        Ok(sealed) => sealed,
        Err(Error::Format { .. }) => return true,
        Err(error) => {
            tally.error(&error);
            return true;
        }
    };
    let read = sealed.with_pages(.., |bytes| bytes == payload);
    match read {
        Ok(right) => assert!(right, "false Ok: a sealed file hands out wrong bytes"),
        Err(error) => tally.error(&error),
    }
    false
}
