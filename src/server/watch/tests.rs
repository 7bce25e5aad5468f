//! Which places are watched.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::places::{Names, follow_links};

fn places(path: &Path) -> (HashMap<PathBuf, Names>, Option<PathBuf>) {
    let mut places = HashMap::new();
    let end = follow_links(path, &mut places);
    (places, end)
}

/// Whether exactly these names matter, each in its folder.
fn assert_places(found: &HashMap<PathBuf, Names>, root: &Path, expected: &[(&str, &[&str])]) {
    let names = |names: &[&str]| Names::Some(names.iter().map(Into::into).collect());
    let expected: HashMap<_, _> = expected
        .iter()
        .map(|(folder, of)| (root.join(folder), names(of)))
        .collect();
    assert_eq!(*found, expected);
}

fn root() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().canonicalize().expect("it is there");
    (folder, root)
}

#[test]
fn a_file_is_watched_where_it_lies() {
    let (_folder, root) = root();
    fs::write(root.join("a.pem"), "").expect("a file");
    let (found, end) = places(&root.join("b/../a.pem"));
    assert_places(&found, &root, &[("", &["b"])]);
    assert_eq!(end, None, "there is no b");
    let (found, end) = places(&root.join("a.pem"));
    assert_places(&found, &root, &[("", &["a.pem"])]);
    assert_eq!(end, Some(root.join("a.pem")));
}

#[test]
fn what_is_not_there_yet_is_watched_where_it_would_come_to_be() {
    let (_folder, root) = root();
    fs::create_dir(root.join("etc")).expect("a folder");
    let (found, _) = places(&root.join("etc/certs/a.pem"));
    assert_places(&found, &root, &[("etc", &["certs"])]);
}

#[test]
fn each_link_on_the_way_is_watched_where_it_lies() {
    let (_folder, root) = root();
    for folder in ["live", "archive", "secret/..1"] {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    fs::write(root.join("archive/1.pem"), "").expect("a file");
    fs::write(root.join("secret/..1/a.pem"), "").expect("a file");
    symlink("../archive/1.pem", root.join("live/a.pem")).expect("a link");
    symlink("..1", root.join("secret/..data")).expect("a link");
    symlink("..data/a.pem", root.join("secret/a.pem")).expect("a link");

    let (found, end) = places(&root.join("live/a.pem"));
    assert_places(
        &found,
        &root,
        &[("live", &["a.pem"]), ("archive", &["1.pem"])],
    );
    assert_eq!(end, Some(root.join("archive/1.pem")));
    let (found, _) = places(&root.join("secret/a.pem"));
    let expected: &[(&str, &[&str])] =
        &[("secret", &["a.pem", "..data"]), ("secret/..1", &["a.pem"])];
    assert_places(&found, &root, expected);
}

#[test]
fn links_that_lead_in_a_circle_lead_nowhere() {
    let (_folder, root) = root();
    symlink("b", root.join("a")).expect("a link");
    symlink("a", root.join("b")).expect("a link");
    assert_eq!(places(&root.join("a")).1, None);
}
