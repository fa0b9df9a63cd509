//! What a versioned file says of itself.

use std::fmt;

use indicatif::{HumanBytes, HumanCount};
use storage::{CommitId, Inspection, LogState, PageId, VersionedGeometry, VersionedState};

/// Shows commit and log.
pub(super) fn show(
    line: &mut dyn FnMut(&str, &dyn fmt::Display) -> fmt::Result,
    state: &VersionedState,
    inspection: &Inspection,
) -> fmt::Result {
    let newest = match &inspection.mark {
        Some(Ok(mark)) => mark.commit.max(state.commit),
        _ => state.commit,
    };
    let commit = match state.log_state {
        LogState::Clean => format!("{}, the last one", state.commit),
        LogState::Needed => format!("{newest} or a later one, of which the log tells"),
    };
    line("commit", &commit)?;
    line("log", &log(state))?;
    match &inspection.mark {
        None => line("mark", &"none: no commit yet"),
        Some(Ok(mark)) => {
            line("mark", &format_args!("commit {} was put into the pages", mark.commit))
        }
        Some(Err(error)) => line("mark", &format_args!("DAMAGED: {error}")),
    }
}

fn log(state: &VersionedState) -> String {
    let (len, start) = (state.geometry.log_len(), VersionedGeometry::LOG_START);
    let what = match state.log_state {
        LogState::Clean => "not needed: the file was closed".to_owned(),
        LogState::Needed => format!(
            "needed for commits after {}: the file is open to write, or was not closed",
            state.commit
        ),
    };
    format!("{} from byte {start} on, epoch {}; {what}", HumanBytes(len), state.epoch)
}

/// How many pages there are, and where.
pub(super) fn pages(state: &VersionedState, inspection: &Inspection) -> String {
    let count = inspection.superblock.page_count();
    let bytes = count.bytes(inspection.superblock.page_size()).unwrap_or(u64::MAX);
    let mut text = format!("{} ({})", HumanCount(count.get()), HumanBytes(bytes));
    if count.get() > 0 {
        text += &format!(", from byte {} on", state.geometry.page_offset(PageId::new(0)));
    }
    if state.commit > CommitId::ZERO {
        text += &format!(", at commit {}", state.commit);
    }
    if state.page_count_max > count {
        text += &format!("; once {}", HumanCount(state.page_count_max.get()));
    }
    text
}

/// Whether the file has its pages. One that is longer is being written to, or was.
pub(super) fn file_length(state: &VersionedState, inspection: &Inspection) -> String {
    let bytes = HumanCount(inspection.file_len);
    match state.geometry.file_len(inspection.superblock.page_count()) {
        Ok(needed) if inspection.file_len < needed && state.log_state == LogState::Clean => {
            format!("{bytes} bytes: DAMAGED, the header describes {}", HumanCount(needed))
        }
        Ok(needed) if inspection.file_len == needed => {
            format!("{bytes} bytes, as the header describes")
        }
        Ok(needed) => format!("{bytes} bytes; {} at commit {}", HumanCount(needed), state.commit),
        Err(error) => format!("{bytes} bytes: DAMAGED, {error}"),
    }
}
