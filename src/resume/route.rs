//! What is the same for every request of a route.

use std::sync::Arc;

use super::engine::Engine;
use super::settings::Settings;
use crate::observe::Observer;

/// What a layer and its services share.
#[derive(Clone)]
pub(super) struct Route {
    pub(super) number: u64,
    pub(super) settings: Settings,
    pub(super) engine: Engine,
    pub(super) observer: Arc<dyn Observer>,
}
