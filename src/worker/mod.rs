//! Workers: the processes of pools that own their application, as WAS owned w3wp.
//!
//! What is to be done is decided by a pure state machine with injected time ([`machine`]); the [`supervisor`] of a pool drives
//! it, by starting processes ([`launch`]), looking after them and telling whoever stands in front of them ([`Front`]) where new
//! requests go.

pub mod death;
mod front;
pub mod launch;
pub mod limits;
pub mod machine;
mod member;
pub mod output;
pub mod supervisor;
mod tally;

pub use front::{Asking, Direction, Front};
pub use member::{Member, Serving, Work};
pub use supervisor::{Desk, Parked, PoolView, Supervisor, WorkerView};
pub use tally::{Failure, PHASES, Tally};
