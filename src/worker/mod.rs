//! Workers: the processes of pools that own their application, as WAS owned w3wp.
//!
//! What is to be done is decided by a pure state machine with injected time ([`machine`]).

pub mod death;
pub mod launch;
pub mod machine;
pub mod output;
