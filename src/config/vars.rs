//! Fields set by environment variables.
//!
//! The environment belongs to everybody: whoever starts the program puts variables there, for any
//! program, with any bytes in them. So what is found there is never printed, and what was not meant for
//! this store stops nobody.

use std::{ffi::OsStr, fmt::Display, str::FromStr, time::Duration};

use backends::{Result, StorageError};
use serde::de::{
    DeserializeOwned, IntoDeserializer,
    value::{Error as ValueError, StrDeserializer},
};
use tracing::{info, warn};

use super::{StorageConfig, near, text};

/// Sets one field to what a variable holds.
type Set = fn(&mut StorageConfig, &Value<'_>) -> Result<()>;

/// All fields, by their names.
const FIELDS: [(&str, Set); 18] = [
    ("backend", |config, value| value.choice(&mut config.backend)),
    ("root", |config, value| {
        config.root = value.raw.into();
        Ok(())
    }),
    ("memory_budget_bytes", |config, value| value.size(&mut config.memory_budget_bytes)),
    ("cache_size_bytes", |config, value| value.size(&mut config.cache_size_bytes)),
    ("block_size_bytes", |config, value| value.size(&mut config.block_size_bytes)),
    ("caching", |config, value| value.choice(&mut config.caching)),
    ("max_concurrent_ops", |config, value| value.number(&mut config.max_concurrent_ops)),
    ("buffer_budget_bytes", |config, value| value.size(&mut config.buffer_budget_bytes)),
    ("residency_budget_bytes", |config, value| {
        value.read(&mut config.residency_budget_bytes, text::size_or_none)
    }),
    ("degrade", |config, value| value.choice(&mut config.degrade)),
    ("compression", |config, value| value.choice(&mut config.compression)),
    ("retry.attempts_max", |config, value| value.number(&mut config.retry.attempts_max)),
    ("retry.delay_base", |config, value| value.time(&mut config.retry.delay_base)),
    ("retry.delay_max", |config, value| value.time(&mut config.retry.delay_max)),
    ("retry.total_max", |config, value| value.time(&mut config.retry.total_max)),
    ("breaker.failures_max", |config, value| value.number(&mut config.breaker.failures_max)),
    ("breaker.open_for", |config, value| value.time(&mut config.breaker.open_for)),
    ("breaker.half_open_probes", |config, value| {
        value.number(&mut config.breaker.half_open_probes)
    }),
];

impl StorageConfig {
    /// Sets the fields that variables name: `STORAGE_RETRY__ATTEMPTS_MAX=6` sets
    /// `retry.attempts_max` where `prefix` is `STORAGE`. Names are upper case, levels are separated
    /// by two underscores, and values are written as in a file.
    ///
    /// Pass [`std::env::vars_os`], typically after reading a file, so that the environment wins:
    ///
    /// ```
    /// use storage::StorageConfig;
    ///
    /// let config = StorageConfig::default().with_vars("STORAGE", std::env::vars_os())?;
    /// # let _ = config;
    /// # Ok::<(), storage::StorageError>(())
    /// ```
    ///
    /// Other programs have variables too, and with the same prefix: Kubernetes sets `STORAGE_PORT`
    /// for a service that is called `storage`. A variable with the prefix that names no field is
    /// skipped, and named in the log. One that is nearly the name of a field was most likely meant for
    /// it, so it is an error.
    ///
    /// # Errors
    /// [`StorageError::Config`] for a value that cannot be read, for a variable with the prefix
    /// whose name is nearly that of a field, and for a prefix that is not of the letters `A` to `Z`,
    /// digits and single underscores between them. No error holds the value of a variable: it may be
    /// a secret. Whether values are possible is for [`validate`](Self::validate) to say.
    pub fn with_vars<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        mut self,
        prefix: &str,
        vars: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self> {
        check_prefix(prefix)?;
        for (name, raw) in vars {
            // A name that is not UTF-8 is none of ours.
            let Some(name) = name.as_ref().to_str() else { continue };
            let Some(rest) = behind(prefix, name) else { continue };
            let of_field = |(field, _): &&(&str, Set)| variable(field).eq_ignore_ascii_case(rest);
            match FIELDS.iter().find(of_field) {
                Some((field, set)) if name.starts_with(prefix) && variable(field) == rest => {
                    set(&mut self, &Value { name, field, raw: raw.as_ref() })?;
                }
                _ if name.starts_with(prefix) => skip(name, rest)?,
                // Somebody else's, or meant for this store: who reads the log may know.
                Some(_) => warn!(
                    target: "storage", variable = name, prefix,
                    "skipped, since the names of variables are upper case"
                ),
                None => {}
            }
        }
        Ok(self)
    }
}

/// The name of a field's variable, behind the prefix and an underscore.
fn variable(field: &str) -> String {
    field.to_uppercase().replace('.', "__")
}

/// What stands behind the prefix, in letters of either case, and the underscore.
fn behind<'a>(prefix: &str, name: &'a str) -> Option<&'a str> {
    let (start, rest) = name.split_at_checked(prefix.len())?;
    let rest = rest.strip_prefix('_')?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn check_prefix(prefix: &str) -> Result<()> {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    };
    if prefix.split('_').all(is_word) {
        return Ok(());
    }
    let likely = prefix.trim_matches('_').to_ascii_uppercase();
    let instead = match likely.split('_').all(is_word) {
        true => format!("{likely:?}"),
        false => "\"STORAGE\"".to_owned(),
    };
    Err(StorageError::Config {
        field: "prefix",
        value: format!("{prefix:?}"),
        allowed: format!(
            "pass {instead}: upper-case letters, digits, and single underscores between them; the \
             underscore behind the prefix is not part of it"
        ),
    })
}

/// Passes over a variable that names no field, unless it was most likely meant to.
fn skip(name: &str, rest: &str) -> Result<()> {
    let variables: Vec<String> = FIELDS.iter().map(|(field, _)| variable(field)).collect();
    let Some(nearest) = near::nearest(rest, &variables) else {
        info!(target: "storage", variable = name, "skipped, since it names no field");
        return Ok(());
    };
    let prefix = &name[..name.len() - rest.len()];
    Err(StorageError::Config {
        field: "environment",
        value: name.to_owned(),
        allowed: format!(
            "no field is called so; is {prefix}{nearest} meant? Else rename the variable, or choose \
             another prefix; docs/configuration.md has all fields"
        ),
    })
}

/// What a variable holds, for a field. Its text never gets into an error.
struct Value<'a> {
    name: &'a str,
    field: &'static str,
    raw: &'a OsStr,
}

impl Value<'_> {
    fn size(&self, to: &mut u64) -> Result<()> {
        self.read(to, text::size)
    }

    fn time(&self, to: &mut Duration) -> Result<()> {
        self.read(to, text::time)
    }

    fn number<T: FromStr>(&self, to: &mut T) -> Result<()> {
        let number = |text: &str| text.trim().parse().map_err(|_| "write a whole number");
        self.read(to, number)
    }

    /// One of the names that an enum has for serde.
    fn choice<T: DeserializeOwned>(&self, to: &mut T) -> Result<()> {
        let of = |text: &str| {
            let deserializer: StrDeserializer<'_, ValueError> = text.into_deserializer();
            T::deserialize(deserializer)
        };
        // What is said about no text at all has the names that are possible, and nothing else.
        let names = |_| {
            let error = of("").err().map(|error| error.to_string()).unwrap_or_default();
            format!("write {}", error.rsplit("expected ").next().unwrap_or_default())
        };
        self.read(to, |text| of(text).map_err(names))
    }

    fn read<T, E: Display>(
        &self,
        to: &mut T,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<()> {
        let refuse = |allowed: String| StorageError::Config {
            field: self.field,
            value: format!("what the variable {} holds", self.name),
            allowed,
        };
        let text = self.raw.to_str();
        let text = text.ok_or_else(|| refuse("it is not UTF-8".to_owned()))?;
        *to = read(text).map_err(|error| refuse(error.to_string()))?;
        Ok(())
    }
}
