//! What values are possible, and what to pass instead of one that is not.

use std::{fmt::Debug, ops::RangeInclusive, time::Duration};

use backends::{Result, StorageError};
use pagestore::ResidencyBudget;

use super::{BackendKind, BreakerConfig, RetryConfig, StorageConfig};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;
const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A cache of fewer blocks than this cannot hold what its users pin and read ahead into it.
const CACHE_BLOCKS_MIN: u64 = 16;

impl StorageConfig {
    /// Checks all fields and how they go together. [`backend::open`](crate::backend::open) does so
    /// too; call this to find out earlier.
    ///
    /// # Errors
    /// [`StorageError::Config`] for the first field that is not possible, with its value and what
    /// would be.
    pub fn validate(&self) -> Result<()> {
        self.validate_root()?;
        self.validate_sizes()?;
        check("max_concurrent_ops", self.max_concurrent_ops, 1..=4096)?;
        self.retry.validate()?;
        self.breaker.validate()
    }

    fn validate_root(&self) -> Result<()> {
        if self.backend != BackendKind::Memory && self.root.as_os_str().is_empty() {
            return Err(refuse("root", "empty", "pass the folder that is to hold the files"));
        }
        Ok(())
    }

    fn validate_sizes(&self) -> Result<()> {
        let block = self.block_size_bytes;
        if !block.is_power_of_two() || !(4 * KIB..=2 * MIB).contains(&block) {
            let allowed = "pass a power of two from 4096 (4 KiB) to 2097152 (2 MiB)";
            return Err(refuse("block_size_bytes", block.to_string(), allowed));
        }
        let cache_min = CACHE_BLOCKS_MIN * block;
        if self.cache_size_bytes < cache_min {
            let allowed = format!(
                "pass at least {cache_min}, which is {CACHE_BLOCKS_MIN} blocks of \
                 `block_size_bytes`, or smaller blocks"
            );
            return Err(refuse("cache_size_bytes", self.cache_size_bytes.to_string(), allowed));
        }
        check("buffer_budget_bytes", self.buffer_budget_bytes, 16 * MIB..=u64::MAX)?;
        if let Some(residency) = self.residency_budget_bytes {
            let least = ResidencyBudget::LIMIT_BYTES_MIN;
            check("residency_budget_bytes", residency, least..=u64::MAX)?;
        }
        if self.backend == BackendKind::Memory {
            check("memory_budget_bytes", self.memory_budget_bytes, block..=64 * TIB)?;
        }
        Ok(())
    }
}

impl RetryConfig {
    /// Checks all fields and how they go together.
    ///
    /// # Errors
    /// [`StorageError::Config`] for the first field that is not possible; the names begin with
    /// `retry.`.
    pub fn validate(&self) -> Result<()> {
        check("retry.attempts_max", self.attempts_max, 1..=100)?;
        check("retry.delay_base", self.delay_base, MILLISECOND..=HOUR)?;
        check("retry.delay_max", self.delay_max, self.delay_base..=HOUR)?;
        check("retry.total_max", self.total_max, self.delay_base..=DAY)
    }
}

impl BreakerConfig {
    /// Checks all fields.
    ///
    /// # Errors
    /// [`StorageError::Config`] for the first field that is not possible; the names begin with
    /// `breaker.`.
    pub fn validate(&self) -> Result<()> {
        check("breaker.failures_max", self.failures_max, 1..=u32::MAX)?;
        check("breaker.open_for", self.open_for, MILLISECOND..=DAY)?;
        check("breaker.half_open_probes", self.half_open_probes, 1..=1000)
    }
}

/// Numbers and durations have ranges.
fn check<T>(field: &'static str, value: T, range: RangeInclusive<T>) -> Result<()>
where
    T: PartialOrd + Debug + Copy,
{
    if range.contains(&value) {
        return Ok(());
    }
    let (least, most) = (range.start(), range.end());
    let allowed = format!("pass a value from {least:?} to {most:?}");
    Err(refuse(field, format!("{value:?}"), allowed))
}

fn refuse(
    field: &'static str,
    value: impl Into<String>,
    allowed: impl Into<String>,
) -> StorageError {
    StorageError::Config { field, value: value.into(), allowed: allowed.into() }
}
