//! Workers: the processes of pools that own their application, as WAS owned w3wp.

pub mod death;
pub mod launch;
pub mod output;
