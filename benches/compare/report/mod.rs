//! Results for people.

mod terminal;

pub(crate) use terminal::{line, print};
