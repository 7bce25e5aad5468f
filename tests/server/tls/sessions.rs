//! What a handshake agrees on, and sessions that are resumed.
