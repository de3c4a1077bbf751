//! The life of a stream.

pub mod policy;
