//! What a stream is found by, here and in a journal.

use std::fmt;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::id::Locator;
use crate::journal::Name;

/// What a stream is found by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// Part of its epoch, which clients bring back inside an id.
    Located(Locator),
    /// What makes two requests the same, as bytes.
    Request(Box<[u8]>),
}

impl Key {
    /// What is found under the name of a located stream.
    pub(crate) fn of(name: &Name) -> Option<Self> {
        Locator::parse(&name.0).map(Self::Located)
    }
}

/// Says what things are called outside of this process. A request's key may
/// hold credentials, so only keyed hashes of it leave.
#[derive(Clone)]
pub struct Names {
    key: [u8; 32],
}

impl Names {
    /// Names hashed with this key, which whoever is to find the same streams
    /// must have.
    pub fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// What a journal calls a stream.
    pub fn name(&self, key: &Key) -> Name {
        Name(match key {
            Key::Located(locator) => Bytes::copy_from_slice(locator.as_bytes()),
            Key::Request(key) => Bytes::copy_from_slice(&self.hash(b"name", key)),
        })
    }

    /// A keyed hash, for this purpose and no other.
    pub fn hash(&self, purpose: &[u8], of: &[u8]) -> [u8; 32] {
        // A key of any length will do for this hash: it cannot fail.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else {
            return [0; 32];
        };
        mac.update(purpose);
        mac.update(&[0]);
        mac.update(of);
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}
