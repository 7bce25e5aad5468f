//! Which files are ticket keys.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::*;

fn file(bytes: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("a.key");
    fs::write(&file, bytes).expect("the file");
    fs::set_permissions(&file, Permissions::from_mode(mode)).expect("ours");
    (folder, file)
}

fn error(file: &Path) -> TicketKeyError {
    match TicketKey::load(file) {
        Ok(_) => panic!("no key was expected"),
        Err(error) => error,
    }
}

#[test]
fn a_file_of_48_or_80_bytes_is_a_key() {
    for length in [48, 80] {
        let (_folder, file) = file(&vec![7; length], 0o640);
        let key = TicketKey::load(&file).expect("a key");
        assert_eq!(key.secret(), vec![7; length]);
    }
}

#[test]
fn a_file_of_another_length_is_none_and_is_not_read_to_its_end() {
    for length in [0, 47, 49, 79, 81, 1 << 20] {
        let (_folder, file) = file(&vec![7; length], 0o600);
        let error = error(&file);
        assert_eq!(error.code(), "ticket-key-broken");
        let said = error.to_string();
        let held = if length > 80 {
            "holds more".to_owned()
        } else {
            format!("holds {length}")
        };
        assert!(said.ends_with(&held), "{said}");
        assert!(error.help().contains("openssl rand"), "{}", error.help());
    }
}

#[test]
fn a_key_that_everybody_may_read_or_write_is_refused() {
    for mode in [0o644, 0o602, 0o666] {
        let (_folder, file) = file(&[7; 80], mode);
        let error = error(&file);
        assert_eq!(error.code(), "ticket-key-open");
        assert!(
            error.to_string().contains(&format!("{mode:04o}")),
            "{error}"
        );
    }
}

#[test]
fn a_file_that_is_not_there_is_told_of_with_how_to_make_it() {
    let error = error(Path::new("/nowhere/a.key"));
    assert_eq!(error.code(), "ticket-key-unreadable");
    assert!(error.help().contains("openssl rand -out /nowhere/a.key 80"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    assert!(
        self::error(folder.path())
            .to_string()
            .ends_with("it is no file")
    );
}
