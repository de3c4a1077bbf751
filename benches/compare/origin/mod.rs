//! The origin of all events: a process of its own, so that its cost can be
//! told from the load client's. Told what to do line by line on its standard
//! input; it ends when that does.

mod command;
mod connection;
mod feed;
mod handle;
mod publisher;
mod server;

pub(crate) use handle::Origin;
pub(crate) use server::serve;

/// The argument by which this executable becomes the origin.
pub(crate) const ARGUMENT: &str = "__origin";
