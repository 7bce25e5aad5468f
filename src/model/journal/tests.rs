use std::time::{Duration, Instant, SystemTime};

use proptest::prelude::*;

use super::*;

fn journal() -> Journal {
    Journal::new(Instant::now(), SystemTime::UNIX_EPOCH)
}

/// A step that can be told from others.
fn numbered(bytes: u64) -> Step {
    Step::LastByte { bytes }
}

fn numbers(steps: &Steps) -> Vec<u64> {
    let number = |noted: &Noted| match noted.step {
        Step::LastByte { bytes } => bytes,
        _ => panic!("only numbered steps were noted"),
    };
    steps.noted.iter().map(number).collect()
}

#[test]
fn a_step_is_timed_from_the_beginning_of_its_request() {
    let journal = journal();
    let began = journal.began();
    journal.note(began + Duration::from_millis(7), Step::HandlerBegan);
    // Another thread's clock may have been read a moment before the request's.
    journal.note(began - Duration::from_millis(1), Step::HandlerAnswered);
    let steps = journal.steps();
    let times: Vec<Duration> = steps.noted.iter().map(|noted| noted.after).collect();
    assert_eq!(times, [Duration::from_millis(7), Duration::ZERO]);
    assert_eq!(journal.began_at(), SystemTime::UNIX_EPOCH);
}

#[test]
fn each_attempt_has_a_number_of_its_own() {
    let journal = journal();
    assert_eq!([(); 3].map(|()| journal.next_attempt()), [1, 2, 3]);
}

proptest! {
    #[test]
    fn the_first_and_the_last_steps_are_kept_in_their_order_however_many_come(count in 0_u64..300) {
        let journal = journal();
        for number in 0..count {
            journal.note(journal.began() + Duration::from_micros(number), numbered(number));
        }
        let steps = journal.steps();
        let kept = numbers(&steps);
        prop_assert!(kept.len() <= FIRST_STEPS + LAST_STEPS);
        prop_assert_eq!(kept.len() as u64 + steps.left_out, count);
        let first = (0..count).take(FIRST_STEPS);
        let last = (first.clone().count() as u64 + steps.left_out)..count;
        prop_assert_eq!(kept, first.chain(last).collect::<Vec<_>>());
        prop_assert!(steps.noted.is_sorted_by_key(|noted| noted.after));
    }
}
