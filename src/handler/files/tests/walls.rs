//! What must not be reached, by either way of opening.

use std::os::unix::net::UnixListener;

use super::folder::Resolve;
use super::*;

const BOTH: [Resolve; 2] = [Resolve::Kernel, Resolve::Walk];

#[tokio::test]
async fn a_link_leads_nowhere_outside() {
    for resolve in BOTH {
        let tree = Tree::new()
            .file("a.txt", "x")
            .link("passwd", "/etc/passwd")
            .link("etc", "/etc")
            .link("up", "..")
            .link("beside.txt", "../beside.txt")
            .link("through/beside.txt", "../../beside.txt")
            .link("proc", "/proc/self/root")
            .link("loop", "loop")
            .link("ring1", "ring2")
            .link("ring2", "ring1")
            .resolving_by(resolve);
        std::fs::write(tree.beside("beside.txt"), "outside").unwrap();
        for path in [
            "/passwd",
            "/etc/passwd",
            "/etc/",
            "/etc",
            "/up",
            "/up/",
            "/up/beside.txt",
            "/up/root/a.txt",
            "/beside.txt",
            "/through/beside.txt",
            "/proc/etc/passwd",
            "/loop",
            "/loop/",
            "/ring1",
        ] {
            let status = tree.status_of(path).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{path}, {resolve:?}");
        }
        assert_eq!(tree.get("/a.txt").await.text(), "x");
    }
}

#[tokio::test]
async fn a_link_that_stays_inside_is_followed_by_the_kernel_alone() {
    let tree = Tree::new()
        .file("a.txt", "x")
        .link("sub/a.txt", "../a.txt")
        .link("folder", "sub");
    assert_eq!(tree.get("/sub/a.txt").await.text(), "x");
    assert_eq!(tree.get("/folder/a.txt").await.text(), "x");
    let tree = tree.resolving_by(Resolve::Walk);
    assert_eq!(tree.status_of("/sub/a.txt").await, StatusCode::NOT_FOUND);
    assert_eq!(tree.status_of("/folder/a.txt").await, StatusCode::NOT_FOUND);
}

#[test]
fn no_spelling_of_a_path_climbs_out() {
    let tree = Tree::new().file("a.txt", "x").file("sub/b.txt", "x");
    std::fs::write(tree.beside("beside.txt"), "outside").unwrap();
    for resolve in BOTH {
        let folder = Folder::open_root(&tree.path(""))
            .unwrap()
            .resolving_by(resolve);
        for path in [
            "..",
            "../",
            "../beside.txt",
            "sub/../../beside.txt",
            "sub/../../root/a.txt",
            "./../beside.txt",
            "/etc/passwd",
            "//etc/passwd",
            "a.txt\0",
            "\0",
            "sub\0/b.txt",
            "..\\beside.txt",
            "a.txt/.",
            "a.txt/",
        ] {
            let opened = folder.open(path);
            let is_missing = matches!(opened, Err(OpenError::Missing));
            assert!(is_missing, "{path:?} by {resolve:?}: {opened:?}");
        }
        assert!(matches!(folder.open("sub/b.txt"), Ok(Opened::File(_))));
        assert!(matches!(folder.open("sub"), Ok(Opened::Folder)));
        assert!(folder.open_folder("sub/").is_ok());
        assert!(folder.open_folder("").is_ok());
        assert!(folder.open_folder("a.txt").is_err());
    }
}

#[test]
fn only_well_known_may_begin_with_a_dot() {
    let hidden = [
        ".env",
        ".git/config",
        "sub/.git/config",
        "a/.b",
        "..",
        "../x",
        "a/../b",
        ".well-known/.secret",
        ".well-known-not/x",
        "sub/.well-known/x",
        ".well-known/../x",
    ];
    for path in hidden {
        assert!(is_hidden(path), "{path}");
    }
    for path in [
        "",
        "a",
        "a.b/c.d",
        ".well-known/acme",
        ".well-known/",
        ".well-known",
    ] {
        assert!(!is_hidden(path), "{path}");
    }
}

#[tokio::test]
async fn dot_files_do_not_exist() {
    let tree = Tree::new()
        .file(".env", "x")
        .file(".git/config", "x")
        .file("sub/.git/index.html", "x")
        .file(".well-known/security.txt", "contact")
        .with(|config| config.listing = true);
    for path in ["/.env", "/.git", "/.git/", "/.git/config", "/sub/.git/"] {
        assert_eq!(tree.status_of(path).await, StatusCode::NOT_FOUND, "{path}");
    }
    let answer = tree.get("/.well-known/security.txt").await;
    assert_eq!(answer.text(), "contact");
}

#[tokio::test]
async fn what_is_no_regular_file_is_not_opened_for_good() {
    let tree = Tree::new().fifo("fifo").fifo("sub/index.html");
    let _socket = UnixListener::bind(tree.path("socket")).unwrap();
    for resolve in BOTH {
        let folder = Folder::open_root("/dev".as_ref())
            .unwrap()
            .resolving_by(resolve);
        let opened = folder.open("null");
        assert!(matches!(opened, Err(OpenError::Missing)), "{opened:?}");
    }
    for resolve in BOTH {
        let folder = Folder::open_root(&tree.path(""))
            .unwrap()
            .resolving_by(resolve);
        assert!(matches!(folder.open("fifo"), Err(OpenError::Missing)));
    }
    for path in ["/fifo", "/socket", "/sub/"] {
        assert_eq!(tree.status_of(path).await, StatusCode::NOT_FOUND, "{path}");
    }
}
