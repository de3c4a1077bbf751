//! What a stream is found by.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::id::Epoch;
use crate::journal::Name;

/// What a stream is found by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// Its epoch, which clients bring back inside an id.
    Epoch(Epoch),
    /// What makes two requests the same, as bytes.
    Request(Box<[u8]>),
}

impl Key {
    /// What a journal calls the stream. A request's key may hold credentials,
    /// so only its hash leaves the process.
    pub(crate) fn name(&self) -> Name {
        Name(match self {
            Self::Epoch(epoch) => Bytes::copy_from_slice(epoch.as_bytes()),
            Self::Request(key) => Bytes::copy_from_slice(&Sha256::digest(key)),
        })
    }
}
