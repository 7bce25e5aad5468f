use std::time::Duration;

use super::*;
use crate::config::{Balance, Member};

fn slots(max: &[u32], length: usize) -> Arc<Slots> {
    let mut config = Balance::plain(max.len());
    config.members = max
        .iter()
        .map(|max| Member {
            max_connections: Some(*max),
            ..Member::default()
        })
        .collect();
    config.queue.length = length;
    let names = (0..max.len()).map(|index| (format!("upstream {index}"), true));
    Slots::new(Arc::new(Board::new(names, &config)), &config)
}

fn reason(outcome: Result<Held, Refusal>) -> Reason {
    outcome.map(|_| ()).expect_err("a refusal").reason
}

#[tokio::test(start_paused = true)]
async fn as_many_as_may_run_and_the_next_waits_for_the_first_to_end() {
    let slots = slots(&[1, 1], 10);
    let first = slots.take(0).expect("room");
    let second = slots.take(1).expect("room");
    assert!(slots.take(0).is_none() && !slots.has_room(1));
    let waiting = tokio::spawn({
        let slots = Arc::clone(&slots);
        async move { slots.wait(None, "upstream 0").await }
    });
    tokio::task::yield_now().await;
    drop(second);
    let third = waiting.await.expect("no panic").expect("a slot");
    assert_eq!(third.upstream, 1);
    drop((first, third));
    assert_eq!((slots.running(0), slots.running(1)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn whoever_wants_one_upstream_lets_others_pass_to_another() {
    let slots = slots(&[1, 1], 10);
    let (first, second) = (slots.take(0), slots.take(1));
    let wait = |only| {
        let slots = Arc::clone(&slots);
        tokio::spawn(async move { slots.wait(only, "upstream").await })
    };
    let one = wait(Some(0));
    tokio::task::yield_now().await;
    let any = wait(None);
    tokio::task::yield_now().await;
    drop(second);
    assert_eq!(any.await.expect("no panic").expect("a slot").upstream, 1);
    drop(first);
    assert_eq!(one.await.expect("no panic").expect("a slot").upstream, 0);
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_in_length_and_time_and_names_the_upstream() {
    let slots = slots(&[1], 1);
    let _held = slots.take(0).expect("room");
    let waiting = tokio::spawn({
        let slots = Arc::clone(&slots);
        async move { slots.wait(None, "http://a").await }
    });
    tokio::task::yield_now().await;
    let refused = slots.wait(None, "http://a").await.map(|_| ());
    let refused = refused.expect_err("the queue is full");
    assert_eq!(refused.reason, Reason::QueueFull);
    assert!(refused.detail.contains("http://a"), "{refused}");
    assert_eq!(
        reason(waiting.await.expect("no panic")),
        Reason::TimerReqQueue
    );
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_leaves_neither_place_nor_slot_behind() {
    let slots = slots(&[1], 1);
    let held = slots.take(0).expect("room");
    for _ in 0..3 {
        let gone = tokio::time::timeout(Duration::from_millis(1), slots.wait(None, "a")).await;
        assert!(gone.is_err(), "it waits");
    }
    // Granted, and gone before it could see that.
    let granted = slots.queue_up(None, "a").expect("a place");
    drop(held);
    assert_eq!(slots.running(0), 1);
    drop(granted);
    assert_eq!(slots.running(0), 0);
    assert!(slots.has_room(0));
}
