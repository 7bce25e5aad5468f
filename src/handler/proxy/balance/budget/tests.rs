use proptest::prelude::*;

use super::*;

#[test]
fn retries_are_a_share_of_requests_beyond_what_is_free() {
    let budget = Budget::new(20);
    let mut retried = 0;
    for _ in 0..1000 {
        budget.request();
        retried += u64::from(budget.retry(Duration::ZERO));
    }
    assert_eq!(retried, 1000 / 5 + FREE / ONE);
}

#[test]
fn where_few_requests_come_one_a_second_may_be_retried() {
    let budget = Budget::new(20);
    while budget.retry(Duration::ZERO) {}
    assert!(!budget.retry(Duration::from_millis(999)));
    assert!(budget.retry(Duration::from_secs(1)));
    assert!(!budget.retry(Duration::from_secs(1)));
}

#[test]
fn with_a_budget_of_nothing_nothing_is_retried() {
    let budget = Budget::new(0);
    budget.request();
    assert!(!budget.retry(Duration::from_secs(3600)));
}

proptest! {
    /// Of whatever requests and failures, in whatever order: retries never exceed the share, what is free, and one a second.
    #[test]
    fn retries_never_exceed_the_budget(
        percent in 0_u8..=100,
        events in proptest::collection::vec((0_u64..50, 0_u64..20, 0_u64..2000), 1..100),
    ) {
        let budget = Budget::new(percent);
        let (mut requests, mut retries, mut now) = (0, 0, 0);
        for (came, wanted, millis) in events {
            now += millis;
            (0..came).for_each(|_| budget.request());
            requests += came;
            for _ in 0..wanted {
                retries += u64::from(budget.retry(Duration::from_millis(now)));
            }
            let bound = requests * u64::from(percent) / 100 + FREE / ONE + now / 1000 + 1;
            prop_assert!(retries <= bound);
        }
    }
}
