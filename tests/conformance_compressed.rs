//! The conformance suite against `Compressed` over `MemoryBackend`.
//!
//! Purpose and method: see `conformance/mod.rs`. Blocks are of 16 KiB, so that the suite's ranges
//! cover some as a whole and others in part. A closed layer knows nothing any more, so opening
//! another one over the same memory reads every header again.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use storage::{BufferPool, Compressed, Limits, MemoryBackend};

use crate::conformance::{Erased, Subject};

#[expect(dead_code, unused_imports, unused_macros, reason = "a part of the suite is not for it")]
mod conformance;

struct Packed {
    memory: MemoryBackend,
    limits: Limits,
    layer: Arc<Compressed<MemoryBackend>>,
}

impl Packed {
    fn over(memory: MemoryBackend, limits: Limits) -> Self {
        let buffers = BufferPool::new(limits.buffer_bytes);
        let layer = Compressed::new(memory.clone(), 16 << 10, buffers).unwrap();
        Self { memory, limits, layer: Arc::new(layer) }
    }
}

impl Subject for Packed {
    type Backend = Compressed<MemoryBackend>;

    const SEALED_IS_ZERO_COPY: bool = false;
    const HOLES_ARE_FREE: bool = true;

    fn make(limits: Limits) -> Self {
        Self::over(MemoryBackend::with_budget(256 << 20, limits).unwrap(), limits)
    }

    fn backend(&self) -> &Arc<Compressed<MemoryBackend>> {
        &self.layer
    }

    fn reopen(self) -> Option<Self> {
        let Self { memory, limits, layer } = self;
        drop(layer);
        Some(Self::over(memory, limits))
    }
}

/// The suite but for `counts`: statistics are those of the backend below.
macro_rules! packed_conformance {
    ($subject:ty, $flavor:literal) => {
        crate::conformance::themes! { ($subject, $flavor)
            ranges: exact_reads, reads_past_the_end, gaps_are_zeros, writing_nothing,
                overwriting_across_pages, truncating, truncating_and_growing_again, large_files,
                many_sizes, reads_after_writes;
            files: deleting, existing, listing, listing_by_prefix, folders_vanish,
                a_name_is_a_file_or_a_folder, failures_leave_no_folders, missing_files,
                empty_files, thousands_of_files, surviving_a_reopen;
            renamed: moving, replacing, onto_itself, between_folders, onto_folders_and_under_files,
                seen_by_readers_as_old_or_new;
            sealing: nothing_changes_it, twice, deleting_and_renaming, replaced_by_a_rename,
                views_without_a_copy, surviving_a_reopen, an_empty_file;
            views: stay_as_they_were, of_deleted_files, outlive_the_backend, go_to_other_threads;
            many: in_order, good_and_bad, neighbours, overlapping, no_requests, a_lot;
            hostile: reads, writes, truncating, nothing_written_at_no_place, holes_of_five_gib,
                more_than_all_buffers;
            names: broken_rules, every_byte, lookalikes, longest, deepest, plain_but_tempting;
            together: whole_writes_in_reads, overlapping_writes, growing, deleting_and_making,
                cutting_while_reading, one_file_each, sealing_while_writing;
            cancelled: leaves_no_permit_behind, is_whole_or_nothing, leaves_no_buffer_behind,
                in_the_queue;
        }
        crate::conformance::plain_tests! { ($subject)
            runtimes: none_at_all, one_thread, many_threads, one_after_the_other;
            machine: agrees_with_the_model;
        }
    };
}

mod plain {
    use super::*;
    packed_conformance!(Packed, "multi_thread");
}

mod erased {
    use super::*;
    packed_conformance!(Erased<Packed>, "current_thread");
}
