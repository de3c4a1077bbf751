//! The reverse proxy.

pub mod arguments;
pub mod config;
pub mod demo;
pub mod logging;

pub use config::{Config, ConfigError};
