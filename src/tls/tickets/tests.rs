//! Tickets: whose they are, how long they live, and what becomes of those that somebody has touched.

use std::cell::Cell;
use std::collections::HashSet;

use super::*;
use crate::model::{HostPattern, Scheme};

const ROTATION: Duration = Duration::from_secs(100);

thread_local! {
    /// The time of this test.
    static NOW: Cell<u64> = const { Cell::new(1_000_000) };
}

fn now() -> u64 {
    NOW.get()
}

fn pass(seconds: u64) {
    NOW.set(now() + seconds);
}

fn identity(hostname: &str) -> Identity {
    Identity::of(&BindingKey {
        scheme: Scheme::Https,
        ip: None,
        port: 443,
        hostname: HostPattern::parse(hostname).expect("a host"),
    })
}

fn file(byte: u8) -> Arc<TicketKey> {
    Arc::new(TicketKey::of_bytes(&[byte; 80]))
}

fn tickets(identity: &Identity, shared: &[Arc<TicketKey>]) -> Tickets {
    let keys = Keys::new(identity, shared, now()).expect("keys");
    Tickets::new(Arc::new(keys), ROTATION, now)
}

fn own() -> Tickets {
    tickets(&identity("a.test"), &[])
}

fn ticket(tickets: &Tickets) -> Vec<u8> {
    tickets.encrypt(b"a session").expect("a ticket")
}

fn takes(tickets: &Tickets, ticket: &[u8]) -> bool {
    match tickets.decrypt(ticket) {
        Some(session) => session == b"a session",
        None => false,
    }
}

#[test]
fn a_ticket_lives_for_one_rotation_whenever_it_was_issued() {
    for issued_after in [0, 1, 50, 99, 100, 101, 250] {
        let tickets = own();
        pass(issued_after);
        let ticket = ticket(&tickets);
        pass(99);
        assert!(takes(&tickets, &ticket), "issued after {issued_after} s");
        pass(1);
        assert!(!takes(&tickets, &ticket), "issued after {issued_after} s");
    }
}

#[test]
fn the_previous_key_is_known_and_the_one_before_is_forgotten() {
    let tickets = own();
    let first = tickets.keys.load().known[0].name;
    pass(100);
    ticket(&tickets);
    let keys = tickets.keys.load_full();
    assert_eq!(keys.known.len(), 2);
    assert_ne!(keys.known[0].name, first);
    assert_eq!(keys.known[1].name, first);
    pass(100);
    ticket(&tickets);
    let later = tickets.keys.load_full();
    assert_eq!(later.known.len(), 2);
    assert_eq!(later.known[1].name, keys.known[0].name);
    // After a silence in which every ticket has died, no key is left of before.
    pass(200);
    ticket(&tickets);
    assert_eq!(tickets.keys.load().known.len(), 1);
}

#[test]
fn reading_a_ticket_turns_keys_too() {
    let tickets = own();
    let ticket = ticket(&tickets);
    let before = tickets.keys.load().known[0].name;
    pass(150);
    assert!(!takes(&tickets, &ticket));
    assert_ne!(tickets.keys.load().known[0].name, before);
}

#[test]
fn a_clock_that_is_set_back_keeps_no_key_for_longer() {
    let tickets = own();
    let before = tickets.keys.load().known[0].name;
    let ticket = ticket(&tickets);
    NOW.set(now() - CLOCK_SKEW);
    assert!(takes(&tickets, &ticket), "a small step changes nothing");
    NOW.set(now() - 1);
    assert!(!takes(&tickets, &ticket), "a ticket from the future");
    assert_ne!(tickets.keys.load().known[0].name, before);
}

#[test]
fn no_two_tickets_are_alike() {
    let tickets = own();
    let all: HashSet<_> = (0..100).map(|_| ticket(&tickets)).collect();
    assert_eq!(all.len(), 100);
}

#[test]
fn a_ticket_that_was_touched_anywhere_is_none() {
    let tickets = own();
    let ticket = ticket(&tickets);
    assert_eq!(ticket.len(), b"a session".len() + OVERHEAD_BYTES);
    for at in 0..ticket.len() {
        let mut touched = ticket.clone();
        touched[at] ^= 1;
        assert_eq!(tickets.decrypt(&touched), None, "byte {at}");
        assert_eq!(tickets.decrypt(&ticket[..at]), None, "cut at {at}");
    }
    let longer = [&ticket[..], &[0]].concat();
    assert_eq!(tickets.decrypt(&longer), None);
}

#[test]
fn nothing_that_is_too_long_is_encrypted_or_looked_at() {
    let tickets = own();
    let longest = vec![7; SESSION_BYTES_MAX];
    let ticket = tickets.encrypt(&longest).expect("a ticket");
    assert_eq!(tickets.decrypt(&ticket), Some(longest));
    assert_eq!(tickets.encrypt(&vec![7; SESSION_BYTES_MAX + 1]), None);
    assert_eq!(tickets.decrypt(&[&ticket[..], &[0; 32]].concat()), None);
}

#[test]
fn machines_with_the_same_file_and_binding_take_each_others_tickets() {
    let here = tickets(&identity("a.test"), &[file(1)]);
    let there = tickets(&identity("a.test"), &[file(1)]);
    assert!(takes(&there, &ticket(&here)));
    assert!(takes(&here, &ticket(&there)));
}

#[test]
fn a_file_shared_by_bindings_makes_no_ticket_of_one_good_for_another() {
    let whole = |identity: Identity| identity.and("version", "1.2").and("protocols", "h2");
    let issuer = tickets(&whole(identity("a.test")), &[file(1)]);
    let ticket = ticket(&issuer);
    assert!(takes(&issuer, &ticket));
    for other in [
        whole(identity("b.test")),
        whole(identity("*.test")),
        identity("a.test")
            .and("version", "1.3")
            .and("protocols", "h2"),
        whole(identity("a.test")).and("clients", "required"),
        // The same texts, parted elsewhere.
        identity("a.test").and("version", "1.2protocolsh2"),
        identity("a.test"),
    ] {
        assert!(!takes(&tickets(&other, &[file(1)]), &ticket), "{other:?}");
    }
}

#[test]
fn the_first_file_encrypts_and_all_of_them_decrypt() {
    let whose = identity("a.test");
    let old = tickets(&whose, &[file(1)]);
    let turning = tickets(&whose, &[file(2), file(1)]);
    let done = tickets(&whose, &[file(2)]);
    assert!(takes(&turning, &ticket(&old)));
    assert!(takes(&done, &ticket(&turning)));
    assert!(!takes(&old, &ticket(&turning)));
    assert!(!takes(&done, &ticket(&old)));
}

#[test]
fn keys_from_files_do_not_turn_and_their_tickets_die_all_the_same() {
    let tickets = tickets(&identity("a.test"), &[file(1)]);
    let ticket = ticket(&tickets);
    pass(99);
    assert!(takes(&tickets, &ticket));
    pass(1);
    assert!(!takes(&tickets, &ticket));
    pass(1_000_000);
    assert!(takes(&tickets, &self::ticket(&tickets)));
}

fn sessions(
    identity: Identity,
    rotation: Duration,
    shared: &[Arc<TicketKey>],
    old: Option<&Sessions>,
) -> Sessions {
    Sessions::new(identity, rotation, shared.to_vec(), old).expect("sessions")
}

fn resumes(new: &Sessions, old: &Sessions) -> bool {
    let old = old.ticketer().expect("tickets");
    let ticket = old.encrypt(b"a session").expect("a ticket");
    new.ticketer()
        .is_some_and(|new| new.decrypt(&ticket).is_some())
}

#[test]
fn a_reload_keeps_the_keys_of_what_stays_the_same_even_if_they_turn_at_another_time() {
    let whose = || identity("a.test").and("version", "1.2");
    let before = sessions(whose(), ROTATION, &[], None);
    assert!(resumes(
        &sessions(whose(), ROTATION, &[], Some(&before)),
        &before
    ));
    assert!(resumes(
        &sessions(whose(), ROTATION * 2, &[], Some(&before)),
        &before
    ));
    let stricter = identity("a.test").and("version", "1.3");
    assert!(!resumes(
        &sessions(stricter, ROTATION, &[], Some(&before)),
        &before
    ));
    assert!(!resumes(
        &sessions(whose(), ROTATION, &[file(1)], Some(&before)),
        &before
    ));
    assert!(!resumes(&sessions(whose(), ROTATION, &[], None), &before));
}

#[test]
fn without_a_rotation_there_are_no_tickets() {
    let whose = || identity("a.test");
    let none = sessions(whose(), Duration::ZERO, &[], None);
    assert!(none.ticketer().is_none());
    let again = sessions(whose(), ROTATION, &[], Some(&none));
    assert!(resumes(&again, &again));
}

#[test]
fn a_ticketer_says_how_long_its_tickets_live_and_nothing_of_its_keys() {
    let tickets = own();
    assert_eq!(tickets.lifetime(), 100);
    assert_eq!(format!("{tickets:?}"), "Tickets { lifetime: 100, .. }");
}

proptest::proptest! {
    #[test]
    fn no_bytes_of_a_clients_own_are_a_ticket(bytes: Vec<u8>, named: bool) {
        let tickets = own();
        let name = tickets.keys.load().known[0].name;
        let ticket = if named { [&name[..], &bytes].concat() } else { bytes };
        proptest::prop_assert_eq!(tickets.decrypt(&ticket), None);
    }
}
