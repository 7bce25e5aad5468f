//! What is watched, and what is made of it.
