//! Numbers and byte strings as journals keep them: LEB128, and a length before
//! each string. What is read may be anything and is refused if it is not that.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// These bytes are not what they are taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbled;

pub(crate) fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.put_slice(bytes);
}

pub(crate) fn run(from: &mut Bytes) -> Result<Bytes, Garbled> {
    let len = usize::try_from(number(from)?).map_err(|_| Garbled)?;
    if len > from.len() {
        return Err(Garbled);
    }
    Ok(from.split_to(len))
}

pub(crate) fn put_number(out: &mut BytesMut, mut number: u64) {
    while number >= 0x80 {
        #[expect(clippy::cast_possible_truncation, reason = "the low seven bits")]
        out.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "less than 128")]
    out.put_u8(number as u8);
}

pub(crate) fn number(from: &mut Bytes) -> Result<u64, Garbled> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = from.try_get_u8().map_err(|_| Garbled)?;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(Garbled);
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Garbled)
}

impl fmt::Display for Garbled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a journal entry of this version")
    }
}

impl std::error::Error for Garbled {}
