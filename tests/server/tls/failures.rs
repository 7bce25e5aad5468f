//! Handshakes that fail: what the client is told, and the one line that the operator is told.
