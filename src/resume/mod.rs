//! The middleware.

pub mod settings;
