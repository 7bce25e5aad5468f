//! Places: never more than there are, and none that is lost.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::pin::pin;
use std::task::{Context, Waker};

use proptest::prelude::*;

use super::*;

fn v4(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

#[test]
fn a_place_that_is_dropped_is_the_next_ones() {
    let limits = ConnectionLimits::new(Some(2), None);
    let one = limits.enter(v4(1)).expect("a place");
    let _two = limits.enter(v4(1)).expect("a place");
    assert_eq!(limits.enter(v4(2)).unwrap_err(), Full::Total);
    assert_eq!(limits.open(), 2);
    drop(one);
    limits.enter(v4(2)).expect("a place");
}

#[test]
fn an_address_that_is_full_keeps_no_other_out() {
    let limits = ConnectionLimits::new(None, Some(1));
    let _one = limits.enter(v4(1)).expect("a place");
    assert_eq!(limits.enter(v4(1)).unwrap_err(), Full::PerIp);
    limits.enter(v4(2)).expect("a place");
    assert_eq!(limits.open(), 1);
}

#[test]
fn an_ipv6_network_of_one_customer_counts_as_one() {
    let limits = ConnectionLimits::new(None, Some(1));
    let ip = |text: &str| -> IpAddr { text.parse::<Ipv6Addr>().expect("an address").into() };
    let _one = limits.enter(ip("2001:db8:1:2::1")).expect("a place");
    assert_eq!(
        limits.enter(ip("2001:db8:1:2:ffff::9")).unwrap_err(),
        Full::PerIp
    );
    limits.enter(ip("2001:db8:1:3::1")).expect("a place");
}

#[test]
fn other_limits_are_for_connections_to_come() {
    let limits = ConnectionLimits::new(None, None);
    let before: Vec<_> = (0..3)
        .map(|_| limits.enter(v4(1)).expect("a place"))
        .collect();
    limits.set(Some(4), Some(1));
    // Those that came while addresses were not counted are none of this address.
    let counted = limits.enter(v4(1)).expect("a place");
    assert_eq!(limits.enter(v4(2)).unwrap_err(), Full::Total);
    limits.set(None, Some(1));
    assert_eq!(limits.enter(v4(1)).unwrap_err(), Full::PerIp);
    drop(before);
    limits.set(None, None);
    limits.enter(v4(1)).expect("a place");
    drop(counted);
    assert_eq!(limits.open(), 0);
}

#[test]
fn the_end_of_the_last_connection_is_told() {
    let limits = ConnectionLimits::new(Some(1), None);
    let place = limits.enter(v4(1)).expect("a place");
    let mut none_left = pin!(limits.none_left());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(none_left.as_mut().poll(&mut cx).is_pending());
    // One that is turned away was never there.
    assert_eq!(limits.enter(v4(1)).unwrap_err(), Full::Total);
    assert!(none_left.as_mut().poll(&mut cx).is_pending());
    drop(place);
    assert!(none_left.as_mut().poll(&mut cx).is_ready());
}

#[test]
fn only_so_many_are_told_at_once_why_they_are_turned_away() {
    let limits = ConnectionLimits::new(Some(0), None);
    let mut told: Vec<_> = (0..FAREWELLS_MAX).map(|_| limits.turn_away()).collect();
    assert!(told.iter().all(Option::is_some));
    assert!(limits.turn_away().is_none());
    told.pop();
    assert!(limits.turn_away().is_some());
    assert_eq!(limits.open(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Enter(u8),
    Leave(usize),
    Set(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4u8).prop_map(Step::Enter),
        3 => (0..16usize).prop_map(Step::Leave),
        1 => (1..8usize, 1..4usize).prop_map(|(max, per_ip)| Step::Set(max, per_ip)),
    ]
}

proptest! {
    #[test]
    fn counts_are_those_of_the_places_that_are_held(steps in prop::collection::vec(step(), 0..200)) {
        let (mut max, mut per_ip) = (5, 2);
        let limits = ConnectionLimits::new(Some(max), Some(per_ip));
        let mut held: Vec<(u8, Place)> = Vec::new();
        for step in steps {
            match step {
                Step::Enter(ip) => {
                    let of_ip = held.iter().filter(|(other, _)| *other == ip).count();
                    let expected = if held.len() >= max {
                        Some(Full::Total)
                    } else if of_ip >= per_ip {
                        Some(Full::PerIp)
                    } else {
                        None
                    };
                    match limits.enter(v4(ip)) {
                        Ok(place) => {
                            prop_assert_eq!(expected, None);
                            held.push((ip, place));
                        }
                        Err(full) => prop_assert_eq!(expected, Some(full)),
                    }
                }
                Step::Leave(at) if !held.is_empty() => drop(held.swap_remove(at % held.len())),
                Step::Leave(_) => {}
                Step::Set(new_max, new_per_ip) => {
                    (max, per_ip) = (new_max, new_per_ip);
                    limits.set(Some(max), Some(per_ip));
                }
            }
            prop_assert_eq!(limits.open(), held.len());
        }
        drop(held);
        prop_assert_eq!(limits.open(), 0);
        // Nothing is remembered of an address that has no connection.
        prop_assert!(limits.by_ip.lock().expect("whole").is_empty());
    }
}
