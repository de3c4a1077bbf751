//! The ids this crate gives to events.
//!
//! `s1.<epoch>.<seq>`, and `s1.<epoch>.<seq>.<carried>` where the upstream
//! gave an id of its own: URL-safe ASCII, opaque to clients. The epoch names
//! one incarnation of a log; the seq a block in it. The carried upstream id
//! lets a proxy that forgot the epoch ask the upstream as the client itself
//! would have.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// An id with a carried one is never longer than this, in bytes; it is left
/// off instead. (Browsers treat a `Last-Event-ID` over 128 bytes as unsafe.)
const MAX_LEN: usize = 120;

const PREFIX: &[u8] = b"s1.";

/// One incarnation of a log.
///
/// Two incarnations never have the same one, so an id can name no other event
/// than the one it was given to.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch {
    text: [u8; Epoch::LONG],
    len: u8,
}

impl Epoch {
    /// Length in characters of 128 random bits.
    const LONG: usize = 22;
    /// Length in characters of 64 random bits.
    const SHORT: usize = 11;

    /// 128 random bits: enough to be found by, and not to be guessed.
    pub fn private() -> Result<Self, getrandom::Error> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits)?;
        Ok(Self::encode(&bits))
    }

    /// 64 random bits: enough not to recur, for streams found by their key.
    pub fn shared() -> Result<Self, getrandom::Error> {
        let mut bits = [0; 8];
        getrandom::fill(&mut bits)?;
        Ok(Self::encode(&bits))
    }

    /// The next incarnation of the same log: a private one is still located.
    pub(crate) fn next(self) -> Result<Self, getrandom::Error> {
        let Some(Locator(kept)) = self.locator() else {
            return Self::shared();
        };
        let mut next = Self::private()?;
        next.text[..Locator::LEN].copy_from_slice(&kept);
        Ok(next)
    }

    /// What a private stream is found by, whichever incarnation an id is of.
    pub(crate) fn locator(&self) -> Option<Locator> {
        let located = usize::from(self.len) == Self::LONG;
        located.then(|| self.text.first_chunk().copied().map(Locator))?
    }

    fn encode(bits: &[u8]) -> Self {
        let mut text = [0; Self::LONG];
        // 16 bytes are 22 characters: the slice always suffices.
        let len = URL_SAFE_NO_PAD.encode_slice(bits, &mut text).unwrap_or(0);
        Self {
            text,
            len: u8::try_from(len).unwrap_or(0),
        }
    }

    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let alphabet = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-' || *b == b'_';
        if !matches!(text.len(), Self::LONG | Self::SHORT) || !text.iter().all(alphabet) {
            return None;
        }
        let mut epoch = Self {
            text: [0; Self::LONG],
            len: u8::try_from(text.len()).ok()?,
        };
        epoch.text[..text.len()].copy_from_slice(text);
        Some(epoch)
    }

    /// Its characters.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[..usize::from(self.len)]
    }
}

/// The part of a private epoch that its later incarnations share: 96 random
/// bits, as 16 characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Locator([u8; Locator::LEN]);

impl Locator {
    const LEN: usize = 16;

    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        text.try_into().ok().map(Self)
    }

    /// Its characters.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same. What is not text was never made here.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Locator({}…)", String::from_utf8_lossy(&self.0[..4]))
    }
}

// Whoever knows a private epoch holds half of what it takes to read the
// stream, so it is never printed whole.
impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = String::from_utf8_lossy(&self.as_bytes()[..4.min(usize::from(self.len))]);
        write!(f, "Epoch({head}…)")
    }
}

/// One of our ids, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventId {
    /// Which log.
    pub epoch: Epoch,
    /// Which block of it; 0 is the place before the first.
    pub seq: u64,
    /// The upstream's id at that place.
    pub carried: Option<Vec<u8>>,
}

/// What an id from outside turns out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParsedId {
    /// One of ours (perhaps of another process).
    Ours(EventId),
    /// It begins like ours but is not well formed.
    Malformed,
    /// The upstream's.
    Foreign,
}

impl EventId {
    /// Takes an id apart.
    pub fn parse(id: &[u8]) -> ParsedId {
        let Some(rest) = id.strip_prefix(PREFIX) else {
            return ParsedId::Foreign;
        };
        Self::parse_rest(id.len(), rest).map_or(ParsedId::Malformed, ParsedId::Ours)
    }

    fn parse_rest(len: usize, rest: &[u8]) -> Option<Self> {
        if len > MAX_LEN {
            return None;
        }
        let mut parts = rest.split(|b| *b == b'.');
        let epoch = Epoch::parse(parts.next()?)?;
        let seq = parse_seq(parts.next()?)?;
        let carried = match parts.next() {
            Some(text) => Some(URL_SAFE_NO_PAD.decode(text).ok()?),
            None => None,
        };
        // An id with line ends or NUL never came out of an event stream.
        let clean = |id: &Vec<u8>| !id.is_empty() && is_header_safe(id);
        if parts.next().is_some() || carried.as_ref().is_some_and(|id| !clean(id)) {
            return None;
        }
        Some(Self {
            epoch,
            seq,
            carried,
        })
    }
}

/// A decimal number without leading zeros.
fn parse_seq(text: &[u8]) -> Option<u64> {
    if text.is_empty() || (text[0] == b'0' && text.len() > 1) {
        return None;
    }
    text.iter().try_fold(0u64, |n, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        n.checked_mul(10)?.checked_add(digit)
    })
}

/// Whether an id can travel in `Last-Event-ID` and come back the same: ASCII
/// without control characters, and without spaces at its edges, which HTTP
/// strips. Clients are known to send others garbled or not at all.
pub fn is_header_safe(id: &[u8]) -> bool {
    id.len() <= MAX_CURSOR
        && id.iter().all(|b| (0x20..0x7f).contains(b))
        && id.first() != Some(&b' ')
        && id.last() != Some(&b' ')
}

/// Ids longer than this, in bytes, are not read from a request.
pub const MAX_CURSOR: usize = 1024;

/// Writes the ids of one epoch.
#[derive(Clone, Debug)]
pub struct IdWriter {
    text: Vec<u8>,
    /// Length of `s1.<epoch>.`, which every id begins with.
    fixed: usize,
    /// `.<base64url of the upstream's id>`, or nothing.
    carried: Vec<u8>,
}

impl IdWriter {
    /// A writer that carries nothing yet.
    pub fn new(epoch: Epoch) -> Self {
        let mut text = Vec::with_capacity(48);
        text.extend_from_slice(PREFIX);
        text.extend_from_slice(epoch.as_bytes());
        text.push(b'.');
        Self {
            fixed: text.len(),
            text,
            carried: Vec::new(),
        }
    }

    /// Sets the upstream id carried from now on.
    pub fn carry(&mut self, id: Option<&[u8]>) {
        self.carried.clear();
        let Some(id) = id else { return };
        // 20 is the longest seq. What does not come back as it went is no use.
        let len = self.fixed + 20 + 1 + id.len().div_ceil(3) * 4;
        if len > MAX_LEN || !is_header_safe(id) || id.is_empty() {
            return;
        }
        self.carried.push(b'.');
        self.carried
            .extend_from_slice(URL_SAFE_NO_PAD.encode(id).as_bytes());
    }

    /// The id of the block at `seq`.
    pub fn write(&mut self, seq: u64) -> &[u8] {
        self.text.truncate(self.fixed);
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut rest = seq;
        loop {
            at -= 1;
            // A remainder of ten is a digit.
            digits[at] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.text.extend_from_slice(&digits[at..]);
        self.text.extend_from_slice(&self.carried);
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for epoch in [Epoch::private().unwrap(), Epoch::shared().unwrap()] {
            for seq in [0, 1, 9, 10, 12_345, u64::MAX] {
                for carried in [None, Some(&b"7"[..]), Some(b"2026-11-20T10:00:00Z/\"x\"")] {
                    let mut writer = IdWriter::new(epoch);
                    writer.carry(carried);
                    let id = writer.write(seq).to_vec();
                    assert!(id.len() <= MAX_LEN);
                    let expected = EventId {
                        epoch,
                        seq,
                        carried: carried.map(<[u8]>::to_vec),
                    };
                    assert_eq!(EventId::parse(&id), ParsedId::Ours(expected));
                }
            }
        }
    }

    #[test]
    fn the_next_incarnation_is_another_one_at_the_same_place() {
        for epoch in [Epoch::private().unwrap(), Epoch::shared().unwrap()] {
            let next = epoch.next().unwrap();
            assert_ne!(next, epoch);
            assert_eq!(next.as_bytes().len(), epoch.as_bytes().len());
            assert_eq!(next.locator(), epoch.locator());
        }
        assert!(Epoch::private().unwrap().locator().is_some());
        assert!(Epoch::shared().unwrap().locator().is_none());
    }

    #[test]
    fn a_long_or_unsafe_upstream_id_is_not_carried() {
        let mut writer = IdWriter::new(Epoch::private().unwrap());
        let bare = writer.write(1).to_vec();
        for id in [&[b'x'; 60][..], "é".as_bytes(), b" x", b""] {
            writer.carry(Some(id));
            assert_eq!(writer.write(1), bare);
        }
    }

    #[test]
    fn anything_else_that_looks_like_ours_is_malformed() {
        let epoch = "AAAAAAAAAAAAAAAAAAAAAA";
        for id in [
            "s1.".to_owned(),
            format!("s1.{epoch}"),
            format!("s1.{epoch}."),
            format!("s1.{epoch}.01"),
            format!("s1.{epoch}.-1"),
            format!("s1.{epoch}.18446744073709551616"),
            format!("s1.{epoch}.1."),
            format!("s1.{epoch}.1.!"),
            format!("s1.{epoch}.1.Nw.x"),
            format!("s1.{epoch}A.1"),
            format!("s1.{epoch}.1.CgoK"),
        ] {
            assert_eq!(EventId::parse(id.as_bytes()), ParsedId::Malformed, "{id}");
        }
        assert_eq!(EventId::parse(b"s2.x.1"), ParsedId::Foreign);
        assert_eq!(EventId::parse(b"42"), ParsedId::Foreign);
    }
}
