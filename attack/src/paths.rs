//! Paths: what is accepted keeps each rule, and what is refused breaks one.

use storage::StoragePath;

/// Checks a string against the rules, said here in another way.
pub fn run(data: &[u8]) {
    let Ok(path) = std::str::from_utf8(data) else { return };
    let parts: Vec<_> = path.split('/').collect();
    let is_name = |part: &&str| {
        !part.is_empty()
            && *part != "."
            && *part != ".."
            && part.len() <= 255
            && !part.contains('\0')
    };
    let is_the_stores = path.to_ascii_lowercase().starts_with(".storage-");
    let keeps_rules = path.len() <= 4095 && parts.iter().all(is_name) && !is_the_stores;
    match StoragePath::new(path) {
        Ok(checked) => {
            assert!(keeps_rules, "{path:?}");
            assert_eq!(checked.as_str(), path);
            let (folder, name) = checked.split();
            assert_eq!(Some(&name), parts.last());
            assert_eq!(folder.map_or(0, |folder| folder.len() + 1) + name.len(), path.len());
            assert_eq!(checked.folders().count(), parts.len() - 1);
            assert_eq!(checked.folders().last(), folder);
        }
        Err(error) => assert!(!keeps_rules, "{error}"),
    }
}
