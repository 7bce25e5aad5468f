//! What is taken, what is refused, and when somebody is told; and that no sequence of anything trades a good one for a worse.

use proptest::prelude::*;

use super::super::tests::{SAMPLES, certificate, hour, matches, worth};
use super::*;

/// Half of what lies in the files: of a sample whole, or cut off in the middle; or nothing.
#[derive(Clone, Copy, Debug)]
enum Half {
    Of(usize),
    CutOff(usize),
    Gone,
}

/// A pair of files, as somebody writes them.
struct Desk {
    chain: Half,
    key: Half,
    hours: i64,
    kept: Option<Kept>,
}

impl Desk {
    fn with(index: usize) -> Self {
        let mut desk = Self {
            chain: Half::Of(index),
            key: Half::Of(index),
            hours: 0,
            kept: None,
        };
        assert!(desk.look(Look::Start).is_none(), "findings tell that");
        desk
    }

    fn write(&mut self, index: usize) {
        (self.chain, self.key) = (Half::Of(index), Half::Of(index));
    }

    fn content(&self) -> Content {
        let bytes = |half: Half, of: fn(usize) -> &'static [u8]| match half {
            Half::Of(index) => Some(of(index)),
            Half::CutOff(index) => Some(&of(index)[..of(index).len() / 2]),
            Half::Gone => None,
        };
        Content::of(
            bytes(self.chain, |index| SAMPLES[index].chain.as_bytes()),
            bytes(self.key, |index| SAMPLES[index].key.as_bytes()),
        )
    }

    fn look(&mut self, look: Look) -> Option<News> {
        self.look_in(look, 0)
    }

    fn look_in(&mut self, look: Look, seconds: u64) -> Option<News> {
        let files = Arc::new(Files {
            chain: "a.test.pem".into(),
            key: "a.test.key".into(),
            passwords: Vec::new(),
        });
        let scope = Scope::Hosts(vec![HostPattern::parse("a.test").expect("a host")]);
        let now = hour(self.hours) + Duration::from_secs(seconds);
        let on = Occasion {
            look,
            now,
            arrange: &|_| {},
        };
        let old = self.kept.take();
        let (kept, news) = Kept::look(old.as_ref(), None, &files, &self.content(), &scope, on);
        self.kept = Some(kept);
        news
    }

    fn shown(&self) -> Option<&Arc<Certificate>> {
        self.kept.as_ref()?.shown()
    }

    fn shows(&self, index: usize) -> bool {
        (self.shown()).is_some_and(|shown| shown.is_same(&certificate(index)))
    }
}

fn refused(news: Option<News>) -> String {
    match news {
        Some(News::Refused { why, .. }) => why.to_string(),
        other => panic!("not refused but {other:?}"),
    }
}

#[test]
fn a_good_pair_is_taken_at_once() {
    let mut desk = Desk::with(0);
    desk.write(1);
    assert!(matches!(desk.look(Look::Watch), Some(News::Taken(_))));
    assert!(desk.shows(1));
    assert!(desk.look(Look::Watch).is_none(), "nothing has changed");
}

#[test]
fn half_a_pair_waits_for_its_other_half_and_is_complained_of_once() {
    let mut desk = Desk::with(0);
    desk.chain = Half::Of(1);
    assert!(desk.look_in(Look::Watch, 0).is_none());
    assert!(desk.look_in(Look::Watch, 4).is_none());
    assert!(desk.kept.as_ref().is_some_and(Kept::is_waiting));
    assert!(refused(desk.look_in(Look::Watch, 5)).contains("is not the key of"));
    assert!(desk.look_in(Look::Watch, 6).is_none());
    assert!(desk.look_in(Look::Watch, 60).is_none());
    assert!(desk.shows(0));
    // Whoever asks is told again.
    refused(desk.look_in(Look::Reload, 61));
    desk.key = Half::Of(1);
    assert!(matches!(
        desk.look_in(Look::Watch, 62),
        Some(News::Taken(_))
    ));
    assert!(desk.shows(1));
}

#[test]
fn what_lies_there_again_as_it_is_shown_is_no_longer_complained_of() {
    let mut desk = Desk::with(0);
    desk.key = Half::Gone;
    desk.look_in(Look::Watch, 0);
    refused(desk.look_in(Look::Watch, 5));
    desk.key = Half::Of(0);
    assert!(matches!(
        desk.look_in(Look::Watch, 6),
        Some(News::Mended(_))
    ));
    assert!(desk.look_in(Look::Watch, 7).is_none());
}

#[test]
fn each_way_of_being_worse_is_refused_by_its_name() {
    for (index, why) in [
        (4, "it expired"),
        (5, "it is not valid before"),
        (6, "does not cover a.test"),
        (7, "its chain leads nowhere"),
        (8, "self-signed"),
    ] {
        let mut desk = Desk::with(0);
        desk.write(index);
        let told = refused(desk.look(Look::Reload));
        assert!(told.contains(why), "{told}");
        assert!(desk.shows(0));
    }
}

#[test]
fn what_is_not_valid_yet_is_taken_when_it_is() {
    let mut desk = Desk::with(0);
    desk.write(5);
    desk.look(Look::Watch);
    desk.hours = 49;
    assert!(matches!(desk.look(Look::Watch), Some(News::Taken(_))));
}

#[test]
fn once_the_old_one_is_worth_nothing_anything_but_an_expired_one_is_taken() {
    let mut desk = Desk::with(3);
    desk.write(6);
    refused(desk.look(Look::Reload));
    desk.hours = 25;
    assert!(matches!(desk.look(Look::Watch), Some(News::Taken(_))));
    assert!(desk.shows(6));
}

#[test]
fn what_did_not_change_is_not_read_again() {
    let mut desk = Desk::with(0);
    let before = Arc::clone(desk.shown().expect("it is shown"));
    desk.look(Look::Reload);
    assert!(Arc::ptr_eq(&before, desk.shown().expect("it is shown")));
    // The same pair, written anew by way of another.
    desk.key = Half::Gone;
    desk.look(Look::Watch);
    desk.key = Half::Of(0);
    desk.look(Look::Watch);
    assert!(Arc::ptr_eq(&before, desk.shown().expect("it is shown")));
}

#[test]
fn a_key_is_not_shown_by_debug() {
    let told = format!("{:?}", certificate(0));
    let secret = SAMPLES[0].key.lines().nth(1).expect("a line");
    assert!(
        !told.contains(secret) && !told.contains("PRIVATE"),
        "{told}"
    );
}

#[derive(Clone, Debug)]
enum Step {
    Chain(Half),
    Key(Half),
    Both(usize),
    Hours(i64),
    Look(Look),
}

fn half() -> impl Strategy<Value = Half> {
    let index = 0..SAMPLES.len();
    prop_oneof![
        6 => index.clone().prop_map(Half::Of),
        1 => index.prop_map(Half::CutOff),
        1 => Just(Half::Gone),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => half().prop_map(Step::Chain),
        3 => half().prop_map(Step::Key),
        4 => (0..SAMPLES.len()).prop_map(Step::Both),
        // Clocks are set back, too.
        1 => (-30i64..60).prop_map(Step::Hours),
        6 => prop_oneof![3 => Just(Look::Watch), 1 => Just(Look::Reload)].prop_map(Step::Look),
    ]
}

proptest! {
    #[test]
    fn no_sequence_leaves_a_pair_that_does_not_match_or_a_worse_certificate(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut desk = Desk::with(0);
        for step in steps {
            match step {
                Step::Chain(half) => desk.chain = half,
                Step::Key(half) => desk.key = half,
                Step::Both(index) => desk.write(index),
                Step::Hours(hours) => desk.hours += hours,
                Step::Look(look) => {
                    let before = Arc::clone(desk.shown().expect("what was shown once is shown"));
                    desk.look(look);
                    let shown = desk.shown().expect("what was shown once is shown");
                    let now = hour(desk.hours);
                    prop_assert!(matches(shown));
                    let (was, is) = (worth(&before, "a.test", now), worth(shown, "a.test", now));
                    // An expired one is worth nothing, whatever else is said of it.
                    let lost = was[2] && was.iter().zip(is).any(|(was, is)| *was && !is);
                    prop_assert!(!lost, "{was:?} {is:?}");
                    // And a whole one that is worth as much is taken.
                    if let (Half::Of(chain), Half::Of(key)) = (desk.chain, desk.key)
                        && chain == key
                        && worth(&certificate(chain), "a.test", now) == [true; 3]
                    {
                        prop_assert!(desk.shows(chain));
                    }
                }
            }
        }
    }
}
