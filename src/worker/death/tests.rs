//! The sentences of a death.

use super::*;

fn death(cause: Cause) -> Death {
    Death {
        cause,
        by_us: None,
        age: Duration::from_millis(90_500),
        left: 0,
        last_line: None,
    }
}

#[test]
fn each_death_has_its_sentence() {
    let segfault = Cause::Signalled {
        signal: 11,
        core: true,
    };
    let term = Cause::Signalled {
        signal: 15,
        core: false,
    };
    let kill = Cause::Signalled {
        signal: 9,
        core: false,
    };
    let by = |by_us, cause| Death {
        by_us: Some(by_us),
        ..death(cause)
    };
    let said = Death {
        left: 3,
        last_line: Some("KeyError: \"x\"".to_owned()),
        ..death(Cause::Exited(1))
    };
    let sentences = [
        death(Cause::Exited(0)),
        said,
        death(segfault),
        death(kill),
        death(Cause::Signalled {
            signal: 40,
            core: false,
        }),
        death(Cause::OutOfMemory(MemoryLimit::Group(512 << 20))),
        death(Cause::OutOfMemory(MemoryLimit::Watched(1_500_000_000))),
        death(Cause::OutOfMemory(MemoryLimit::Machine)),
        death(Cause::OutOfCpu(150)),
        death(Cause::Unknown),
        by(ByUs::Terminated, Cause::Exited(0)),
        by(ByUs::Terminated, term),
        by(ByUs::Terminated, Cause::Exited(143)),
        by(ByUs::Terminated, segfault),
        by(ByUs::Killed, kill),
        by(ByUs::Killed, Cause::Exited(0)),
    ];
    let text: Vec<_> = sentences.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn what_we_did_for_a_limit_nobody_asked_for() {
    let killed = Death {
        by_us: Some(ByUs::Killed),
        ..death(Cause::OutOfMemory(MemoryLimit::Watched(1)))
    };
    assert!(!killed.is_asked_for());
    assert!(!death(Cause::Exited(0)).is_asked_for());
}
