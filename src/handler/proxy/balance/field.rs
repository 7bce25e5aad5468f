//! The upstreams as one request may choose among them: who of them may take it at all.

use super::Balancer;
use super::standing::{Age, Mode};
use super::turns::Choices;

/// The upstreams as one request may choose among them.
pub(super) struct Field<'a> {
    balancer: &'a Balancer,
    sent_to: &'a [usize],
    tier: Tier,
    now: Age,
    /// The request was sent to every one that may take it.
    pub(super) exhausted: bool,
}

/// From whom is chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tier {
    /// Usable ones that are no backups.
    Primaries,
    /// Usable backups.
    Backups,
    /// All that are no backups, usable or not: too few are left, or none.
    Anyone,
}

impl<'a> Field<'a> {
    pub(super) fn new(balancer: &'a Balancer, sent_to: &'a [usize], now: Age) -> Self {
        let mut field = Self {
            balancer,
            sent_to,
            tier: Tier::Primaries,
            now,
            exhausted: false,
        };
        if sent_to.is_empty() && !balancer.board.is_troubled() && balancer.has_primaries() {
            return field;
        }
        field.tier = field.tier_of(sent_to);
        field.exhausted = !sent_to.is_empty() && !field.any_allowed();
        if field.exhausted {
            // All were asked: again, then.
            field.sent_to = &[];
            field.tier = field.tier_of(&[]);
        }
        field
    }

    fn tier_of(&self, sent_to: &[usize]) -> Tier {
        let members = &self.balancer.config.members;
        let (mut all, mut usable, mut left, mut backups) = (0, 0, 0, 0);
        for (index, member) in members.iter().enumerate().filter(|(_, it)| it.weight > 0) {
            let is_usable = self.balancer.board.is_usable(index);
            let is_left = is_usable && !sent_to.contains(&index);
            if member.backup {
                backups += usize::from(is_left);
            } else {
                all += 1;
                usable += usize::from(is_usable);
                left += usize::from(is_left);
            }
        }
        let panic = usable * 100 < all * usize::from(self.balancer.config.panic_below);
        match (usable, left, backups) {
            (1.., _, _) if panic => Tier::Anyone,
            (_, 1.., _) => Tier::Primaries,
            (_, _, 1..) => Tier::Backups,
            (0, _, _) => Tier::Anyone,
            // The request was sent to all that are usable; those that are not would not help it.
            _ => Tier::Primaries,
        }
    }

    fn any_allowed(&self) -> bool {
        (0..self.count()).any(|index| self.is_allowed(index))
    }

    /// Whether the request may go there, if there is room.
    pub(super) fn is_allowed(&self, index: usize) -> bool {
        let member = &self.balancer.config.members[index];
        let board = &self.balancer.board;
        let of_tier = match self.tier {
            Tier::Primaries => !member.backup && board.is_usable(index),
            Tier::Backups => member.backup && board.is_usable(index),
            Tier::Anyone => !member.backup,
        };
        of_tier
            && (member.weight > 0 || self.tier == Tier::Anyone)
            && !self.sent_to.contains(&index)
    }

    /// Whether its time to be tried has come.
    pub(super) fn is_due(&self, index: usize) -> bool {
        let member = &self.balancer.config.members[index];
        let due =
            matches!(self.balancer.board.mode(index), Mode::Ejected(until) if until <= self.now);
        due && !member.backup
            && member.weight > 0
            && !self.sent_to.contains(&index)
            && self.has_room(index)
    }

    fn has_room(&self, index: usize) -> bool {
        !self.balancer.limited
            || (self.balancer.slots.as_ref()).is_none_or(|slots| slots.has_room(index))
    }
}

impl Choices for Field<'_> {
    fn count(&self) -> usize {
        self.balancer.config.members.len()
    }

    fn is_open(&self, index: usize) -> bool {
        self.is_allowed(index) && self.has_room(index)
    }

    fn weight(&self, index: usize) -> u64 {
        let weight = u64::from(self.balancer.config.members[index].weight).max(1);
        weight * self.balancer.board.warmth(index, self.now)
    }

    fn load(&self, index: usize) -> u64 {
        let slots = self.balancer.slots.as_ref();
        slots.map_or(0, |slots| u64::from(slots.running(index)))
    }
}
