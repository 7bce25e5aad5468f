//! The one place of unsafe code.
#![allow(
    unsafe_code,
    reason = "file descriptors that were handed over come as plain numbers"
)]

use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Takes the sockets that the service manager passed, once in the life of the process.
pub(super) fn take_passed(numbers: impl Iterator<Item = RawFd>) -> Vec<TcpListener> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Vec::new();
    }
    numbers
        .map(|number| {
            // SAFETY: the protocol of LISTEN_FDS gives these descriptors to this process alone, they are open, and the
            // flag above sees to it that nobody takes them twice.
            let owned = unsafe { OwnedFd::from_raw_fd(number) };
            TcpListener::from(owned)
        })
        .collect()
}
