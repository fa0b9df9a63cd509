//! The configuration, from TOML and from environment variables: an answer for every text, and what
//! was read is written as what is read again.

use storage::{FileBufferOptions, StorageConfig};

const FIELDS: [&str; 18] = [
    "BACKEND",
    "ROOT",
    "MEMORY_BUDGET_BYTES",
    "CACHE_SIZE_BYTES",
    "BLOCK_SIZE_BYTES",
    "CACHING",
    "MAX_CONCURRENT_OPS",
    "BUFFER_BUDGET_BYTES",
    "DEGRADE",
    "COMPRESSION",
    "RETRY__ATTEMPTS_MAX",
    "RETRY__DELAY_BASE",
    "RETRY__DELAY_MAX",
    "RETRY__TOTAL_MAX",
    "BREAKER__FAILURES_MAX",
    "BREAKER__OPEN_FOR",
    "BREAKER__HALF_OPEN_PROBES",
    "NO_SUCH_FIELD",
];

/// Reads a text as TOML, and as values of variables.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match toml::from_str::<StorageConfig>(text) {
        Ok(config) => check(&config),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    // Each line is the number of a field and its value.
    let mut config = StorageConfig::default();
    for line in text.lines() {
        let mut rest = line.chars();
        let Some(first) = rest.next() else { continue };
        let name = format!("S_{}", FIELDS[first as usize % FIELDS.len()]);
        match config.clone().with_vars("S", [(name, rest.as_str().to_owned())]) {
            Ok(changed) => config = changed,
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    check(&config);
}

fn check(config: &StorageConfig) {
    let valid = config.validate();
    let options = FileBufferOptions::from(config);
    if valid.is_ok() {
        assert!(options.block_size_bytes.is_power_of_two());
        assert!(options.memory_limit_bytes >= 16 * options.block_size_bytes as u64);
        assert!(config.retry.delay_base <= config.retry.delay_max);
    }
    // TOML has no integers above `i64::MAX`, and no config that is valid has any but one.
    match toml::to_string(config) {
        Ok(text) => {
            let again: StorageConfig = toml::from_str(&text).unwrap();
            assert_eq!(&again, config, "{text}");
        }
        Err(error) => assert!(error.to_string().contains("range"), "{error}"),
    }
}
