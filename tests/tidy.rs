//! The walls of the house, kept by a test: which room may know which, how large a file and a function may grow, and what
//! may not be left behind. What rustc and clippy can say (missing docs, unused code) is theirs.

#[path = "tidy/catches.rs"]
mod catches;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use source::Source;

#[test]
fn the_walls_stand() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    assert!(
        !files.is_empty(),
        "no .rs file found under {}",
        src.display()
    );

    let faults: Vec<String> = files
        .iter()
        .flat_map(|file| rules::faults(&read(&src, file)))
        .map(|fault| format!("src/{fault}"))
        .collect();
    assert!(
        faults.is_empty(),
        "{} fault(s) in the walls:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

fn read(src: &Path, file: &Path) -> Source {
    let text = fs::read_to_string(file)
        .unwrap_or_else(|error| panic!("{} cannot be read: {error}", file.display()));
    let path = file.strip_prefix(src).expect("found under src");
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    Source::new(&parts.join("/"), &text)
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{} cannot be read: {error}", folder.display()));
    let mut entries: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a folder that opens can be listed").path())
        .collect();
    // In the order of their names, so that two runs read alike.
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            rust_files(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            found.push(entry);
        }
    }
}
