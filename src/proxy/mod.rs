//! The reverse proxy.

pub mod config;

pub use config::{Config, ConfigError};
