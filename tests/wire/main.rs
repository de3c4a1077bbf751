//! The event stream format: one table of seeds, one obvious reference.
//!
//! Whatever the code under test does quickly and in pieces, [`reference`] does
//! slowly and at once; [`seeds`] has a case for each rule of the format.

mod boundary;
mod decode;
mod encode;
#[cfg(feature = "gzip")]
mod gzip;
mod random;
mod reference;
mod seeds;
