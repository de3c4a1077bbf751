//! `proxy.yaml`, read and checked.

pub mod model;
