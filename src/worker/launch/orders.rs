//! What Portunus, the keeper and the worker-to-be say to each other.

/// What a worker's order may have in all, in bytes: it goes through one variable of an environment, for which the kernel has
/// room of 128 KiB.
pub(super) const ORDER_MAX: usize = 96 << 10;
