//! What workers say.
