# Every recipe of the house. CI calls these and nothing else.

# What there is.
[private]
default:
    @just --list --unsorted

# The server in the foreground, with the configuration of the repository.
run *ARGS='run':
    cargo run --release -- {{ ARGS }}

# Every test.
test *ARGS:
    cargo test {{ ARGS }}

# All that testssl finds of the default configuration; the tests run the parts of it that are quick.
testssl:
    cargo test --test server testssl -- --include-ignored

# Workers killed, stopped, broken and recycled at random under load.
chaos SECONDS='60':
    PORTUNUS_CHAOS_SECONDS={{ SECONDS }} cargo test --test server workers::chaos

# Form and clippy's findings; a warning is a fault.
lint:
    cargo fmt --all --check
    cargo clippy --all-targets -- -D warnings

# The documentation; a broken link is a fault.
doc:
    RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps --document-private-items

# Licences, advisories, duplicates and sources of what we depend on.
deny:
    .ci/deny

# Each fuzz target for some seconds, on the stable compiler.
fuzz-smoke SECONDS='5':
    fuzz/smoke {{ SECONDS }}

# Instruction counts of the hot paths, against what they were.
bench:
    cargo bench --bench instructions

# The whole server against nginx, HAProxy and bare hyper; `just bench-peers --quick` for a look.
bench-peers *ARGS:
    benches/peers/run {{ ARGS }}

# How long `show` and /metrics take of a server at its limit with 10,000 connections; `just bench-observe --quick` for a look.
bench-observe *ARGS:
    benches/observe/run {{ ARGS }}

# What CI runs.
ci:
    .ci/run
