//! A decoder that is fed as bytes come, as clients do it.

#![allow(clippy::unwrap_used, reason = "what is no gzip fails the test")]

use std::io::Write;

use flate2::write::GzDecoder;

pub(crate) struct Gunzip(GzDecoder<Vec<u8>>);

impl Gunzip {
    pub(crate) fn new() -> Self {
        Self(GzDecoder::new(Vec::new()))
    }

    /// All that can be read of what has come so far.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> &[u8] {
        self.0.write_all(bytes).unwrap();
        self.0.flush().unwrap();
        self.0.get_ref()
    }

    /// Everything, if nothing is missing and nothing is wrong.
    pub(crate) fn finish(self) -> Option<Vec<u8>> {
        self.0.finish().ok()
    }
}
