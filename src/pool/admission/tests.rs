//! Random sequences of events against a model that keeps every request by name.

use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;

/// Requests as a child would keep them: who runs, and who stands in line.
#[derive(Debug)]
struct Model {
    limits: Limits,
    running: BTreeSet<u32>,
    queue: VecDeque<u32>,
    next: u32,
}

/// The same requests as the counts have them: the state, and the queue that a pool keeps beside it.
#[derive(Debug, Default)]
struct Counted {
    state: State,
    running: BTreeSet<u32>,
    queue: VecDeque<u32>,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Arrive,
    /// The nth of those that run.
    Finish(usize),
    /// The nth of those that wait.
    Leave(usize),
    Limit(Limits),
}

impl Model {
    fn promote(&mut self) {
        while self.running.len() < self.limits.concurrency as usize {
            match self.queue.pop_front() {
                Some(first) => self.running.insert(first),
                None => return,
            };
        }
    }

    fn arrive(&mut self) -> Arrival {
        let request = self.next;
        self.next += 1;
        if self.running.len() < self.limits.concurrency as usize {
            assert!(self.queue.is_empty(), "a slot is free while some wait");
            self.running.insert(request);
            Arrival::Admitted
        } else if self.queue.len() < self.limits.queue_length as usize {
            self.queue.push_back(request);
            Arrival::Queued
        } else {
            Arrival::Refused
        }
    }
}

impl Counted {
    fn arrive(&mut self, request: u32, limits: Limits) -> Arrival {
        let (next, arrival) = self.state.arrive(limits);
        self.state = next;
        match arrival {
            Arrival::Admitted => assert!(self.running.insert(request)),
            Arrival::Queued => self.queue.push_back(request),
            Arrival::Refused => {}
        }
        arrival
    }

    fn finish(&mut self, request: u32, limits: Limits) {
        assert!(self.running.remove(&request));
        let (next, finish) = self.state.finish(limits);
        self.state = next;
        if finish == Finish::HandedOn {
            self.promote();
        }
    }

    fn promote(&mut self) {
        let first = self.queue.pop_front();
        self.running
            .insert(first.expect("a slot is handed on only while some wait"));
    }

    fn limit(&mut self, limits: Limits) {
        while let Some(next) = self.state.grant(limits) {
            self.state = next;
            self.promote();
        }
    }
}

fn limits() -> impl Strategy<Value = Limits> {
    (1usize..6, 0usize..6).prop_map(|(concurrency, queue)| Limits::new(concurrency, queue))
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => Just(Event::Arrive),
        5 => any::<usize>().prop_map(Event::Finish),
        3 => any::<usize>().prop_map(Event::Leave),
        1 => limits().prop_map(Event::Limit),
    ]
}

/// One event on both.
fn step(model: &mut Model, counted: &mut Counted, event: Event) {
    match event {
        Event::Arrive => {
            let request = model.next;
            let expected = model.arrive();
            assert_eq!(counted.arrive(request, model.limits), expected);
        }
        Event::Finish(nth) => {
            let count = model.running.len().max(1);
            if let Some(&request) = model.running.iter().nth(nth % count) {
                model.running.remove(&request);
                model.promote();
                counted.finish(request, model.limits);
            }
        }
        Event::Leave(nth) => {
            let count = model.queue.len().max(1);
            if model.queue.remove(nth % count).is_some() {
                counted.queue.remove(nth % count);
                counted.state = counted.state.leave();
            }
        }
        Event::Limit(limits) => {
            model.limits = limits;
            model.promote();
            counted.limit(limits);
        }
    }
}

proptest! {
    #[test]
    fn the_counts_do_as_a_list_of_names_would(first in limits(), events in prop::collection::vec(event(), 0..300)) {
        let mut model = Model { limits: first, running: BTreeSet::new(), queue: VecDeque::new(), next: 0 };
        let mut counted = Counted::default();
        for event in events {
            step(&mut model, &mut counted, event);
            prop_assert_eq!(&model.running, &counted.running);
            prop_assert_eq!(&model.queue, &counted.queue);
            prop_assert_eq!(counted.state.running as usize, model.running.len());
            prop_assert_eq!(counted.state.waiting as usize, model.queue.len());
        }
    }

    #[test]
    fn limits_that_stay_are_never_passed(limits in limits(), events in prop::collection::vec(event(), 0..300)) {
        let mut model = Model { limits, running: BTreeSet::new(), queue: VecDeque::new(), next: 0 };
        let mut counted = Counted::default();
        for event in events.into_iter().filter(|event| !matches!(event, Event::Limit(_))) {
            let before = counted.state;
            let refused = matches!(event, Event::Arrive) && before.arrive(limits).1 == Arrival::Refused;
            let full = before.running == limits.concurrency && before.waiting == limits.queue_length;
            prop_assert!(!refused || full, "refused with room left: {:?}", before);
            step(&mut model, &mut counted, event);
            prop_assert!(counted.state.running <= limits.concurrency);
            prop_assert!(counted.state.waiting <= limits.queue_length);
            prop_assert!(counted.state.waiting == 0 || counted.state.running == limits.concurrency, "a slot was lost");
        }
    }

    #[test]
    fn counts_and_limits_survive_the_word(high in any::<u32>(), low in any::<u32>()) {
        let state = State { running: high, waiting: low };
        prop_assert_eq!(State::unpack(state.pack()), state);
        let limits = Limits { concurrency: high, queue_length: low };
        prop_assert_eq!(Limits::unpack(limits.pack()), limits);
    }
}

#[test]
fn a_queue_of_none_refuses_as_soon_as_the_slots_are_taken() {
    let limits = Limits::new(1, 0);
    let (state, first) = State::default().arrive(limits);
    let (state, second) = state.arrive(limits);
    assert_eq!((first, second), (Arrival::Admitted, Arrival::Refused));
    let (state, finish) = state.finish(limits);
    assert_eq!((state, finish), (State::default(), Finish::Freed));
}

#[test]
fn the_largest_counts_do_not_overflow() {
    let limits = Limits::new(usize::MAX, usize::MAX);
    let full = State {
        running: u32::MAX,
        waiting: u32::MAX,
    };
    assert_eq!(full.arrive(limits), (full, Arrival::Refused));
    assert_eq!(full.grant(limits), None);
}

#[test]
fn there_is_always_one_slot() {
    assert_eq!(Limits::new(0, 0).concurrency, 1);
}
