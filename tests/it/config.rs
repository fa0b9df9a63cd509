//! The configuration: each impossible value has its error, and the documentation says what is true.
//!
//! Values on both sides of each bound are tried. The table and the example of
//! `docs/configuration.md` are read and compared with the defaults and with the fields that there
//! are (feature `serde`).

use std::time::Duration;

use storage::{
    StorageConfig, StorageError, backend,
    config::{BackendKind, BreakerConfig, RetryConfig},
};

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const MIB: u64 = 1 << 20;

/// A configuration that is possible.
fn possible() -> StorageConfig {
    StorageConfig { root: "data".into(), ..Default::default() }
}

fn retry(change: impl FnOnce(&mut RetryConfig)) -> StorageConfig {
    let mut config = possible();
    change(&mut config.retry);
    config
}

fn breaker(change: impl FnOnce(&mut BreakerConfig)) -> StorageConfig {
    let mut config = possible();
    change(&mut config.breaker);
    config
}

fn memory(memory_budget_bytes: u64) -> StorageConfig {
    StorageConfig { backend: BackendKind::Memory, memory_budget_bytes, ..Default::default() }
}

fn blocks(block_size_bytes: u64) -> StorageConfig {
    StorageConfig { block_size_bytes, ..possible() }
}

#[test]
fn the_defaults_are_possible_with_a_root() {
    possible().validate().unwrap();
    let memory = StorageConfig { backend: BackendKind::Memory, ..Default::default() };
    memory.validate().unwrap();
}

/// The field, the value as it is told, something of what is told to be allowed, and the
/// configuration.
type Refused = (&'static str, &'static str, &'static str, StorageConfig);

fn refused() -> Vec<Refused> {
    vec![
        ("root", "empty", "folder", StorageConfig::default()),
        ("block_size_bytes", "0", "power of two", blocks(0)),
        ("block_size_bytes", "2048", "4096", blocks(2048)),
        ("block_size_bytes", "4194304", "2097152", blocks(4 * MIB)),
        ("block_size_bytes", "12288", "power of two", blocks(12288)),
        (
            "cache_size_bytes",
            "1048575",
            "at least 1048576",
            StorageConfig { cache_size_bytes: MIB - 1, ..possible() },
        ),
        (
            "cache_size_bytes",
            "1048576",
            "16 blocks",
            StorageConfig { cache_size_bytes: MIB, ..blocks(2 * MIB) },
        ),
        (
            "buffer_budget_bytes",
            "16777215",
            "16777216",
            StorageConfig { buffer_budget_bytes: 16 * MIB - 1, ..possible() },
        ),
        (
            "residency_budget_bytes",
            "1048575",
            "1048576",
            StorageConfig { residency_budget_bytes: Some(MIB - 1), ..possible() },
        ),
        ("memory_budget_bytes", "65535", "65536", memory((64 << 10) - 1)),
        ("memory_budget_bytes", "70368744177665", "70368744177664", memory((64 << 40) + 1)),
        (
            "max_concurrent_ops",
            "0",
            "1 to 4096",
            StorageConfig { max_concurrent_ops: 0, ..possible() },
        ),
        (
            "max_concurrent_ops",
            "4097",
            "1 to 4096",
            StorageConfig { max_concurrent_ops: 4097, ..possible() },
        ),
        ("retry.attempts_max", "0", "1 to 100", retry(|r| r.attempts_max = 0)),
        ("retry.attempts_max", "101", "1 to 100", retry(|r| r.attempts_max = 101)),
        ("retry.delay_base", "999µs", "1ms to", retry(|r| r.delay_base = MS - MS / 1000)),
        ("retry.delay_max", "1ms", "10ms to 3600s", retry(|r| r.delay_max = MS)),
        ("retry.delay_max", "3600.001s", "3600s", retry(|r| r.delay_max = HOUR + MS)),
        ("retry.total_max", "9ms", "10ms to 86400s", retry(|r| r.total_max = 9 * MS)),
        ("retry.total_max", "86400.001s", "86400s", retry(|r| r.total_max = DAY + MS)),
        ("breaker.failures_max", "0", "1 to 4294967295", breaker(|b| b.failures_max = 0)),
        ("breaker.open_for", "0ns", "1ms to 86400s", breaker(|b| b.open_for = Duration::ZERO)),
        ("breaker.open_for", "86400.001s", "86400s", breaker(|b| b.open_for = DAY + MS)),
        ("breaker.half_open_probes", "0", "1 to 1000", breaker(|b| b.half_open_probes = 0)),
        ("breaker.half_open_probes", "1001", "1 to 1000", breaker(|b| b.half_open_probes = 1001)),
    ]
}

#[test]
fn each_impossible_value_is_named_with_what_would_be_possible() {
    for (expected_field, expected_value, expected_allowed, config) in refused() {
        let error = config.validate().unwrap_err();
        let StorageError::Config { field, value, allowed } = &error else { panic!("{error}") };
        assert_eq!((*field, value.as_str()), (expected_field, expected_value), "{error}");
        assert!(allowed.contains(expected_allowed), "{error}");
        let opened = backend::open(&config).err().unwrap();
        assert_eq!(opened.to_string(), error.to_string(), "opening checks too");
    }
}

#[test]
fn the_bounds_themselves_are_possible() {
    let both = [
        StorageConfig { cache_size_bytes: 16 * 4096, ..blocks(4096) },
        StorageConfig { cache_size_bytes: 32 * MIB, ..blocks(2 * MIB) },
        StorageConfig { buffer_budget_bytes: 16 * MIB, ..possible() },
        StorageConfig { buffer_budget_bytes: u64::MAX, ..possible() },
        StorageConfig { residency_budget_bytes: Some(MIB), ..possible() },
        StorageConfig { max_concurrent_ops: 1, ..possible() },
        StorageConfig { max_concurrent_ops: 4096, ..possible() },
        StorageConfig { memory_budget_bytes: 0, ..possible() },
        memory(64 << 10),
        memory(64 << 40),
        retry(|r| r.attempts_max = 1),
        retry(|r| r.attempts_max = 100),
        retry(|r| (r.delay_base, r.delay_max, r.total_max) = (MS, MS, MS)),
        retry(|r| (r.delay_base, r.delay_max, r.total_max) = (HOUR, HOUR, DAY)),
        breaker(|b| (b.failures_max, b.open_for, b.half_open_probes) = (1, MS, 1)),
        breaker(|b| (b.failures_max, b.open_for, b.half_open_probes) = (u32::MAX, DAY, 1000)),
    ];
    for config in both {
        config.validate().unwrap();
    }
}

#[cfg(feature = "serde")]
mod as_text {
    use std::collections::BTreeMap;

    use storage::config::{CompressionConfig, Degrade};

    use super::*;

    fn document() -> String {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        std::fs::read_to_string(path).unwrap()
    }

    /// The fields of a configuration by their names with dots, as TOML writes the values.
    fn fields(config: &StorageConfig) -> BTreeMap<String, String> {
        fn flatten(table: &toml::Table, prefix: &str, into: &mut BTreeMap<String, String>) {
            for (name, value) in table {
                match value {
                    toml::Value::Table(inner) => flatten(inner, &format!("{prefix}{name}."), into),
                    value => {
                        into.insert(format!("{prefix}{name}"), value.to_string());
                    }
                }
            }
        }
        let mut all = BTreeMap::new();
        flatten(&toml::Table::try_from(config).unwrap(), "", &mut all);
        all
    }

    /// A configuration in which every field differs from its default.
    fn different() -> StorageConfig {
        StorageConfig {
            backend: BackendKind::Posixio,
            root: "x".into(),
            memory_budget_bytes: 1 << 21,
            cache_size_bytes: 1 << 22,
            block_size_bytes: 1 << 13,
            max_concurrent_ops: 5,
            buffer_budget_bytes: 1 << 25,
            residency_budget_bytes: Some(1 << 26),
            degrade: Degrade::Never,
            compression: CompressionConfig::Lz4,
            retry: RetryConfig {
                attempts_max: 7,
                delay_base: 20 * MS,
                delay_max: 90_500 * MS,
                total_max: HOUR,
            },
            breaker: BreakerConfig { failures_max: 3, open_for: DAY, half_open_probes: 2 },
        }
    }

    #[test]
    fn the_documented_example_holds_every_default() {
        let document = document();
        let (_, rest) = document.split_once("```toml\n").unwrap();
        let (example, _) = rest.split_once("```").unwrap();
        let config: StorageConfig = toml::from_str(example).unwrap();
        config.validate().unwrap();
        let defaults = StorageConfig { root: "/var/lib/app/state".into(), ..Default::default() };
        assert_eq!(config, defaults);
        let mut written = BTreeMap::new();
        for (name, value) in example.parse::<toml::Table>().unwrap() {
            match value {
                toml::Value::Table(inner) => {
                    written.extend(inner.keys().map(|key| (format!("{name}.{key}"), ())));
                }
                _ => {
                    written.insert(name, ());
                }
            }
        }
        let names: Vec<_> = fields(&defaults).into_keys().collect();
        assert_eq!(written.into_keys().collect::<Vec<_>>(), names, "no field is left out");
    }

    #[test]
    fn the_documented_table_has_every_field_with_its_default() {
        let mut documented = BTreeMap::new();
        for line in document().lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<_> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            documented.insert(cells[1].to_owned(), cells[3].to_owned());
        }
        assert_eq!(documented, fields(&StorageConfig::default()));
    }

    #[test]
    fn a_configuration_is_the_same_after_writing_and_reading_it() {
        for config in [StorageConfig::default(), different()] {
            let text = toml::to_string(&config).unwrap();
            assert_eq!(toml::from_str::<StorageConfig>(&text).unwrap(), config, "{text}");
        }
        assert_eq!(toml::from_str::<StorageConfig>("").unwrap(), StorageConfig::default());
    }

    #[test]
    fn sizes_and_durations_have_units() {
        let text = "cache_size_bytes = \"128MiB\"\nresidency_budget_bytes = \"1 GiB\"\nblock_size_bytes = 4096\n\
                    buffer_budget_bytes = \"64 MB\"\n[retry]\ntotal_max = \"1m 30s\"";
        let config: StorageConfig = toml::from_str(text).unwrap();
        assert_eq!(config.cache_size_bytes, 128 * MIB);
        assert_eq!(config.residency_budget_bytes, Some(1024 * MIB));
        assert_eq!(config.block_size_bytes, 4096);
        assert_eq!(config.buffer_budget_bytes, 64_000_000);
        assert_eq!(config.retry.total_max, 90_000 * MS);
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let table = [
            ("cache = 1", "unknown field `cache`"),
            ("[retry]\nattempts = 1", "unknown field `attempts`"),
            ("[breaker]\nopen = \"1s\"", "unknown field `open`"),
            ("backend = \"floppy\"", "unknown variant `floppy`, expected one of `memory`"),
            ("degrade = true", "wanted string"),
            ("cache_size_bytes = -1", "cannot be -1: it is negative"),
            ("cache_size_bytes = \"much\"", "\"much\" is no size in bytes"),
            ("residency_budget_bytes = \"some\"", "\"some\" is no size in bytes"),
            ("residency_budget_bytes = 1.5", "expected \"none\", or a size"),
            ("cache_size_bytes = 1.5", "expected a size in bytes"),
            ("[retry]\ndelay_base = 10", "expected a duration, as \"250ms\""),
            ("[retry]\ndelay_base = \"10\"", "\"10\" is no duration"),
            ("max_concurrent_ops = \"many\"", "invalid type"),
        ];
        for (text, expected) in table {
            let error = toml::from_str::<StorageConfig>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    /// Every field there is, so that one that is added later is not forgotten.
    #[test]
    fn every_field_can_be_set_by_a_variable() {
        let vars = fields(&different()).into_iter().map(|(name, value)| {
            let name = format!("STORAGE_{}", name.to_uppercase().replace('.', "__"));
            (name, value.trim_matches('"').to_owned())
        });
        let config = StorageConfig::default().with_vars("STORAGE", vars).unwrap();
        assert_eq!(config, different());
    }

    #[test]
    fn variables_win_over_what_was_there_and_others_are_skipped() {
        let vars = [
            pair("STORAGE_CACHE_SIZE_BYTES", "128 MiB"),
            pair("STORAGE_RESIDENCY_BUDGET_BYTES", "none"),
            pair("STORAGERETRY__ATTEMPTS_MAX", "x"),
            pair("HOME", "/root"),
        ];
        let config = different().with_vars("STORAGE", vars).unwrap();
        let expected = StorageConfig {
            cache_size_bytes: 128 * MIB,
            residency_budget_bytes: None,
            ..different()
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn variables_that_make_no_sense_are_told() {
        let table = [
            ("S_BACKEND", "floppy", "`backend` cannot be \"floppy\": unknown variant"),
            ("S_RETRY__ATTEMPTS_MAX", "-1", "`retry.attempts_max` cannot be \"-1\""),
            ("S_RETRY__TOTAL_MAX", "soon", "`retry.total_max` cannot be \"soon\""),
            ("S_CACHE_SIZE_BYTES", "", "`cache_size_bytes` cannot be \"\""),
            ("S_RESIDENCY_BUDGET_BYTES", "no", "`residency_budget_bytes` cannot be \"no\""),
            ("S_RETRY_ATTEMPTS_MAX", "1", "there is no field \"retry_attempts_max\""),
            ("S_RETRY__ATTEMPTS", "1", "there is no field \"retry.attempts\""),
        ];
        for (name, value, expected) in table {
            let vars = [pair(name, value)];
            let error = StorageConfig::default().with_vars("S", vars).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
