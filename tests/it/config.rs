//! The configuration: each impossible value has its error, and the documentation says what is true.
//!
//! Values on both sides of each bound are tried. The table and the example of
//! `docs/configuration.md` are read and compared with the defaults and with the fields that there
//! are (feature `serde`).

use std::time::Duration;

use storage::{
    Caching, FileBufferOptions, StorageConfig, StorageError, backend,
    config::{BackendKind, BreakerConfig, RetryConfig},
};

#[cfg(feature = "serde")]
use crate::listening;

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
fn a_buffer_is_as_the_configuration_says() {
    let config = StorageConfig { caching: Caching::Buffered, ..blocks(8192) };
    let options = FileBufferOptions::from(&config);
    assert_eq!((options.caching, options.block_size_bytes), (Caching::Buffered, 8192));
    assert_eq!(options.memory_limit_bytes, config.cache_size_bytes);
    assert_eq!(FileBufferOptions::from(&possible()).caching, Caching::Auto);
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
            caching: Caching::PassThrough,
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
            ("cache_size_bytes = \"much\"", "it is no size in bytes"),
            ("residency_budget_bytes = \"some\"", "it is no size in bytes"),
            ("residency_budget_bytes = 1.5", "expected \"none\", or a size"),
            ("cache_size_bytes = 1.5", "expected a size in bytes"),
            ("[retry]\ndelay_base = 10", "expected a duration, as \"250ms\""),
            ("[retry]\ndelay_base = \"10\"", "it is no duration"),
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
            (
                "S_BACKEND",
                "floppy",
                "`backend` cannot be what the variable S_BACKEND holds: write one",
            ),
            ("S_BACKEND", "", "one of `memory`, `mmap`, `posixio`"),
            ("S_DEGRADE", "no", "`to-posixio` or `never`"),
            ("S_RETRY__ATTEMPTS_MAX", "-1", "S_RETRY__ATTEMPTS_MAX holds: write a whole number"),
            ("S_RETRY__TOTAL_MAX", "soon", "`retry.total_max` cannot be what"),
            ("S_CACHE_SIZE_BYTES", "", "`cache_size_bytes` cannot be what"),
            ("S_RESIDENCY_BUDGET_BYTES", "no", "it is no size in bytes"),
        ];
        for (name, value, expected) in table {
            let vars = [pair(name, value)];
            let error = StorageConfig::default().with_vars("S", vars).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn a_variable_that_was_meant_for_a_field_is_told_which() {
        let table = [
            ("STORAGE_RETRY_ATTEMPTS_MAX", "STORAGE_RETRY__ATTEMPTS_MAX"),
            ("STORAGE_RETRY__ATTEMPTS", "STORAGE_RETRY__ATTEMPTS_MAX"),
            ("STORAGE_RETRY__HOW_OFTEN", "STORAGE_RETRY__"),
            ("STORAGE_BREAKER__open_for", "STORAGE_BREAKER__OPEN_FOR"),
            ("STORAGE_CACHE_SIZE", "STORAGE_CACHE_SIZE_BYTES"),
            ("STORAGE_CACHE__SIZE_BYTES", "STORAGE_CACHE_SIZE_BYTES"),
            ("STORAGE_root", "STORAGE_ROOT"),
            ("STORAGE_COMPRESION", "STORAGE_COMPRESSION"),
            ("STORAGE_BLOCKSIZE_BYTES", "STORAGE_BLOCK_SIZE_BYTES"),
        ];
        for (name, meant) in table {
            let vars = [pair(name, "hunter2")];
            let error = StorageConfig::default().with_vars("STORAGE", vars).unwrap_err();
            let message = error.to_string();
            assert!(message.contains(&format!("is {meant}")), "{message}");
            assert!(message.contains(name) && !message.contains("hunter2"), "{message}");
        }
    }

    /// What Kubernetes sets for services of these names, by its documentation of service discovery,
    /// and what other software has.
    #[test]
    fn variables_of_others_stop_nobody() {
        let (events, _guard) = listening::listen_to(tracing::Level::TRACE);
        let mut vars = Vec::new();
        for service in ["STORAGE", "STORAGE_ROOT", "STORAGE_BACKEND", "STORAGE_CACHE_SIZE"] {
            vars.extend([
                pair(&format!("{service}_SERVICE_HOST"), "10.0.0.11"),
                pair(&format!("{service}_SERVICE_PORT"), "6379"),
                pair(&format!("{service}_SERVICE_PORT_HTTP"), "80"),
                pair(&format!("{service}_PORT"), "tcp://10.0.0.11:6379"),
                pair(&format!("{service}_PORT_6379_TCP"), "tcp://10.0.0.11:6379"),
                pair(&format!("{service}_PORT_6379_TCP_PROTO"), "tcp"),
                pair(&format!("{service}_PORT_6379_TCP_PORT"), "6379"),
                pair(&format!("{service}_PORT_6379_TCP_ADDR"), "10.0.0.11"),
            ]);
        }
        vars.extend(
            ["EMULATOR_HOST", "ACCOUNT_KEY", "TYPE", "URL", "CLASS", "PASSWORD", "PATH"]
                .map(|name| pair(&format!("STORAGE_{name}"), "hunter2")),
        );
        vars.push(pair("STORAGE_", "hunter2"));
        vars.push(pair("storage_root", "hunter2"));
        let count = vars.len();
        let config = StorageConfig::default().with_vars("STORAGE", vars).unwrap();
        assert_eq!(config, StorageConfig::default());
        let events = events.lock().unwrap().clone();
        assert_eq!(events.len(), count, "each is named in the log");
        for event in events {
            assert!(
                event.get("variable").to_ascii_uppercase().starts_with("STORAGE_"),
                "{event:?}"
            );
            assert!(!format!("{event:?}").contains("hunter2"), "{event:?}");
        }
    }

    #[test]
    fn no_error_has_the_value_of_a_variable() {
        const SECRET: &str = "postgres://admin:hunter2@db/10 hunter2";
        let unreadable = fields(&different()).into_keys().filter(|name| name != "root");
        for field in unreadable.chain(["cache_size".to_owned(), "retry.how".to_owned()]) {
            let name = format!("STORAGE_{}", field.to_uppercase().replace('.', "__"));
            for secret in [SECRET, "10 hunter2", "hunter2", "10hunter2", "1h hunter"] {
                let vars = [pair(&name, secret)];
                let error = StorageConfig::default().with_vars("STORAGE", vars).unwrap_err();
                let told = format!("{error} {error:?}");
                assert!(!told.contains("hunter"), "{told}");
                assert!(told.contains(&name), "{told}");
            }
        }
    }

    #[test]
    fn variables_hold_any_bytes() {
        use std::{ffi::OsString, os::unix::ffi::OsStringExt as _};
        let odd = || OsString::from_vec(b"odd \xff".to_vec());
        let vars = [
            (odd(), OsString::from("x")),
            ("HOME".into(), odd()),
            ("STORAGE_PORT".into(), odd()),
            ("STORAGE_ROOT".into(), odd()),
        ];
        let config = StorageConfig::default().with_vars("STORAGE", vars).unwrap();
        assert_eq!(config.root, std::path::Path::new(&odd()), "a path has any bytes too");
        let vars = [(OsString::from("STORAGE_CACHE_SIZE_BYTES"), odd())];
        let error = StorageConfig::default().with_vars("STORAGE", vars).unwrap_err();
        assert!(error.to_string().contains("it is not UTF-8"), "{error}");
    }

    /// The call that is documented, in a process that has such variables.
    #[test]
    fn the_documented_call_takes_any_environment() {
        use std::{ffi::OsString, os::unix::ffi::OsStringExt as _, process::Command};
        const TEST: &str = "config::as_text::the_documented_call_takes_any_environment";
        if std::env::var_os("STORAGE_ROOT").is_none() {
            let output = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", TEST])
                .env("STORAGE_ROOT", "here")
                .env("STORAGE_PORT", "tcp://10.0.0.11:80")
                .env(OsString::from_vec(b"ODD_\xff".to_vec()), "x")
                .env("ODD", OsString::from_vec(b"\xff".to_vec()))
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        let config = StorageConfig::default().with_vars("STORAGE", std::env::vars_os()).unwrap();
        assert_eq!(config.root, std::path::Path::new("here"));
    }

    #[test]
    fn a_prefix_that_no_variable_has_is_an_error() {
        let table = [
            ("STORAGE_", "\"STORAGE\""),
            ("storage", "\"STORAGE\""),
            ("My_App_", "\"MY_APP\""),
            ("_APP", "\"APP\""),
            ("MY__APP", "\"STORAGE\""),
            ("MY-APP", "\"STORAGE\""),
            ("", "\"STORAGE\""),
        ];
        for (prefix, instead) in table {
            let vars = [pair("STORAGE_ROOT", "x")];
            let error = StorageConfig::default().with_vars(prefix, vars).unwrap_err();
            let expected = format!("`prefix` cannot be {prefix:?}: pass {instead}");
            assert!(error.to_string().contains(&expected), "{error}");
        }
        for prefix in ["A", "MY_APP_2"] {
            let vars = [pair(&format!("{prefix}_ROOT"), "x")];
            let config = StorageConfig::default().with_vars(prefix, vars).unwrap();
            assert_eq!(config.root, std::path::Path::new("x"));
        }
    }
}
