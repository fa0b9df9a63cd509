//! The layers of this crate, held against its own sources.
//!
//! Each wing (a module of `lib.rs`) stands on a floor. What a file imports stands on a lower floor, or in its own
//! wing; nothing comes by way of the crate's face; and no two files import each other, over however many others.
//!
//! Method: reads `src/`, takes every path that begins with `crate::` or `super::` and every `use` of a file's own
//! child out of the code, comments left out, and finds the file that each names.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// From the ground up. Wings on one floor do not know each other.
const FLOORS: [&[&str]; 5] = [
    &["error", "kernel", "started", "sync"],
    &["file", "tables", "typed"],
    &["map"],
    &["residency"],
    &["mutable", "raw", "raw_memory", "sealed", "versioned"],
];

fn floor_of(wing: &str) -> usize {
    let floor = FLOORS.iter().position(|wings| wings.contains(&wing));
    floor.unwrap_or_else(|| panic!("the wing `{wing}` has no floor: give it one in `FLOORS`"))
}

/// A module's path from the crate's root; the root itself is empty.
type Module = Vec<String>;

/// All files by their modules, each with its code.
struct House(BTreeMap<Module, String>);

impl House {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        collect(&root, &mut files);
        let code = |file: &PathBuf| {
            let place = file.strip_prefix(&root).expect("it was found there").with_extension("");
            let place = place.iter().map(|part| part.to_string_lossy().into_owned());
            let module: Module = place.filter(|part| part != "lib").collect();
            let text = fs::read_to_string(file).expect("a source is text");
            let lines = text.lines().map(|line| line.split("//").next().unwrap_or(line));
            (module, lines.collect::<Vec<_>>().join("\n"))
        };
        Self(files.iter().map(code).collect())
    }

    /// The file in which a path's item stands, or is handed on.
    fn file_of(&self, path: &[String]) -> Module {
        let known = (0..=path.len()).rev().map(|len| path[..len].to_vec());
        known.into_iter().find(|module| self.0.contains_key(module)).expect("the root is a file")
    }

    /// What a file imports.
    fn imports(&self, module: &Module) -> BTreeSet<Module> {
        let code = &self.0[module];
        let mut paths = Vec::new();
        for (start, _) in code.match_indices("crate::") {
            if !is_in_a_word(code, start) {
                tree(&mut Vec::new(), &code[start + "crate::".len()..], &mut paths);
            }
        }
        for (start, _) in code.match_indices("super::") {
            // What begins a line belongs to the file; what is indented, to a module inside it.
            let line = &code[code[..start].rfind('\n').map_or(0, |end| end + 1)..];
            if !is_in_a_word(code, start)
                && !code[..start].ends_with("::")
                && !line.starts_with(' ')
            {
                let mut rest = &code[start..];
                let mut base = module.clone();
                while let Some(up) = rest.strip_prefix("super::") {
                    base.pop();
                    rest = up;
                }
                tree(&mut base, rest, &mut paths);
            }
        }
        for child in
            self.0.keys().filter(|other| other.split_last().is_some_and(|(_, up)| up == module))
        {
            let name = child.last().expect("it has a parent");
            // What is handed on is no use of it.
            let uses = [format!("\nuse {name}::"), format!("\nuse self::{name}::")];
            if uses.iter().any(|text| code.contains(text.as_str())) {
                paths.push(child.clone());
            }
        }
        paths.iter().map(|path| self.file_of(path)).filter(|file| file != module).collect()
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the sources are here") {
        let path = entry.expect("a folder can be read").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn is_in_a_word(code: &str, start: usize) -> bool {
    code[..start]
        .ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == '$')
}

/// Reads `a::{b, c::d}` after `prefix`; gives what is behind it.
fn tree<'code>(prefix: &mut Module, code: &'code str, paths: &mut Vec<Module>) -> &'code str {
    let code = code.trim_start();
    if let Some(mut rest) = code.strip_prefix('{') {
        loop {
            rest = rest.trim_start().trim_start_matches(',').trim_start();
            if let Some(behind) = rest.strip_prefix('}') {
                return behind;
            }
            let len = prefix.len();
            rest = tree(prefix, rest, paths).trim_start();
            prefix.truncate(len);
            if let Some(renamed) = rest.strip_prefix("as ") {
                rest = &renamed[renamed.find([',', '}']).unwrap_or(renamed.len())..];
            }
        }
    }
    let end = code.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(code.len());
    let (word, rest) = code.split_at(end);
    if word.is_empty() {
        return code.get(1..).unwrap_or("");
    }
    if word != "self" {
        prefix.push(word.to_owned());
    }
    match rest.strip_prefix("::") {
        Some(rest) if !rest.starts_with('<') => tree(prefix, rest, paths),
        _ => {
            paths.push(prefix.clone());
            rest
        }
    }
}

fn name(module: &Module) -> String {
    module.join("/")
}

#[test]
fn what_a_file_imports_stands_below_its_wing() {
    let house = House::read();
    let mut wrong = Vec::new();
    for (module, wing) in house.0.keys().filter_map(|module| Some((module, module.first()?))) {
        let floor = floor_of(wing);
        for import in house.imports(module) {
            match import.first() {
                None => wrong.push(format!("{} imports from the crate's face", name(module))),
                Some(other) if other == wing || floor_of(other) < floor => {}
                Some(_) => wrong.push(format!("{} imports {}", name(module), name(&import))),
            }
        }
    }
    assert!(wrong.is_empty(), "against the order of the floors:\n{}", wrong.join("\n"));
}

#[test]
fn no_two_files_import_each_other() {
    let house = House::read();
    let mut left: BTreeMap<Module, BTreeSet<Module>> =
        house.0.keys().map(|module| (module.clone(), house.imports(module))).collect();
    // Whoever imports nothing that is left goes, until nobody can.
    loop {
        let free: Vec<_> = left
            .iter()
            .filter(|(_, imports)| imports.iter().all(|import| !left.contains_key(import)))
            .map(|(module, _)| module.clone())
            .collect();
        if free.is_empty() {
            break;
        }
        free.iter().for_each(|module| drop(left.remove(module)));
    }
    // And whom nobody imports that is left is in no circle either.
    loop {
        let top: Vec<_> = left
            .keys()
            .filter(|module| !left.values().any(|imports| imports.contains(*module)))
            .cloned()
            .collect();
        if top.is_empty() {
            break;
        }
        top.iter().for_each(|module| drop(left.remove(module)));
    }
    let circle: Vec<_> = left
        .iter()
        .map(|(module, imports)| {
            let imports = imports.iter().filter(|import| left.contains_key(*import));
            format!("{} -> {}", name(module), imports.map(name).collect::<Vec<_>>().join(", "))
        })
        .collect();
    assert!(circle.is_empty(), "in a circle:\n{}", circle.join("\n"));
}

/// What a call says of durability is not always so, and one file knows that.
#[test]
fn only_one_file_asks_for_durability() {
    const CALLS: [&str; 4] = [".sync_all(", ".sync_data(", "fs::fsync(", "fs::fdatasync("];
    let house = House::read();
    let asking = house.0.iter().filter(|(_, code)| CALLS.iter().any(|call| code.contains(call)));
    let asking: Vec<String> = asking.map(|(module, _)| name(module)).collect();
    assert_eq!(asking, ["file/durable"], "use `file::durable`");
}
