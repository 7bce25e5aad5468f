use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

struct Tree(TempDir);

impl Tree {
    fn new(files: &[&str]) -> Self {
        let tree = Self(tempfile::tempdir().expect("a folder"));
        for file in files {
            let path = tree.0.path().join("site").join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, "").expect("a file");
        }
        tree
    }

    fn scripts(&self, front: Option<&str>) -> Scripts {
        Scripts::new(&config::Scripts {
            root: self.0.path().join("site"),
            index: "index.php".into(),
            script: front.map(ToOwned::to_owned),
            split: ".php".into(),
        })
        .expect("the folder")
    }
}

fn found(scripts: &Scripts, path: &str) -> Result<(String, String), Reason> {
    match scripts.find(path) {
        Ok(Found::Script(script)) => Ok((script.name, script.path_info)),
        Ok(Found::Folder) => Ok(("a folder".into(), String::new())),
        Err(refusal) => Err(refusal.reason),
    }
}

fn is(script: &str, path_info: &str) -> Result<(String, String), Reason> {
    Ok((script.into(), path_info.into()))
}

const FILES: &[&str] = &[
    "index.php",
    "a/index.php",
    "a/b.php",
    "avatar.png",
    "c.php.bak",
    ".env.php",
    "d.php/e.php",
    "f.PHP",
];

#[test]
fn a_path_names_a_script_and_what_is_behind_it() {
    let tree = Tree::new(FILES);
    let scripts = tree.scripts(None);
    assert_eq!(found(&scripts, "/"), is("/index.php", ""));
    assert_eq!(found(&scripts, "/index.php"), is("/index.php", ""));
    assert_eq!(found(&scripts, "/index.php/"), is("/index.php", "/"));
    assert_eq!(
        found(&scripts, "/index.php/x/y.php"),
        is("/index.php", "/x/y.php")
    );
    assert_eq!(found(&scripts, "/a/"), is("/a/index.php", ""));
    assert_eq!(found(&scripts, "/a"), is("a folder", ""));
    assert_eq!(found(&scripts, "/a/b.php"), is("/a/b.php", ""));
}

#[test]
fn what_is_no_script_is_not_there() {
    let tree = Tree::new(FILES);
    let scripts = tree.scripts(None);
    for path in [
        "/none.php",
        "/avatar.png",
        // What cgi.fix_pathinfo would run.
        "/avatar.png/x.php",
        "/avatar.png/.php",
        "/index.php.bak",
        "/c.php.bak",
        "/.env.php",
        "/a/.php",
        "/none/",
        // The first name decides, and a folder is no script.
        "/d.php/e.php",
        "/f.PHP",
        "/index.php\0.png",
    ] {
        assert_eq!(found(&scripts, path), Err(Reason::NoRoute), "{path}");
    }
}

#[test]
fn a_front_controller_takes_what_names_no_script() {
    let tree = Tree::new(FILES);
    let scripts = tree.scripts(Some("index.php"));
    for path in ["/none", "/none/", "/avatar.png", "/shop/shoes"] {
        assert_eq!(found(&scripts, path), is("/index.php", ""), "{path}");
    }
    assert_eq!(found(&scripts, "/a/"), is("/a/index.php", ""));
    for path in [
        "/none.php",
        "/avatar.png/x.php",
        "/.git/config",
        "/d.php/e.php",
    ] {
        assert_eq!(found(&scripts, path), Err(Reason::NoRoute), "{path}");
    }
    let gone = tree.scripts(Some("front.php"));
    let refusal = gone.find("/none").expect_err("no such script");
    assert_eq!(refusal.reason, Reason::Internal);
    assert!(refusal.detail.contains("\"front.php\""), "{refusal}");
}

#[test]
fn nothing_beyond_the_folder_is_a_script() {
    let tree = Tree::new(FILES);
    fs::write(tree.0.path().join("outside.php"), "").expect("a file");
    let site = tree.0.path().join("site");
    symlink(tree.0.path().join("outside.php"), site.join("link.php")).expect("a link");
    symlink("a/b.php", site.join("inside.php")).expect("a link");
    let scripts = tree.scripts(None);
    assert_eq!(found(&scripts, "/link.php"), Err(Reason::NoRoute));
    assert_eq!(found(&scripts, "/inside.php"), is("/inside.php", ""));
    assert_eq!(found(&scripts, "/../outside.php"), Err(Reason::NoRoute));
}

#[test]
fn a_release_is_told_by_its_own_name_and_another_one_is_noticed() {
    let tree = Tree::new(&["index.php"]);
    let base = tree.0.path();
    fs::create_dir(base.join("next")).expect("a folder");
    symlink("site", base.join("current")).expect("a link");
    let scripts = Scripts::new(&config::Scripts {
        root: base.join("current"),
        index: "index.php".into(),
        script: None,
        split: ".php".into(),
    });
    let scripts = scripts.expect("the folder");
    let base = fs::canonicalize(base).expect("a folder");
    assert_eq!(scripts.root(), base.join("site"));
    assert!(!scripts.is_outdated());
    fs::remove_file(base.join("current")).expect("the link");
    symlink("next", base.join("current")).expect("a link");
    assert!(scripts.is_outdated());
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let tree = Tree::new(&[]);
    let scripts = Scripts::new(&config::Scripts {
        root: tree.0.path().join("nowhere"),
        index: "index.php".into(),
        script: None,
        split: ".php".into(),
    });
    let error = scripts.expect_err("no folder").to_string();
    assert!(error.contains("nowhere of FastCGI scripts"), "{error}");
}
