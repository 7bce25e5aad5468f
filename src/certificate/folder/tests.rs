//! A folder of real files under the hands of somebody who writes, renames, links and removes them in any order.

use std::os::unix::fs::symlink;

use proptest::prelude::*;

use super::super::tests::{SAMPLES, hour, matches, worth};
use super::*;

#[test]
fn the_kind_of_key_is_no_part_of_the_name() {
    for (file, name) in [
        ("a.test.pem", Some("a.test")),
        ("A.test.pem", Some("a.test")),
        ("a.test.rsa.pem", Some("a.test")),
        ("_.a.test.ecdsa.pem", Some("_.a.test")),
        ("_default.rsa.pem", Some("_default")),
        ("a.test.key", None),
        ("a.test.pem.bak", None),
    ] {
        assert_eq!(certificate_name(Path::new(file)).as_deref(), name);
    }
}

/// What is done to a folder.
#[derive(Clone, Debug)]
enum Step {
    /// A pair of its own, chain and key of these samples.
    Write(usize, usize, usize),
    /// Only one of the two files.
    WriteOne(usize, &'static str, usize),
    Remove(usize, &'static str),
    Rename(usize, usize, &'static str),
    /// The pair becomes links to those of a sample, which lie elsewhere.
    Link(usize, usize),
    /// The whole folder is a link that is turned to another one, as Kubernetes does.
    Turn,
    RemoveFolder,
    Hours(i64),
    Look(Look),
}

const NAMES: [&str; 5] = ["a.test", "a.test.rsa", "b.test", "_.test", "_default"];

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    let sample = 0..SAMPLES.len();
    let kind = prop_oneof![Just("pem"), Just("key")];
    prop_oneof![
        6 => (name.clone(), sample.clone()).prop_map(|(name, of)| Step::Write(name, of, of)),
        1 => (name.clone(), sample.clone(), sample.clone()).prop_map(|(n, c, k)| Step::Write(n, c, k)),
        2 => (name.clone(), kind.clone(), sample.clone()).prop_map(|(n, k, s)| Step::WriteOne(n, k, s)),
        1 => (name.clone(), kind.clone()).prop_map(|(name, kind)| Step::Remove(name, kind)),
        2 => (name.clone(), name.clone(), kind).prop_map(|(a, b, kind)| Step::Rename(a, b, kind)),
        2 => (name, sample).prop_map(|(name, of)| Step::Link(name, of)),
        1 => Just(Step::Turn),
        1 => Just(Step::RemoveFolder),
        1 => (-30i64..60).prop_map(Step::Hours),
        8 => prop_oneof![3 => Just(Look::Watch), 1 => Just(Look::Reload)].prop_map(Step::Look),
    ]
}

/// `certs` is a link to a folder `1`, `2`, …
struct Place {
    root: tempfile::TempDir,
    turned: usize,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a folder");
        fs::create_dir(root.path().join("store")).expect("a folder");
        for (index, sample) in SAMPLES.iter().enumerate() {
            let store = root.path().join("store");
            fs::write(store.join(format!("{index}.pem")), &sample.chain).expect("a file");
            fs::write(store.join(format!("{index}.key")), &sample.key).expect("a file");
        }
        let place = Self { root, turned: 0 };
        place.turn();
        place
    }

    fn certs(&self) -> PathBuf {
        self.root.path().join("certs")
    }

    fn file(&self, name: usize, kind: &str) -> PathBuf {
        self.certs().join(format!("{}.{kind}", NAMES[name]))
    }

    /// Turns the link to another folder, which holds nothing yet.
    fn turn(&self) {
        let folder = self.root.path().join(self.turned.to_string());
        fs::create_dir_all(folder).expect("a folder");
        let link = self.root.path().join("next");
        symlink(self.turned.to_string(), &link).expect("a link");
        fs::rename(link, self.certs()).expect("it takes the place of the old one");
    }

    // Nothing of this has to succeed: what is not there is not renamed.
    fn take(&mut self, step: &Step) {
        match *step {
            Step::Write(name, chain, key) => {
                self.take(&Step::WriteOne(name, "pem", chain));
                self.take(&Step::WriteOne(name, "key", key));
            }
            Step::WriteOne(name, kind, of) => {
                let sample = &SAMPLES[of];
                let content = if kind == "pem" {
                    &sample.chain
                } else {
                    &sample.key
                };
                // Not through a link.
                let _ = fs::remove_file(self.file(name, kind));
                let _ = fs::write(self.file(name, kind), content);
            }
            Step::Remove(name, kind) => drop(fs::remove_file(self.file(name, kind))),
            Step::Rename(from, to, kind) => {
                drop(fs::rename(self.file(from, kind), self.file(to, kind)));
            }
            Step::Link(name, of) => {
                for kind in ["pem", "key"] {
                    let _ = fs::remove_file(self.file(name, kind));
                    let target = self.root.path().join(format!("store/{of}.{kind}"));
                    let _ = symlink(target, self.file(name, kind));
                }
            }
            Step::Turn => {
                self.turned += 1;
                self.turn();
            }
            Step::RemoveFolder => drop(fs::remove_dir_all(
                self.root.path().join(self.turned.to_string()),
            )),
            Step::Hours(_) | Step::Look(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_to_a_folder_no_host_is_shown_what_does_not_match_or_is_worse(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut place = Place::new();
        place.take(&Step::Write(0, 0, 0));
        place.take(&Step::Write(3, 2, 2));
        let mut folder = Folder::load(&place.certs()).expect("a folder");
        let mut hours = 0;
        for step in &steps {
            place.take(step);
            match step {
                Step::Hours(more) => hours += more,
                Step::Look(look) => {
                    let now = hour(hours);
                    let before = folder.clone();
                    let on = Occasion { look: *look, now, arrange: &|_| {} };
                    folder = Folder::look(&place.certs(), Some(&before), on, &mut Vec::new())
                        .expect("one that held something is kept");
                    for host in ["a.test", "b.test", "c.test"] {
                        let name = HostName::parse(host).expect("a host");
                        let (was, is) = (before.choice(&name), folder.choice(&name));
                        let Some(was) = was else { continue };
                        let is = is.expect("a host that was shown something is shown something");
                        prop_assert!(is.all().all(|shown| matches(shown)));
                        let (was, is) = (worth(was.preferred(), host, now), worth(is.preferred(), host, now));
                        let lost = was[2] && was.iter().zip(is).any(|(was, is)| *was && !is);
                        prop_assert!(!lost, "{host}: {was:?} {is:?}");
                    }
                }
                _ => {}
            }
        }
    }
}
