//! Rounds with a sealed file: three threads that read it in all ways that there are.
//!
//! It is opened without a lease, since under one the kernel lets nobody cut it.

use std::{fs, ops::ControlFlow, path::Path, sync::atomic::Ordering, thread, time::Duration};

use pagestore::{Error, PageId, PageWriter, Result, SealedFile, VerifyReport};

use super::{
    pages::{PAGES, WORDS, some_pages, word, write_new},
    round::{Round, Tally, count},
};
use crate::{report::Random, unleased::open_unleased};

/// The bytes of a sealed file whose pages are of generation 0.
pub(crate) fn sealed_file(folder: &Path) -> Vec<u8> {
    let path = folder.join("template");
    let mut writer = PageWriter::create(&path).unwrap();
    for page in 0..PAGES {
        let words: Vec<u8> =
            (0..WORDS).flat_map(|place| word(page, 0, place).to_le_bytes()).collect();
        writer.append(&words).unwrap();
    }
    drop(writer.seal().unwrap());
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(path).unwrap();
    bytes
}

pub(crate) fn sealed_round(path: &Path, bytes: &[u8], tally: &Tally, random: &mut Random) {
    let outside = write_new(path, bytes);
    let file = open_unleased(&SealedFile::options(), path);
    let round = Round::new(tally, bytes.len() as u64, 4);
    let views = [random.fork(), random.fork(), random.fork()];
    if random.one_in(2) {
        assert!(file.verify(|_| ControlFlow::Continue(())).unwrap().is_ok());
    }
    thread::scope(|scope| {
        for mut random in views {
            let (file, round) = (&file, &round);
            scope.spawn(move || {
                round.start.wait();
                while !round.is_over() {
                    read_sealed(file, round, &mut random);
                }
            });
        }
        round.cut(&outside, random);
    });
    if file.still_valid().is_err() {
        let page = PageId::new(0);
        let all = [
            file.page(page).map(drop),
            file.pages(..).map(drop),
            file.with_pages(.., |bytes| bytes[0]).map(drop),
            file.bytes(..).map(drop),
            file.pages_unverified(..).map(drop),
            file.verify(|_| ControlFlow::Continue(())).map(drop),
        ];
        for (number, result) in all.iter().enumerate() {
            let poisoned = matches!(result, Err(Error::Poisoned { .. }));
            assert!(poisoned, "access {number} of a poisoned file: {result:?}");
        }
    }
    count(&tally.rounds);
}

/// Reads some pages in one of the ways that there are.
pub(crate) fn read_sealed(file: &SealedFile, round: &Round<'_>, random: &mut Random) {
    let (start, end) = some_pages(random);
    let range = PageId::new(start)..PageId::new(end);
    let first = PageId::new(start);
    let wait = Duration::from_micros(random.below(60));
    let read: Result<Vec<u8>> = match random.below(6) {
        0 => file.with_pages(range, <[u8]>::to_vec),
        1 => file.page(first).map(<[u8]>::to_vec).and_then(|bytes| {
            file.still_valid()?;
            Ok(bytes)
        }),
        2 => file.pages(range).and_then(|pages| {
            thread::sleep(wait);
            let bytes = pages.to_vec();
            file.still_valid()?;
            Ok(bytes)
        }),
        3 => file.bytes(range).and_then(|view| {
            thread::sleep(wait);
            let bytes = view.to_vec();
            file.still_valid()?;
            Ok(bytes)
        }),
        4 => file.as_slice_of::<u64>(range).and_then(|words| {
            let bytes = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            file.still_valid()?;
            Ok(bytes)
        }),
        _ => {
            let was_cut = round.is_cut();
            let verified = file.verify(|_| ControlFlow::Continue(()));
            let right = verified.as_ref().is_ok_and(VerifyReport::is_ok);
            assert!(
                !right || !was_cut || round.extended.load(Ordering::Acquire),
                "false Ok: a file that had been cut short was verified"
            );
            verified.map(|_report| Vec::new())
        }
    };
    match read {
        Ok(bytes) => round.judge(start, &bytes, |_| (0, 0)),
        Err(error) => round.error(&error),
    }
}
