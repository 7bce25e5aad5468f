//! Which upstream a request goes to, and what its end says of the upstream.
//!
//! With all upstreams well and alike, and none of the keys set, a request costs a look at one word that all threads share and
//! nobody writes, and a step of its own thread's turn. Everything else is looked at only where it is configured or something
//! is amiss.
//!
//! ```text
//! Wish ─► choose ─► Chosen ─► the exchange ─► answered | failed ─► retry? ─► choose …
//!           │ every one is full: slots::wait
//! ```

mod board;
mod budget;
mod chosen;
mod field;
mod keyed;
mod outlook;
mod ring;
mod slots;
mod standing;
mod sticky;
mod tally;
mod turns;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::SET_COOKIE;
use http::{HeaderMap, Response};

use self::board::Board;
use self::budget::Budget;
pub(super) use self::chosen::{Chosen, is_upstreams};
use self::field::Field;
use self::keyed::Keyed;
pub(super) use self::outlook::Unwell;
pub use self::outlook::{UpstreamFailure, UpstreamState};
use self::ring::Ring;
use self::slots::{Held, Slots};
use self::standing::Answers;
pub use self::sticky::{Said, Sticky};
use self::tally::Tally;
use self::turns::{Chance, Choices, Smooth, least, two};
use crate::config::{self, HashBy, Policy};
use crate::model::{Facts, PerThread, Reason, Refusal, Scheme};

/// Chooses upstreams, and learns from what becomes of requests.
pub(super) struct Balancer {
    config: config::Balance,
    board: Arc<Board>,
    /// For policies and limits that look at what upstreams work on.
    slots: Option<Arc<Slots>>,
    limited: bool,
    ring: Option<Ring>,
    sticky: Option<Keyed>,
    /// All upstreams are alike and taken in turn: no more than a number is needed while all are well.
    plain: bool,
    threads: Arc<PerThread<Mine>>,
}

/// What each data thread has for itself.
struct Mine {
    turn: AtomicUsize,
    smooth: Smooth,
    chance: Chance,
    budget: Budget,
    hedges: Budget,
    tallies: Box<[Tally]>,
    board: OwnBoard,
}

/// A thread's own pointer to the board.
#[derive(Clone)]
#[expect(
    clippy::redundant_allocation,
    reason = "the outer count is the thread's own; the inner one is shared, and never touched by a request"
)]
struct OwnBoard(Arc<Arc<Board>>);

/// What a request says of where it wants to go.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wish {
    /// What is alike in this goes to the same upstream.
    key: Option<u64>,
    /// What its cookie says.
    stays: Option<Said>,
    /// It may be sent again, so that it may find out whether an upstream works.
    pub(super) repeatable: bool,
    secure: bool,
}

impl Wish {
    /// Whether its client is to stay with one upstream.
    pub(super) fn is_bound(&self) -> bool {
        self.stays.is_some()
    }
}

/// Every upstream that would do works on as much as it may.
pub(super) struct Full {
    only: Option<usize>,
    first: usize,
}

impl Balancer {
    /// For upstreams of these names, and `threads` data threads.
    pub(super) fn new(
        config: &config::Balance,
        names: Vec<String>,
        threads: usize,
    ) -> io::Result<Self> {
        let mut balance = config.clone();
        balance
            .members
            .resize(names.len(), config::Member::default());
        let members = &balance.members;
        let counts = members.iter().map(|member| member.weight > 0);
        let board = Arc::new(Board::new(names.iter().cloned().zip(counts), &balance));
        let limited = members
            .iter()
            .any(|member| member.max_connections.is_some());
        let by_load = matches!(balance.policy, Policy::LeastRequests | Policy::PowerOfTwo);
        // Backups have no place on the ring: they are taken in turn, when their time comes.
        let weights = members
            .iter()
            .map(|it| if it.backup { 0 } else { it.weight });
        let ring = matches!(balance.policy, Policy::Hash(_))
            .then(|| Ring::new(names.iter().map(String::as_str).zip(weights)));
        let alike = members.iter().all(|it| *it == config::Member::default());
        let sticky = balance
            .sticky
            .as_ref()
            .map(|config| Keyed::new(config, &names));
        let mine = |thread| Mine {
            turn: AtomicUsize::new(thread),
            smooth: Smooth::new(thread, names.len()),
            chance: Chance::new(seed(thread)),
            budget: Budget::new(balance.retry.budget),
            hedges: Budget::paid_for(balance.hedge.map_or(0, |hedge| hedge.max_share)),
            tallies: names.iter().map(|_| Tally::default()).collect(),
            board: OwnBoard(Arc::new(Arc::clone(&board))),
        };
        Ok(Self {
            slots: (limited || by_load).then(|| Slots::new(Arc::clone(&board), &balance)),
            limited,
            ring,
            sticky: sticky.transpose()?,
            plain: alike && balance.policy == Policy::RoundRobin,
            threads: Arc::new(PerThread::new(threads, mine)),
            board,
            config: balance,
        })
    }

    /// Reads and makes cookies. The first who asks has the key read, or made: that is the user that serves, and never whoever
    /// only checks a configuration.
    pub(super) fn sticky(&self) -> Option<&Sticky> {
        self.sticky.as_ref().map(Keyed::get)
    }

    /// What a request says of where it wants to go.
    pub(super) fn wish(&self, headers: &HeaderMap, facts: &Facts) -> Wish {
        let mut wish = Wish::default();
        if let Policy::Hash(by) = &self.config.policy {
            wish.key = key(by, headers, facts);
        }
        if let Some(sticky) = self.sticky() {
            wish.stays = sticky.read(headers, unix_now());
            wish.secure = facts.scheme() == Scheme::Https;
        }
        wish
    }

    /// Chooses an upstream for a request that was sent nowhere yet.
    pub(super) fn choose(&self, wish: &Wish) -> Result<Chosen<'_>, Full> {
        let mine = self.threads.mine();
        mine.budget.request();
        if self.plain && !self.board.is_troubled() && wish.stays.is_none() {
            let turn = mine.turn.load(Relaxed);
            mine.turn.store(turn.wrapping_add(1), Relaxed);
            return Ok(self.chosen(turn % self.config.members.len().max(1), false, None));
        }
        self.choose_but(wish, &[])
    }

    /// Chooses an upstream for a request that was sent to these already: another one if there is any.
    pub(super) fn choose_but(&self, wish: &Wish, sent_to: &[usize]) -> Result<Chosen<'_>, Full> {
        // Somebody else may take the slot that was seen free; then it is seen taken the next time.
        for _ in 0..CHOICES_MAX {
            let (upstream, trying) = self.pick(wish, sent_to)?;
            let Some(slots) = &self.slots else {
                return Ok(self.chosen(upstream, trying, None));
            };
            if let Some(held) = slots.take(upstream) {
                return Ok(self.chosen(upstream, trying, Some(held)));
            }
            if trying {
                self.board.not_tried(upstream);
            }
        }
        Err(Full {
            only: None,
            first: 0,
        })
    }

    /// Waits until an upstream may work on more.
    pub(super) async fn wait(&self, full: Full) -> Result<Chosen<'_>, Refusal> {
        let Some(slots) = &self.slots else {
            return Err(Refusal::new(
                Reason::Internal,
                "nothing is counted, and something is full",
            ));
        };
        let held = slots.wait(full.only, self.board.name(full.first)).await?;
        Ok(self.chosen(held.upstream, false, Some(held)))
    }

    fn chosen(&self, upstream: usize, trying: bool, held: Option<Held>) -> Chosen<'_> {
        Chosen {
            balancer: self,
            upstream,
            trying,
            held,
        }
    }

    /// The upstream by cookie, one whose time to be tried has come, or one by the policy; and whether it is being tried.
    fn pick(&self, wish: &Wish, sent_to: &[usize]) -> Result<(usize, bool), Full> {
        let now = self.board.now();
        if let Some(said) = wish.stays
            && !sent_to.contains(&said.upstream)
        {
            let upstream = said.upstream;
            let trying = wish.repeatable && self.board.try_again(upstream, now);
            if trying || self.board.is_usable(upstream) {
                return self.if_room(upstream, trying);
            }
        }
        let field = Field::new(self, sent_to, now);
        let hashed = self.ring.as_ref().zip(wish.key);
        if let Some((ring, key)) = hashed {
            let owner = ring.find(key, |it| {
                field.is_allowed(it) || (wish.repeatable && field.is_due(it))
            });
            if let Some(owner) = owner {
                let trying = wish.repeatable && self.board.try_again(owner, now);
                if trying || field.is_allowed(owner) {
                    // Whoever is to stay with one waits for it.
                    return self.if_room(owner, trying);
                }
            }
            if let Some(owner) = ring.find(key, |it| field.is_allowed(it)) {
                return self.if_room(owner, false);
            }
        } else if wish.repeatable
            && self.board.is_troubled()
            && let Some(due) = (0..field.count()).find(|it| field.is_due(*it))
            && self.board.try_again(due, now)
        {
            return Ok((due, true));
        }
        let mine = self.threads.mine();
        let chosen = match &self.config.policy {
            Policy::LeastRequests => least(&field, mine.turn.fetch_add(1, Relaxed)),
            Policy::PowerOfTwo => two(&field, || mine.chance.next()),
            Policy::RoundRobin | Policy::Hash(_) => mine.smooth.next(&field),
        };
        chosen.map(|chosen| (chosen, false)).ok_or_else(|| Full {
            only: None,
            first: (0..field.count())
                .find(|it| field.is_allowed(*it))
                .unwrap_or(0),
        })
    }

    fn if_room(&self, upstream: usize, trying: bool) -> Result<(usize, bool), Full> {
        let has_room = self
            .slots
            .as_ref()
            .is_none_or(|slots| slots.has_room(upstream));
        if has_room {
            return Ok((upstream, trying));
        }
        if trying {
            self.board.not_tried(upstream);
        }
        Err(Full {
            only: Some(upstream),
            first: upstream,
        })
    }

    /// Whether a request may be sent once more, after `attempts` times: what it costs is taken from the budget.
    pub(super) fn may_retry(&self, attempts: u32) -> bool {
        attempts < self.config.retry.attempts && self.threads.mine().budget.retry(self.board.now())
    }

    /// Whether a request may wait for an upstream that began to fail a moment ago, and be sent there again. A process that is
    /// restarted is back soon; one that stays away makes nobody wait.
    pub(super) fn may_wait(&self, upstream: usize) -> bool {
        self.board.failing_for(upstream) < self.config.retry.wait
    }

    /// After how long a second upstream may be asked, if at all.
    pub(super) fn hedge_after(&self) -> Option<Duration> {
        let hedge = self.config.hedge?;
        self.threads.mine().hedges.request();
        Some(hedge.after)
    }

    /// Another upstream than this one to be asked beside it, if there is any that has room, and the share is not used up.
    pub(super) fn choose_beside(&self, wish: &Wish, upstream: usize) -> Option<Chosen<'_>> {
        let sent_to = [upstream];
        if !self.has_other(&sent_to) || !self.threads.mine().hedges.retry(Duration::ZERO) {
            return None;
        }
        // It is asked for itself, and finds out nothing for others.
        let wish = Wish {
            repeatable: false,
            stays: None,
            ..*wish
        };
        self.choose_but(&wish, &sent_to).ok()
    }

    /// How much content is read beforehand, so that it can be sent again.
    pub(super) fn buffer_body(&self) -> usize {
        self.config.buffer_body
    }

    /// When a request is sent again.
    pub(super) fn retry_rules(&self) -> &config::Retry {
        &self.config.retry
    }

    /// Whether an upstream is there that the request was not sent to and that may take it.
    pub(super) fn has_other(&self, sent_to: &[usize]) -> bool {
        let field = Field::new(self, sent_to, self.board.now());
        !field.exhausted
    }

    /// A check of its health came out so.
    pub(super) fn checked(
        &self,
        upstream: usize,
        outcome: Result<(), &Unwell>,
        rules: &config::Health,
    ) {
        if self.board.checked(upstream, outcome, rules) {
            self.let_in();
        }
    }

    /// A number of which any is as likely; for others than data threads.
    pub(super) fn random(&self) -> u64 {
        seed(0)
    }

    /// What is written on a response that an upstream gave: its cookie, where the client has none of it.
    pub(super) fn mark<B>(&self, response: &mut Response<B>, upstream: usize, wish: &Wish) {
        if let Some(sticky) = self.sticky()
            && wish
                .stays
                .is_none_or(|said| said.aging || said.upstream != upstream)
        {
            let cookie = sticky.issue(upstream, unix_now(), wish.secure);
            response.headers_mut().append(SET_COOKIE, cookie);
        }
    }

    /// As the configuration writes it.
    pub(super) fn name(&self, upstream: usize) -> &str {
        self.board.name(upstream)
    }

    fn answers(&self, upstream: usize) -> Answers {
        let mut answers = Answers::default();
        for mine in self.threads.iter() {
            let (all, errors) = mine.tallies[upstream].answers();
            answers.all += all;
            answers.errors += errors;
        }
        answers
    }

    /// An upstream is back: those who wait may go there.
    fn let_in(&self) {
        if let Some(slots) = &self.slots {
            slots.hand_on();
        }
    }

    /// Whether any upstream that is no backup takes new clients.
    fn has_primaries(&self) -> bool {
        let mut members = self.config.members.iter();
        members.any(|member| !member.backup && member.weight > 0)
    }
}

/// What a request's upstream is found by; none where the request does not have it.
fn key(by: &HashBy, headers: &HeaderMap, facts: &Facts) -> Option<u64> {
    match by {
        HashBy::Client => Some(match facts.client().ip() {
            std::net::IpAddr::V4(ip) => ring::hash(&ip.octets()),
            // A client changes its address within its network as it likes.
            std::net::IpAddr::V6(ip) => ring::hash(&ip.octets()[..8]),
        }),
        HashBy::Path => Some(ring::hash(facts.path.as_str().as_bytes())),
        HashBy::Field(name) => headers.get(name).map(|value| ring::hash(value.as_bytes())),
        HashBy::Cookie(name) => sticky::cookies(headers)
            .find(|(known, _)| known == name)
            .map(|(_, value)| ring::hash(value.as_bytes())),
    }
}

/// No secret hangs on it: the time is chance enough, and each thread takes another one.
fn seed(thread: usize) -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    u64::from(now.subsec_nanos()) ^ ring::mix(thread as u64 + 1)
}

/// Seconds since 1970.
fn unix_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

/// Choices that are made before a request waits: each lost means that somebody else got a slot.
const CHOICES_MAX: usize = 8;

#[cfg(test)]
mod tests;
