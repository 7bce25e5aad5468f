use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What a pool's processes do, by a clock of its own, and what is held to hold after every event.
struct World {
    machine: Machine,
    now: Instant,
    processes: BTreeMap<WorkerId, Process>,
    traffic: Traffic,
    notes: Vec<Note>,
    let_go: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Process {
    ready: bool,
    draining: bool,
    told: bool,
    killed: bool,
    frozen: bool,
}

fn rules() -> Rules {
    Rules {
        workers: 1,
        always: false,
        startup_timeout: secs(90),
        shutdown_timeout: secs(90),
        idle_timeout: Some(secs(1200)),
        suspends: false,
        failures_max: Some(5),
        failures_within: secs(300),
        probation: None,
        recycle_requests: None,
        recycle_time: None,
        recycle_memory: None,
    }
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

impl World {
    fn new(rules: Rules) -> Self {
        let now = Instant::now();
        Self {
            machine: Machine::new(rules, now),
            now,
            processes: BTreeMap::new(),
            traffic: Traffic::Hold,
            notes: Vec::new(),
            let_go: 0,
        }
    }

    fn on(&mut self, event: Event) {
        if let Event::Died(id, _) = &event {
            self.processes.remove(id);
        }
        if let Event::Ready(id) = &event
            && let Some(process) = self.processes.get_mut(id)
        {
            process.ready = true;
        }
        for effect in self.machine.on(event, self.now) {
            self.apply(effect);
        }
        self.check();
    }

    fn apply(&mut self, effect: Effect) {
        if let Effect::Drain(id) | Effect::Terminate(id) | Effect::Kill(id) | Effect::Freeze(id) =
            &effect
            && let Traffic::To(ids) = &self.traffic
        {
            assert!(!ids.contains(id), "{effect:?} while new requests go there");
        }
        match &effect {
            Effect::Traffic(traffic) => {
                if let Traffic::To(ids) = traffic {
                    let frozen = ids.iter().any(|id| self.processes[id].frozen);
                    assert!(!frozen, "requests to a worker that stands still");
                }
                self.traffic = traffic.clone();
            }
            Effect::LetGo(_) => self.let_go += 1,
            Effect::Launch(id) => {
                let before = self.processes.insert(*id, Process::default());
                assert!(before.is_none(), "{id:?} is launched twice");
            }
            Effect::Drain(id) => self.process(*id).draining = true,
            Effect::Terminate(id) => self.process(*id).told = true,
            Effect::Kill(id) => self.process(*id).killed = true,
            Effect::Freeze(id) => self.process(*id).frozen = true,
            Effect::Thaw(id) => self.process(*id).frozen = false,
            Effect::Tell(note) => self.notes.push(note.clone()),
        }
    }

    fn process(&mut self, id: WorkerId) -> &mut Process {
        self.processes.get_mut(&id).expect("a live one")
    }

    /// Never two generations that take new requests, never a request to a worker that is dead, or not ready, or told to end.
    fn check(&self) {
        let Traffic::To(ids) = &self.traffic else {
            return;
        };
        assert!(!ids.is_empty());
        for id in ids {
            assert_eq!(id.generation, ids[0].generation, "two generations");
            let process = self.processes.get(id).expect("requests to a dead worker");
            let fit = process.ready && !process.draining && !process.told && !process.killed;
            assert!(fit && !process.frozen, "requests to {process:?}");
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        // An event at each deadline on the way, as the supervisor has it.
        while let Some(at) = self.machine.deadline().filter(|at| *at <= until) {
            assert!(at >= self.now || self.now <= until);
            self.now = self.now.max(at);
            self.on(Event::Tick);
            let next = self.machine.deadline();
            assert!(
                next.is_none_or(|next| next > self.now),
                "a deadline is left"
            );
        }
        self.now = until;
        self.on(Event::Tick);
    }

    fn ids(&self) -> Vec<WorkerId> {
        self.processes.keys().copied().collect()
    }

    fn newest(&self) -> WorkerId {
        *self.processes.keys().last().expect("a worker")
    }

    /// Every process does what it is to do.
    fn behave(&mut self) {
        for id in self.ids() {
            let process = self.processes[&id];
            if process.told || process.killed {
                self.on(Event::Died(id, "it ended".into()));
            } else if process.draining {
                self.on(Event::Drained(id));
            } else if !process.ready {
                self.on(Event::Ready(id));
            }
        }
    }

    fn serve(rules: Rules) -> Self {
        let mut world = Self::new(rules);
        world.on(Event::Wanted);
        world.behave();
        assert_eq!(world.machine.state(), State::Running);
        world
    }

    fn generation(&self) -> u64 {
        match &self.traffic {
            Traffic::To(ids) => ids[0].generation,
            other => panic!("nobody serves: {other:?}"),
        }
    }
}

#[test]
fn a_pool_starts_when_it_is_wanted_and_not_before() {
    let mut world = World::new(rules());
    world.on(Event::Tick);
    assert_eq!(world.machine.state(), State::Idle);
    assert!(world.processes.is_empty());
    world.on(Event::Wanted);
    world.on(Event::Wanted);
    assert_eq!(world.machine.state(), State::Starting);
    assert_eq!(world.processes.len(), 1);
    world.on(Event::Ready(world.newest()));
    assert_eq!(world.traffic, Traffic::To(world.ids()));
}

#[test]
fn a_pool_that_is_to_run_always_starts_by_itself() {
    let mut world = World::new(Rules {
        always: true,
        workers: 3,
        ..rules()
    });
    world.on(Event::Tick);
    assert_eq!(world.processes.len(), 3);
    world.behave();
    world.pass(secs(100_000));
    assert_eq!(world.traffic, Traffic::To(world.ids()));
}

#[test]
fn the_old_generation_serves_until_the_new_one_is_complete_and_ends_when_drained() {
    let mut world = World::serve(Rules {
        workers: 2,
        ..rules()
    });
    world.on(Event::Recycle(Why::Command));
    assert_eq!(world.generation(), 1);
    assert_eq!(world.processes.len(), 4);
    let new: Vec<_> = world.ids().split_off(2);
    world.on(Event::Ready(new[0]));
    assert_eq!(world.generation(), 1);
    world.on(Event::Ready(new[1]));
    assert_eq!(world.generation(), 2);
    assert_eq!(world.machine.state(), State::Recycling);
    let old = world.ids()[0];
    assert!(world.processes[&old].draining && !world.processes[&old].told);
    world.on(Event::Drained(old));
    assert!(world.processes[&old].told);
    world.behave();
    world.behave();
    assert_eq!(
        (world.machine.state(), world.processes.len()),
        (State::Running, 2)
    );
}

#[test]
fn what_drains_for_too_long_is_told_to_end_and_then_killed() {
    let mut world = World::serve(rules());
    let old = world.newest();
    world.on(Event::Recycle(Why::Command));
    world.on(Event::Ready(world.newest()));
    world.pass(secs(89));
    assert!(!world.processes[&old].told);
    world.pass(secs(2));
    assert!(world.processes[&old].told && !world.processes[&old].killed);
    world.pass(TERMINATE_GRACE);
    assert!(world.processes[&old].killed);
}

#[test]
fn a_generation_that_does_not_come_up_leaves_the_old_one_and_does_not_count_as_a_failure() {
    let mut world = World::serve(rules());
    for _ in 0..10 {
        world.on(Event::Recycle(Why::Configuration));
        world.on(Event::Died(
            world.newest(),
            "it exited with status 1".into(),
        ));
        assert_eq!(
            (world.generation(), world.machine.state()),
            (1, State::Running)
        );
    }
    let kept = |note: &&Note| matches!(note, Note::Kept(_, why) if why.contains("status 1"));
    assert_eq!(world.notes.iter().filter(kept).count(), 10);
    // Nor does one that takes too long.
    world.on(Event::Recycle(Why::Command));
    world.pass(secs(91));
    assert_eq!(world.generation(), 1);
    world.behave();
    assert_eq!(world.processes.len(), 1);
}

#[test]
fn five_failures_in_five_minutes_disable_a_pool_until_it_is_started() {
    let mut world = World::serve(rules());
    for failure in 1..=5 {
        assert_ne!(world.machine.state(), State::Disabled);
        world.on(Event::Died(world.newest(), format!("crash {failure}")));
        world.pass(secs(20));
        world.behave();
    }
    assert_eq!(world.traffic, Traffic::Disabled("crash 5".into()));
    assert_eq!(world.machine.state(), State::Disabled);
    world.pass(secs(100_000));
    world.on(Event::Wanted);
    assert!(world.processes.is_empty());
    world.on(Event::Start);
    world.behave();
    assert_eq!(world.machine.state(), State::Running);
}

#[test]
fn failures_that_lie_further_apart_disable_nothing() {
    let mut world = World::serve(rules());
    for _ in 0..20 {
        world.on(Event::Died(world.newest(), "crash".into()));
        world.pass(secs(76));
        world.behave();
        assert_eq!(world.machine.state(), State::Running);
    }
}

#[test]
fn a_worker_is_started_again_later_each_time_it_fails_at_once() {
    let mut world = World::new(Rules {
        failures_max: None,
        ..rules()
    });
    world.on(Event::Wanted);
    let mut pauses = Vec::new();
    for _ in 0..10 {
        let since = world.now;
        world.on(Event::Died(world.newest(), "crash".into()));
        let at = world.machine.deadline().expect("it is tried again");
        pauses.push(at.duration_since(since));
        world.pass(at.duration_since(since));
        assert_eq!(world.processes.len(), 1);
    }
    assert_eq!(pauses[0], Duration::from_millis(100));
    assert!(pauses.is_sorted() && pauses[9] == secs(10));
}

#[test]
fn a_start_that_takes_too_long_lets_go_whoever_waits_and_is_tried_again() {
    let mut world = World::new(rules());
    world.on(Event::Wanted);
    let first = world.newest();
    world.pass(secs(89));
    assert_eq!(world.let_go, 0);
    world.pass(secs(2));
    assert_eq!(world.let_go, 1);
    assert!(world.processes[&first].killed);
    assert_ne!(world.newest(), first);
}

#[test]
fn on_probation_a_disabled_pool_tries_one_worker_while_others_are_still_refused() {
    let mut world = World::serve(Rules {
        probation: Some(secs(60)),
        workers: 2,
        ..rules()
    });
    while world.machine.state() != State::Disabled {
        world.on(Event::Died(world.newest(), "crash".into()));
        world.pass(secs(11));
    }
    world.behave();
    world.behave();
    world.pass(secs(60));
    assert_eq!(world.processes.len(), 1);
    assert!(matches!(world.traffic, Traffic::Disabled(_)));
    world.on(Event::Died(world.newest(), "again".into()));
    assert_eq!(world.machine.state(), State::Disabled);
    world.pass(secs(119));
    assert!(world.processes.is_empty(), "the pause doubles");
    world.pass(secs(2));
    world.behave();
    world.behave();
    assert_eq!(
        (world.machine.state(), world.processes.len()),
        (State::Running, 2)
    );
    assert!(world.notes.contains(&Note::Recovered));
}

#[test]
fn a_worker_that_does_not_answer_is_killed_and_replaced() {
    let mut world = World::serve(rules());
    let hung = world.newest();
    world.on(Event::Unresponsive(hung, "no answer".into()));
    assert!(world.processes[&hung].killed);
    assert_eq!(world.traffic, Traffic::Hold);
    world.pass(secs(1));
    world.behave();
    assert_eq!(world.machine.state(), State::Running);
}

#[test]
fn workers_without_requests_end_and_the_next_request_starts_others() {
    let mut world = World::serve(rules());
    world.pass(secs(1000));
    let seen = Seen {
        requests: 1,
        ..Seen::default()
    };
    world.on(Event::Seen(world.newest(), seen));
    world.pass(secs(1000));
    assert_eq!(world.machine.state(), State::Running);
    world.pass(secs(201));
    assert_eq!(world.traffic, Traffic::Hold);
    world.behave();
    world.behave();
    assert_eq!(
        (world.machine.state(), world.processes.len()),
        (State::Idle, 0)
    );
    world.on(Event::Wanted);
    world.behave();
    assert_eq!(world.generation(), 2);
}

#[test]
fn workers_that_are_to_be_suspended_stand_still_and_go_on_when_wanted() {
    let mut world = World::serve(Rules {
        suspends: true,
        ..rules()
    });
    world.pass(secs(1201));
    assert_eq!(world.machine.state(), State::Idle);
    assert!(world.processes[&world.newest()].frozen);
    world.pass(secs(10_000));
    world.on(Event::Wanted);
    assert_eq!(
        (world.machine.state(), world.generation()),
        (State::Running, 1)
    );
}

#[test]
fn what_is_used_up_is_recycled() {
    let all = Rules {
        recycle_requests: Some(100),
        recycle_time: Some(secs(3600)),
        recycle_memory: Some(1 << 20),
        idle_timeout: None,
        ..rules()
    };
    let mut world = World::serve(all);
    let seen = |requests, memory| Seen {
        requests,
        in_flight: 1,
        memory: Some(memory),
    };
    world.on(Event::Seen(world.newest(), seen(99, 5)));
    assert_eq!(world.processes.len(), 1);
    world.on(Event::Seen(world.newest(), seen(100, 5)));
    world.behave();
    assert_eq!(world.generation(), 2);
    world.on(Event::Seen(world.newest(), seen(1, 1 << 20)));
    world.behave();
    assert_eq!(world.generation(), 3);
    world.behave();
    world.behave();
    world.pass(secs(3600));
    world.behave();
    assert_eq!(world.generation(), 4);
    // Where it fails, it is not tried again at once.
    world.on(Event::Seen(world.newest(), seen(100, 5)));
    world.on(Event::Died(world.newest(), "crash".into()));
    world.on(Event::Seen(world.newest(), seen(100, 5)));
    assert_eq!(world.generation(), 4);
    assert!(world.machine.next.is_none());
}

#[test]
fn the_offline_file_and_a_stop_end_the_workers_and_their_ends_start_others() {
    let mut world = World::serve(rules());
    world.on(Event::Offline(true));
    assert_eq!(world.traffic, Traffic::Offline);
    world.behave();
    world.behave();
    assert_eq!(
        (world.machine.state(), world.processes.len()),
        (State::Stopped, 0)
    );
    world.on(Event::Offline(false));
    world.behave();
    assert_eq!(world.machine.state(), State::Running);
    world.on(Event::Stop);
    assert_eq!(
        (&world.traffic, world.machine.state()),
        (&Traffic::Stopped, State::Stopping)
    );
    world.behave();
    world.behave();
    assert_eq!(world.machine.state(), State::Stopped);
    world.on(Event::Wanted);
    assert!(world.processes.is_empty());
    world.on(Event::Start);
    world.on(Event::Wanted);
    world.behave();
    assert_eq!(world.machine.state(), State::Running);
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Wanted,
    Ready(usize),
    Died(usize),
    Unresponsive(usize),
    Drained(usize),
    Seen(usize, u64),
    Recycle,
    Stop,
    Start,
    Reload(Rules),
    Offline(bool),
    Behave,
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let timeouts = (1u64..100, 1u64..100, prop::option::of(1u64..50));
    let failing = (prop::option::of(1usize..6), prop::option::of(1u64..100));
    let recycling = (prop::option::of(1u64..100), prop::option::of(1u64..100));
    (
        1usize..4,
        any::<(bool, bool)>(),
        timeouts,
        failing,
        recycling,
    )
        .prop_map(
            |(
                workers,
                (always, suspends),
                (startup, shutdown, idle),
                (max, probation),
                (time, requests),
            )| Rules {
                workers,
                always,
                startup_timeout: secs(startup),
                shutdown_timeout: secs(shutdown),
                idle_timeout: idle.map(secs),
                suspends,
                failures_max: max,
                failures_within: secs(60),
                probation: probation.map(secs),
                recycle_requests: requests,
                recycle_time: time.map(secs),
                recycle_memory: None,
            },
        )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0u64..40).prop_map(Step::Pass),
        3 => Just(Step::Wanted),
        4 => (0usize..8).prop_map(Step::Ready),
        2 => (0usize..8).prop_map(Step::Died),
        1 => (0usize..8).prop_map(Step::Unresponsive),
        2 => (0usize..8).prop_map(Step::Drained),
        2 => (0usize..8, 0u64..120).prop_map(|(at, requests)| Step::Seen(at, requests)),
        2 => Just(Step::Recycle),
        1 => Just(Step::Stop),
        1 => Just(Step::Start),
        1 => any_rules().prop_map(Step::Reload),
        1 => any::<bool>().prop_map(Step::Offline),
        2 => Just(Step::Behave),
    ];
    prop::collection::vec(step, 0..60)
}

impl World {
    fn step(&mut self, step: Step) {
        let ids = self.ids();
        let pick = |at: usize| ids.get(at % ids.len().max(1)).copied();
        let event = match step {
            Step::Pass(time) => return self.pass(secs(time)),
            Step::Behave => return self.behave(),
            Step::Wanted => Some(Event::Wanted),
            Step::Ready(at) => pick(at)
                .filter(|id| !self.processes[id].ready)
                .map(Event::Ready),
            Step::Died(at) => pick(at).map(|id| Event::Died(id, "crash".into())),
            Step::Unresponsive(at) => pick(at).map(|id| Event::Unresponsive(id, "hung".into())),
            Step::Drained(at) => {
                (pick(at).filter(|id| self.processes[id].draining)).map(Event::Drained)
            }
            Step::Seen(at, requests) => pick(at).map(|id| {
                let seen = Seen {
                    requests,
                    ..Seen::default()
                };
                Event::Seen(id, seen)
            }),
            Step::Recycle => Some(Event::Recycle(Why::Command)),
            Step::Stop => Some(Event::Stop),
            Step::Start => Some(Event::Start),
            Step::Reload(rules) => Some(Event::Reload(Box::new(rules))),
            Step::Offline(there) => Some(Event::Offline(there)),
        };
        if let Some(event) = event {
            self.on(event);
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_requests_go_to_ready_workers_of_one_generation(
        rules in any_rules(),
        steps in steps(),
    ) {
        let mut world = World::new(rules);
        for step in steps {
            world.step(step);
        }
    }

    #[test]
    fn whatever_happened_a_request_is_served_once_the_workers_behave(
        rules in any_rules(),
        steps in steps(),
    ) {
        let mut world = World::new(rules);
        for step in steps {
            world.step(step);
        }
        world.on(Event::Offline(false));
        world.on(Event::Start);
        world.on(Event::Wanted);
        // A failed start is followed by another within the longest pause, here without a second of idling.
        for _ in 0..20 {
            world.behave();
            if matches!(world.traffic, Traffic::To(_)) {
                return Ok(());
            }
            world.pass(Duration::from_millis(600));
            world.on(Event::Wanted);
        }
        prop_assert!(false, "nobody serves: {:?}", world.machine);
    }

    #[test]
    fn whatever_happened_nothing_is_left_at_the_end_even_of_workers_that_obey_nothing_but_sigkill(
        rules in any_rules(),
        steps in steps(),
    ) {
        let mut world = World::new(rules);
        for step in steps {
            world.step(step);
        }
        world.on(Event::End);
        world.pass(secs(11));
        for id in world.ids() {
            prop_assert!(world.processes[&id].killed, "{id:?} lives");
            world.on(Event::Died(id, "killed".into()));
        }
        prop_assert!(world.machine.is_over());
        prop_assert_eq!(world.machine.deadline(), None);
    }
}
