//! The journal in Redis.

mod client;
mod journal;
mod keeper;
mod keys;
pub mod lease;
mod lock;
mod place;
mod replica;
mod scripts;
mod settings;
mod tail;

pub use self::journal::Redis;
pub use self::settings::{RedisSettings, Topology};
