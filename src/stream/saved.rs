//! What a journal is given of a stream beside its blocks, so that another
//! process can go on with it: once its [`Birth`], with each record its
//! [`Saved`] state. Neither holds a credential.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderName, HeaderValue};

use super::epochs::Epochs;
use super::id::Epoch;
use super::policy::{Ids, Kind};
use super::session::End;
use super::stream::Head;
use crate::journal::Garbled;
use crate::journal::pack::{number, put_bytes, put_number, run};
use crate::log::Ending;

const VERSION: u8 = 1;

/// What is decided when a stream comes into being, and by whose request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Birth {
    /// Its kind.
    pub kind: Kind,
    /// Its first epoch.
    pub epoch: Epoch,
    /// Keyed hash of whose it is.
    pub principal: Option<[u8; 32]>,
    /// Keyed hash of the resource it belongs to.
    pub scope: [u8; 32],
    /// The id its first upstream connection was asked to go on from.
    pub opened_with: Option<Bytes>,
    /// The head later answers are given.
    pub head: Head,
}

/// Where an owner left off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Saved {
    pub(crate) epochs: Epochs,
    /// `Auto` is undecided.
    pub(crate) ids: Ids,
    /// The id the upstream would be asked to go on from.
    pub(crate) last_id: Option<Bytes>,
    /// A gap is to be feared that no seam tells of yet.
    pub(crate) doubtful: bool,
    /// The last event has come.
    pub(crate) finished: bool,
    /// More was published under these epochs than the journal has: whoever goes
    /// on from here needs another.
    pub(crate) partial: bool,
    pub(crate) end: Option<End>,
}

impl Birth {
    /// Its bytes at rest.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(256);
        out.put_u8(VERSION);
        out.put_u8(match self.kind {
            Kind::Private => 0,
            Kind::Shared => 1,
            Kind::OneShot => 2,
        });
        put_bytes(&mut out, self.epoch.as_bytes());
        put_option(&mut out, self.principal.as_ref().map(<[u8; 32]>::as_slice));
        out.put_slice(&self.scope);
        put_option(&mut out, self.opened_with.as_deref());
        put_number(&mut out, self.head.len() as u64);
        for (name, value) in &self.head {
            put_bytes(&mut out, name.as_str().as_bytes());
            put_bytes(&mut out, value.as_bytes());
        }
        out.freeze()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(mut bytes: Bytes) -> Result<Self, Garbled> {
        let from = &mut bytes;
        version(from)?;
        let kind = match byte(from)? {
            0 => Kind::Private,
            1 => Kind::Shared,
            2 => Kind::OneShot,
            _ => return Err(Garbled),
        };
        let epoch = epoch(from)?;
        let principal = match option(from)? {
            Some(hash) => Some(<[u8; 32]>::try_from(&hash[..]).map_err(|_| Garbled)?),
            None => None,
        };
        let mut scope = [0; 32];
        from.try_copy_to_slice(&mut scope).map_err(|_| Garbled)?;
        let opened_with = option(from)?;
        let count = number(from)?;
        let header = |_| {
            let name = HeaderName::from_bytes(&run(from)?).map_err(|_| Garbled)?;
            let value = HeaderValue::from_maybe_shared(run(from)?).map_err(|_| Garbled)?;
            Ok((name, value))
        };
        let head = (0..count).map(header).collect::<Result<_, _>>()?;
        Ok(Self {
            kind,
            epoch,
            principal,
            scope,
            opened_with,
            head,
        })
    }
}

impl Saved {
    /// Of a stream that has no event yet.
    pub(crate) fn new(birth: &Birth) -> Self {
        Self {
            epochs: Epochs::new(birth.epoch),
            ids: Ids::Auto,
            last_id: birth.opened_with.clone(),
            doubtful: false,
            finished: false,
            partial: false,
            end: None,
        }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64);
        out.put_u8(VERSION);
        put_bytes(&mut out, self.epochs.current().as_bytes());
        put_number(&mut out, self.epochs.former().len() as u64);
        for (epoch, last) in self.epochs.former() {
            put_bytes(&mut out, epoch.as_bytes());
            put_number(&mut out, *last);
        }
        out.put_u8(match self.ids {
            Ids::Auto => 0,
            Ids::Assign => 1,
            Ids::Preserve => 2,
        });
        put_option(&mut out, self.last_id.as_deref());
        let flags = [self.doubtful, self.partial, self.finished];
        out.put_u8(
            flags
                .iter()
                .rev()
                .fold(0, |bits, flag| bits << 1 | u8::from(*flag)),
        );
        match self.end {
            None => out.put_u8(0),
            Some(End::Upstream(Ending::Complete)) => out.put_u8(1),
            Some(End::Upstream(Ending::Aborted(_))) => out.put_u8(2),
            Some(End::Status(status)) => {
                out.put_u8(3);
                put_number(&mut out, status.into());
            }
        }
        out.freeze()
    }

    pub(crate) fn decode(mut bytes: Bytes) -> Result<Self, Garbled> {
        let from = &mut bytes;
        version(from)?;
        let current = epoch(from)?;
        let count = number(from)?;
        let former = |_| Ok((epoch(from)?, number(from)?));
        let former = (0..count).map(former).collect::<Result<_, _>>()?;
        let ids = match byte(from)? {
            0 => Ids::Auto,
            1 => Ids::Assign,
            2 => Ids::Preserve,
            _ => return Err(Garbled),
        };
        let last_id = option(from)?;
        let flags = byte(from)?;
        let end = match byte(from)? {
            0 => None,
            1 => Some(End::Upstream(Ending::Complete)),
            2 => Some(End::Upstream(Ending::Aborted("upstream cut"))),
            3 => Some(End::Status(
                u16::try_from(number(from)?).map_err(|_| Garbled)?,
            )),
            _ => return Err(Garbled),
        };
        Ok(Self {
            epochs: Epochs::with_former(current, former),
            ids,
            last_id,
            doubtful: flags & 1 != 0,
            partial: flags & 2 != 0,
            finished: flags & 4 != 0,
            end,
        })
    }
}

fn put_option(out: &mut BytesMut, bytes: Option<&[u8]>) {
    out.put_u8(u8::from(bytes.is_some()));
    if let Some(bytes) = bytes {
        put_bytes(out, bytes);
    }
}

fn option(from: &mut Bytes) -> Result<Option<Bytes>, Garbled> {
    (byte(from)? != 0).then(|| run(from)).transpose()
}

fn byte(from: &mut Bytes) -> Result<u8, Garbled> {
    from.try_get_u8().map_err(|_| Garbled)
}

fn version(from: &mut Bytes) -> Result<(), Garbled> {
    (byte(from)? == VERSION).then_some(()).ok_or(Garbled)
}

fn epoch(from: &mut Bytes) -> Result<Epoch, Garbled> {
    Epoch::parse(&run(from)?).ok_or(Garbled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn births() -> impl Iterator<Item = Birth> {
        let epoch = Epoch::private().unwrap();
        let header = (
            HeaderName::from_static("content-type"),
            HeaderValue::from_static("text/event-stream"),
        );
        [Kind::Private, Kind::Shared, Kind::OneShot]
            .into_iter()
            .map(move |kind| Birth {
                kind,
                epoch,
                principal: (kind != Kind::Shared).then_some([7; 32]),
                scope: [9; 32],
                opened_with: (kind == Kind::Private).then(|| Bytes::from_static(b"41")),
                head: Box::new([header.clone()]),
            })
    }

    fn states() -> impl Iterator<Item = Saved> {
        let first = Epoch::private().unwrap();
        let ends = [
            None,
            Some(End::Upstream(Ending::Complete)),
            Some(End::Upstream(Ending::Aborted("upstream cut"))),
            Some(End::Status(410)),
        ];
        ends.into_iter().map(move |end| {
            let mut epochs = Epochs::new(first);
            epochs.begin(first.next().unwrap(), 12);
            Saved {
                epochs,
                ids: Ids::Preserve,
                last_id: Some(Bytes::from_static(b"x")),
                doubtful: end.is_none(),
                finished: end != Some(End::Status(410)),
                partial: end.is_some(),
                end,
            }
        })
    }

    #[test]
    fn what_is_written_is_read_back_and_nothing_shorter_is() {
        for birth in births() {
            let written = birth.encode();
            assert_eq!(Birth::decode(written.clone()), Ok(birth));
            for len in 0..written.len() {
                assert_eq!(Birth::decode(written.slice(..len)), Err(Garbled));
            }
        }
        for saved in states() {
            let written = saved.encode();
            assert_eq!(Saved::decode(written.clone()), Ok(saved));
            for len in 0..written.len() {
                assert_eq!(Saved::decode(written.slice(..len)), Err(Garbled));
            }
        }
    }
}
