//! The log: an obvious model beside it, and what the model cannot say.

mod memory;
mod model;
mod support;
mod wakes;
