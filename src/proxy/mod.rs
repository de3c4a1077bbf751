//! The reverse proxy.

pub mod config;
pub mod demo;

pub use config::{Config, ConfigError};
