//! The life of a pool's workers, decided: events in, effects out. No clock, no process, no wait.
