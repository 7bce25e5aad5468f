//! Connection ids that name their thread.

use std::time::Duration;

use quinn::{ConnectionId, ConnectionIdGenerator};
use quinn_proto::{InvalidCid, RandomConnectionIdGenerator};

/// Ids whose first byte is the thread's index; the rest is random, so that two of one connection cannot be told to be.
pub(super) struct ThreadIds {
    index: u8,
    random: RandomConnectionIdGenerator,
}

impl ThreadIds {
    /// The ids of one thread. Threads beyond what a byte can name have no UDP socket.
    pub(super) fn new(index: usize) -> Self {
        Self {
            index: u8::try_from(index).unwrap_or(u8::MAX),
            random: RandomConnectionIdGenerator::new(ID_BYTES),
        }
    }
}

impl ConnectionIdGenerator for ThreadIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&self.random.generate_cid());
        id[0] = self.index;
        ConnectionId::new(&id)
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        if id.len() == ID_BYTES && id[0] == self.index {
            Ok(())
        } else {
            Err(InvalidCid)
        }
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Nine: eight of chance beside the index, as many as quinn's own have.
const ID_BYTES: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_its_thread_and_no_other_thread_takes_it_for_its_own() {
        let (mut mine, other) = (ThreadIds::new(3), ThreadIds::new(4));
        let (a, b) = (mine.generate_cid(), mine.generate_cid());
        assert_eq!((a[0], a.len()), (3, mine.cid_len()));
        assert_ne!(a, b);
        assert!(mine.validate(&a).is_ok());
        assert!(other.validate(&a).is_err());
    }
}
