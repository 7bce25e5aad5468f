//! The `portunus` binary: everything is in the library.

use std::process::ExitCode;

/// Measured against the system's allocator on small requests: fewer instructions, and memory that comes back after a peak.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    portunus::cli::main()
}
