//! The life of a stream: its session, its pump, and the registry of all.

mod session;
