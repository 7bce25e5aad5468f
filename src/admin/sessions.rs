//! Who is logged in at the dashboard of a loopback address. A browser cannot be given the token for each of its requests, so
//! it shows the token once, or a code that works once, and gets a session for it. All in memory: sessions end with the process.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

/// The sessions of one address.
#[derive(Default)]
pub(super) struct Sessions(Mutex<State>);

/// 256 random bits, in hexadecimal.
pub(super) type Secret = Zeroizing<String>;

#[derive(Default)]
struct State {
    /// Each with its end, the oldest first.
    sessions: VecDeque<(Secret, Instant)>,
    codes: VecDeque<(Secret, Instant)>,
    /// Until when the wrong attempts so far would last, were each of them to take [`ATTEMPT_EVERY`].
    attempts_until: Option<Instant>,
}

/// What somebody shows to be let in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shown<'a> {
    /// The token of the address.
    Token(&'a str),
    /// A code that `portunus dashboard` asked for.
    Code(&'a str),
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// What he shows is not right.
    Wrong,
    /// There were too many wrong attempts; he may try again after so long.
    TooMany(Duration),
    /// The system has no random bytes.
    NoRandomness,
}

impl Sessions {
    /// A code that works once, soon.
    pub(super) fn make_code(&self, now: Instant) -> Option<Secret> {
        let mut state = self.lock();
        let code = random()?;
        put(&mut state.codes, CODES_MAX, (code.clone(), now + CODE_LIFE));
        Some(code)
    }

    /// A new session for who shows what is right. `token`: what the token is.
    pub(super) fn log_in(
        &self,
        now: Instant,
        shown: Shown<'_>,
        token: &str,
    ) -> Result<Secret, Refused> {
        let mut state = self.lock();
        let until = state.attempts_until.unwrap_or(now).max(now);
        // Who guesses does not get further by guessing right once he has to wait: nobody learns which guess it was.
        let over = (until + ATTEMPT_EVERY).saturating_duration_since(now + ATTEMPTS_WAIT_MAX);
        if !over.is_zero() {
            return Err(Refused::TooMany(over));
        }
        let is_right = match shown {
            Shown::Token(shown) => are_equal(shown, token),
            Shown::Code(shown) => take(&mut state.codes, now, shown),
        };
        if !is_right {
            state.attempts_until = Some(until + ATTEMPT_EVERY);
            return Err(Refused::Wrong);
        }
        let session = random().ok_or(Refused::NoRandomness)?;
        let entry = (session.clone(), now + SESSION_LIFE);
        put(&mut state.sessions, SESSIONS_MAX, entry);
        Ok(session)
    }

    /// Whether a session stands.
    pub(super) fn has(&self, now: Instant, session: &str) -> bool {
        // All are compared, whichever it is: how long it takes says nothing.
        let found = self.lock();
        let all = found.sessions.iter();
        all.fold(false, |has, (known, until)| {
            has | (are_equal(known, session) & (*until > now))
        })
    }

    /// Ends a session.
    pub(super) fn log_out(&self, session: &str) {
        let mut state = self.lock();
        (state.sessions).retain(|(known, _)| !are_equal(known, session));
    }

    /// Nothing is left half done under this lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn put(all: &mut VecDeque<(Secret, Instant)>, max: usize, entry: (Secret, Instant)) {
    if all.len() >= max {
        all.pop_front();
    }
    all.push_back(entry);
}

/// Whether a code is good, which it then is no more.
fn take(codes: &mut VecDeque<(Secret, Instant)>, now: Instant, shown: &str) -> bool {
    codes.retain(|(_, until)| *until > now);
    let good = codes.len();
    codes.retain(|(known, _)| !are_equal(known, shown));
    codes.len() < good
}

/// In constant time: how long it takes says nothing of where the first difference is.
pub(super) fn are_equal(one: &str, other: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

fn random() -> Option<Secret> {
    let mut bytes = Zeroizing::new([0; 32]);
    aws_lc_rs::rand::fill(&mut *bytes).ok()?;
    Some(Zeroizing::new(
        bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    ))
}

/// More browsers than an administrator has; the oldest is logged out.
pub(super) const SESSIONS_MAX: usize = 16;
/// A working day and its evening.
pub(super) const SESSION_LIFE: Duration = Duration::from_secs(12 * 3600);
/// Codes that wait to be used; the oldest is forgotten.
const CODES_MAX: usize = 16;
/// From the command to the browser.
pub(super) const CODE_LIFE: Duration = Duration::from_secs(60);
/// One wrong attempt in so long,
const ATTEMPT_EVERY: Duration = Duration::from_secs(2);
/// and five at once.
const ATTEMPTS_WAIT_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_session_is_had_for_the_token_and_ends_after_its_time() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let mine = sessions.log_in(start, Shown::Token(TOKEN), TOKEN);
        let mine = mine.expect("the token is right");
        assert_ne!(*mine, TOKEN);
        assert!(sessions.has(start, &mine));
        assert!(!sessions.has(start, ""));
        assert!(!sessions.has(start, TOKEN));
        assert!(!sessions.has(start + SESSION_LIFE, &mine));
        sessions.log_out(&mine);
        assert!(!sessions.has(start, &mine));
    }

    #[test]
    fn a_code_works_once_and_soon() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let code = sessions.make_code(start).expect("a code");
        let try_at = |at| sessions.log_in(at, Shown::Code(&code), TOKEN);
        let used = try_at(start + CODE_LIFE - Duration::from_secs(1));
        assert!(used.is_ok());
        let again = try_at(start + CODE_LIFE - Duration::from_secs(1));
        assert_eq!(again.err(), Some(Refused::Wrong));
        let late = sessions.make_code(start).expect("a code");
        let late = sessions.log_in(start + CODE_LIFE, Shown::Code(&late), TOKEN);
        assert_eq!(late.err(), Some(Refused::Wrong));
        // The token is no code, nor a code the token.
        let other = sessions.log_in(start + CODE_LIFE, Shown::Code(TOKEN), TOKEN);
        assert_eq!(other.err(), Some(Refused::Wrong));
    }

    #[test]
    fn who_guesses_is_slowed_down_whatever_he_guesses() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        for _ in 0..5 {
            let guess = sessions.log_in(start, Shown::Token("no"), TOKEN);
            assert_eq!(guess.err(), Some(Refused::Wrong));
        }
        let right = sessions.log_in(start, Shown::Token(TOKEN), TOKEN);
        assert_eq!(right.err(), Some(Refused::TooMany(ATTEMPT_EVERY)));
        let later = start + ATTEMPT_EVERY;
        assert!(sessions.log_in(later, Shown::Token(TOKEN), TOKEN).is_ok());
    }

    #[test]
    fn there_are_no_more_sessions_than_may_be() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let all: Vec<_> = (0..=SESSIONS_MAX)
            .map(|_| sessions.log_in(start, Shown::Token(TOKEN), TOKEN))
            .map(|session| session.expect("the token is right"))
            .collect();
        assert!(!sessions.has(start, &all[0]));
        assert!(all[1..].iter().all(|it| sessions.has(start, it)));
    }
}
