//! Which of some names was most likely meant.

/// How different two names may be for one to be taken for the other misspelled: so many letters are
/// missing, too many, or others. Of short names more would make words of their own (`PORT`, `ROOT`).
const fn distance_max(len: usize) -> usize {
    if len < 8 { 1 } else { 2 }
}

/// The one of `names` that `name` was most likely meant for: one that differs in case or in the number of
/// underscores, a few letters, or the last words; or, where it is in the same table, the nearest.
pub(super) fn nearest<'a>(name: &str, names: &'a [String]) -> Option<&'a str> {
    let plain = words(name).join("_");
    let by_distance = names
        .iter()
        .map(|known| (distance(&plain, &words(known).join("_")), known))
        .min_by_key(|(distance, _)| *distance);
    let (distance, closest) = by_distance?;
    if distance <= distance_max(plain.len()) {
        return Some(closest);
    }
    let begun = |known: &&String| {
        words(name).len() > 1 && words(known).join("_").starts_with(&format!("{plain}_"))
    };
    if let Some(known) = names.iter().find(begun) {
        return Some(known);
    }
    // Two underscores are a table of ours, and nobody else's style.
    let (table, _) = name.split_once("__")?;
    let in_table = |known: &&String| {
        known.split_once("__").is_some_and(|(known, _)| known.eq_ignore_ascii_case(table))
    };
    let of_table = names.iter().filter(in_table);
    of_table.min_by_key(|known| self::distance(&plain, known)).map(String::as_str)
}

/// The words of a name, in upper case.
fn words(name: &str) -> Vec<String> {
    name.split('_').filter(|word| !word.is_empty()).map(str::to_ascii_uppercase).collect()
}

/// How many letters have to be put in, taken out or changed to make one name of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}
