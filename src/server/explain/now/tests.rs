//! What a person is told of every state that a pool can be in.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use proptest::prelude::*;

use super::*;
use crate::config;
use crate::pool::admission::Limits;
use crate::pool::{Place, PoolState};
use crate::server::explain::{Step, render};

fn explanation() -> Explanation {
    Explanation {
        url: "https://www.shop.test/".into(),
        method: "GET".into(),
        steps: Vec::<Step>::new(),
        now: None,
        served: true,
        waits: None,
        refused: None,
        instead: None,
        pool: Some("shop".into()),
    }
}

/// A pool of five slots and a queue of ten, into which a request would come so.
fn standing(entry: Foreseen) -> Standing {
    let (running, waiting) = match entry {
        Foreseen::Admitted => (3, 0),
        _ => (5, 2),
    };
    Standing {
        state: "Running",
        prospect: Prospect {
            running,
            waiting,
            limits: Limits::new(5, 10),
            entry,
        },
        on_overflow: Overflow::Respond503,
        outlook: Ok(Outlook::Ready),
        upstreams: Vec::new(),
    }
}

fn waiting() -> Foreseen {
    Foreseen::Waiting {
        place: Place {
            position: 3,
            length: 10,
            running: 5,
        },
        timeout: Duration::from_secs(2),
    }
}

fn full() -> Foreseen {
    Foreseen::Refused(Refusal::new(Reason::QueueFull, "the pool's queue is full"))
}

/// An upstream that would be asked.
fn upstream(state: &'static str, failing: bool, reason: Option<Reason>) -> UpstreamState {
    let failure = |reason| UpstreamFailure {
        time: SystemTime::UNIX_EPOCH + Duration::from_secs(reason as u64),
        what: "it said \u{1b}no".into(),
        reason: Some(reason),
    };
    UpstreamState {
        name: "http://10.0.0.1".into(),
        state,
        failing,
        backup: false,
        takes: true,
        running: None,
        answers: 0,
        errors: 0,
        failures: 0,
        took: crate::report::metrics::Sum::default(),
        for_time: Duration::ZERO,
        last_failure: reason.map(failure),
    }
}

fn with(upstreams: Vec<UpstreamState>) -> Standing {
    Standing {
        upstreams,
        ..standing(Foreseen::Admitted)
    }
}

/// What is said last, and whether it is said to be served.
fn verdict(standing: &Standing) -> (String, bool) {
    let mut explanation = explanation();
    explanation.goes_on(standing);
    let text = render(&explanation);
    let last = text.lines().last().expect("a verdict");
    (last.to_owned(), explanation.served)
}

#[test]
fn what_a_pool_would_do_now_is_said_in_one_sentence() {
    let page = Standing {
        outlook: Ok(Outlook::Page(StatusCode::SERVICE_UNAVAILABLE)),
        ..standing(Foreseen::Admitted)
    };
    let no_room = Standing {
        outlook: Err(Refusal::new(Reason::QueueFull, "nobody has room")),
        ..standing(Foreseen::Admitted)
    };
    let no_room_and_waiting = Standing {
        outlook: Err(Refusal::new(Reason::QueueFull, "nobody has room")),
        ..standing(waiting())
    };
    let waits = Standing {
        outlook: Ok(Outlook::Waits),
        ..standing(Foreseen::Admitted)
    };
    let reset = Standing {
        on_overflow: Overflow::Reset,
        ..standing(full())
    };
    let in_queue =
        "It would wait in place 3 of 10 in its pool's queue, for up to 2s, and then be served.";
    for (standing, said, served) in [
        (standing(Foreseen::Admitted), "It would be served.", true),
        (standing(waiting()), in_queue, true),
        (
            standing(full()),
            "It would be refused: 503, QueueFull: the pool's queue is full",
            false,
        ),
        (
            reset,
            "It would be refused: QueueFull: the pool's queue is full; the client sees a reset, as on_overflow says",
            false,
        ),
        (
            page,
            "It would be answered with 503: a page is shown in place of the application",
            false,
        ),
        (
            waits,
            "It would wait until an upstream may work on more, and then be served.",
            true,
        ),
        (
            no_room,
            "It would be refused: 503, QueueFull: nobody has room",
            false,
        ),
        // Until it has a slot, upstreams may well have room.
        (no_room_and_waiting, in_queue, true),
    ] {
        assert_eq!(verdict(&standing), (said.to_owned(), served));
    }
}

#[test]
fn every_state_of_a_pool_is_told_with_the_reason_of_its_gate() {
    let states = [
        (PoolState::Started, "It would be served.", true),
        (
            PoolState::Starting,
            "It would wait in place 1 of 10 in its pool's queue, for up to 2s, and then be served.",
            true,
        ),
        (
            PoolState::Stopped,
            "It would be refused: 503, AppShutdown: the pool is stopped",
            false,
        ),
        (
            PoolState::Disabled,
            "It would be refused: 503, Disabled: an administrator has switched the pool off",
            false,
        ),
        (
            PoolState::Offline,
            "It would be refused: 503, AppOffline: the pool's application keeps failing",
            false,
        ),
    ];
    let config = config::Pool {
        name: "shop".into(),
        queue_length: 10,
        concurrency: 5,
        queue_timeout: Duration::from_secs(2),
        on_overflow: Overflow::Respond503,
        handler: config::Handler::Library,
        place: config::Place::default(),
    };
    let handler = std::sync::Arc::new(Nothing);
    let pool = Pool::new(&config, handler, 1);
    for (state, said, served) in states {
        pool.set_state(state);
        let standing = Standing::of(&pool, "as it is called");
        assert_eq!(verdict(&standing), (said.to_owned(), served), "{state:?}");
    }
    assert_eq!(pool.counts(), crate::pool::Counts::default());
}

struct Nothing;

impl crate::handler::Handler for Nothing {
    fn handle<'a>(
        &'a self,
        _: http::Request<crate::model::Body>,
        _: &'a crate::model::Facts,
    ) -> crate::handler::Reply<'a> {
        let detail = "nobody is to ask";
        crate::handler::Reply::Now(Err(Refusal::new(Reason::Internal, detail)))
    }
}

#[test]
fn upstreams_that_all_fail_are_told_by_how_the_last_one_did() {
    let connect = || upstream("up", true, Some(Reason::UpstreamConnect));
    let timeout = || upstream("down", false, Some(Reason::UpstreamTimeout));
    // The number of a reason is the time of its failure here.
    let latest = match Reason::UpstreamTimeout as u64 > Reason::UpstreamConnect as u64 {
        true => "504, Upstream_Timeout",
        false => "502, Upstream_Connect",
    };
    let (said, _) = verdict(&with(vec![connect(), timeout()]));
    assert!(said.contains(latest), "{said}");
    let (said, served) = verdict(&with(vec![connect()]));
    assert!(!served);
    assert!(
        said.starts_with("It would most likely be refused: 502, Upstream_Connect: every upstream"),
        "{said}"
    );
    let backup = UpstreamState {
        takes: false,
        ..upstream("up", false, None)
    };
    assert!(!verdict(&with(vec![connect(), backup])).1);

    // One that answers, well or not, or has not been asked since it failed, is no reason to say so.
    for upstreams in [
        vec![connect(), upstream("up", false, None)],
        vec![upstream("up", false, Some(Reason::UpstreamConnect))],
        vec![upstream("warming", false, Some(Reason::UpstreamConnect))],
        vec![upstream("down", false, None)],
        vec![UpstreamState {
            last_failure: Some(UpstreamFailure {
                time: SystemTime::now(),
                what: "50% of its answers or more were 5xx".into(),
                reason: None,
            }),
            ..upstream("ejected", true, None)
        }],
    ] {
        assert!(verdict(&with(upstreams.clone())).1, "{upstreams:?}");
    }
}

#[test]
fn what_is_told_of_a_pool_that_stands_badly() {
    let backup = UpstreamState {
        backup: true,
        takes: false,
        ..upstream("up", false, None)
    };
    let mut explanation = explanation();
    explanation.goes_on(&with(vec![
        upstream("down", true, Some(Reason::UpstreamConnect)),
        backup,
    ]));
    insta::assert_snapshot!(render(&explanation).replace('\u{1b}', "ESC"));
}

fn any_upstream() -> impl Strategy<Value = UpstreamState> {
    let states = ["up", "warming", "ejected", "trying", "down", "draining"];
    let reasons = [
        None,
        Some(Reason::UpstreamConnect),
        Some(Reason::UpstreamTimeout),
        Some(Reason::UpstreamReset),
    ];
    let parts = (
        prop::sample::select(states.to_vec()),
        any::<bool>(),
        prop::sample::select(reasons.to_vec()),
        any::<bool>(),
    );
    parts.prop_map(|(state, failing, reason, takes)| UpstreamState {
        takes,
        ..upstream(state, failing, reason)
    })
}

proptest! {
    #[test]
    fn an_outcome_is_exactly_one_and_survives_the_way_to_the_command(
        entry in 0..3_u8,
        outlook in 0..4_u8,
        upstreams in prop::collection::vec(any_upstream(), 0..30),
    ) {
        let entry = match entry {
            0 => Foreseen::Admitted,
            1 => waiting(),
            _ => full(),
        };
        let gate_refuses = matches!(entry, Foreseen::Refused(_));
        let outlook = match outlook {
            0 => Ok(Outlook::Ready),
            1 => Ok(Outlook::Waits),
            2 => Ok(Outlook::Page(StatusCode::SERVICE_UNAVAILABLE)),
            _ => Err(Refusal::new(Reason::QueueFull, "nobody has room")),
        };
        let mut explanation = explanation();
        let healthy = upstreams.iter().any(|it| it.takes && !it.failing && it.state != "down");
        explanation.goes_on(&Standing { outlook, upstreams, ..standing(entry) });
        let not_served = u8::from(explanation.refused.is_some()) + u8::from(explanation.instead.is_some());
        prop_assert_eq!(not_served, u8::from(!explanation.served));
        prop_assert!(explanation.waits.is_none() || explanation.served);
        // What the gate refuses is refused for that, whatever stands behind it; and one good upstream is enough.
        let likely = explanation.refused.as_ref().is_some_and(|it| it.likely);
        prop_assert!(!likely || (!gate_refuses && !healthy));
        prop_assert!(!gate_refuses || !explanation.served);
        let json = serde_json::to_string(&explanation).expect("JSON");
        let back: Explanation = serde_json::from_str(&json).expect("an explanation");
        prop_assert_eq!(render(&back), render(&explanation));
    }
}
