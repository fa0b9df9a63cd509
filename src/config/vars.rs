//! Fields set by environment variables.

use std::fmt::Display;

use backends::{Result, StorageError};
use serde::{Deserialize, de::IntoDeserializer, de::value::Error as ValueError};

use super::{StorageConfig, text};

impl StorageConfig {
    /// Sets the fields that variables name: `STORAGE_RETRY__ATTEMPTS_MAX=6` sets
    /// `retry.attempts_max` where `prefix` is `STORAGE`. Names are upper case, levels are separated
    /// by two underscores, and values are written as in a file. Variables that do not begin with
    /// the prefix and an underscore are skipped.
    ///
    /// Pass [`std::env::vars`], typically after reading a file, so that the environment wins.
    ///
    /// # Errors
    /// [`StorageError::Config`] for a value that cannot be read, and for a variable with the prefix
    /// that names no field. Whether values are possible is for [`validate`](Self::validate) to say.
    pub fn with_vars(
        mut self,
        prefix: &str,
        vars: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        for (name, value) in vars {
            let field = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_'));
            if let Some(field) = field {
                self.set(&name, field, &value)?;
            }
        }
        Ok(self)
    }

    fn set(&mut self, name: &str, field: &str, value: &str) -> Result<()> {
        match field {
            "BACKEND" => self.backend = choice("backend", value)?,
            "ROOT" => self.root = value.into(),
            "MEMORY_BUDGET_BYTES" => {
                self.memory_budget_bytes = size("memory_budget_bytes", value)?;
            }
            "CACHE_SIZE_BYTES" => self.cache_size_bytes = size("cache_size_bytes", value)?,
            "BLOCK_SIZE_BYTES" => self.block_size_bytes = size("block_size_bytes", value)?,
            "MAX_CONCURRENT_OPS" => self.max_concurrent_ops = number("max_concurrent_ops", value)?,
            "BUFFER_BUDGET_BYTES" => {
                self.buffer_budget_bytes = size("buffer_budget_bytes", value)?;
            }
            "RESIDENCY_BUDGET_BYTES" => {
                let field = "residency_budget_bytes";
                self.residency_budget_bytes =
                    text::size_or_none(value).map_err(unreadable(field, value))?;
            }
            "DEGRADE" => self.degrade = choice("degrade", value)?,
            "COMPRESSION" => self.compression = choice("compression", value)?,
            "RETRY__ATTEMPTS_MAX" => {
                self.retry.attempts_max = number("retry.attempts_max", value)?;
            }
            "RETRY__DELAY_BASE" => self.retry.delay_base = time("retry.delay_base", value)?,
            "RETRY__DELAY_MAX" => self.retry.delay_max = time("retry.delay_max", value)?,
            "RETRY__TOTAL_MAX" => self.retry.total_max = time("retry.total_max", value)?,
            "BREAKER__FAILURES_MAX" => {
                self.breaker.failures_max = number("breaker.failures_max", value)?;
            }
            "BREAKER__OPEN_FOR" => self.breaker.open_for = time("breaker.open_for", value)?,
            "BREAKER__HALF_OPEN_PROBES" => {
                self.breaker.half_open_probes = number("breaker.half_open_probes", value)?;
            }
            _ => {
                return Err(StorageError::Config {
                    field: "environment",
                    value: format!("{name}={value}"),
                    allowed: format!(
                        "there is no field {:?}; docs/configuration.md has them all",
                        field.to_lowercase().replace("__", ".")
                    ),
                });
            }
        }
        Ok(())
    }
}

fn size(field: &'static str, value: &str) -> Result<u64> {
    text::size(value).map_err(unreadable(field, value))
}

fn time(field: &'static str, value: &str) -> Result<std::time::Duration> {
    text::time(value).map_err(unreadable(field, value))
}

fn number<T: std::str::FromStr<Err: Display>>(field: &'static str, value: &str) -> Result<T> {
    value.trim().parse().map_err(unreadable(field, value))
}

/// One of the names that an enum has for serde.
fn choice<'a, T: Deserialize<'a>>(field: &'static str, value: &'a str) -> Result<T> {
    let deserializer: serde::de::value::StrDeserializer<'a, ValueError> = value.into_deserializer();
    T::deserialize(deserializer).map_err(unreadable(field, value))
}

fn unreadable<E: Display>(field: &'static str, value: &str) -> impl FnOnce(E) -> StorageError {
    move |error| StorageError::Config {
        field,
        value: format!("{value:?}"),
        allowed: error.to_string(),
    }
}
