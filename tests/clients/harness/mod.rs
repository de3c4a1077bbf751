//! What the scenarios are made of: child processes that report, the proxy, a
//! relay that can cut connections, and a backend that does as it is told.

mod canned;
mod process;
mod programs;
mod proxy;
mod relay;
mod scratch;
mod scripted;

use std::time::Duration;

pub(crate) use canned::{Canned, End, Plan};
pub(crate) use process::Process;
pub(crate) use programs::{browser, chromium, curl, node, port_to_return_to, python};
pub(crate) use proxy::{Proxy, Tls};
pub(crate) use relay::Relay;
pub(crate) use scratch::Scratch;
pub(crate) use scripted::Scripted;

/// Far beyond what any step takes on a busy machine: reached only when what is
/// awaited will never come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);
