//! The reverse proxy.

pub mod config;
