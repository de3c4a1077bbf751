//! Reading what the last run left.
//!
//! Every frame of every segment is read and its checksum verified. Segments
//! are numbered without a gap, and each says how far the one before it
//! reaches, so what is missing shows. An incomplete frame at the very end was
//! being written when the process died; nobody was told that it was kept, so
//! cutting it off loses nothing. Anything else that does not check out is
//! *damage*: after it, of every stream that has no later record, it is not
//! known whether the last record found was its last.
//!
//! The rest of a damaged segment is not read; the next segment is. A stream
//! that lost records there begins anew with its next one: ordinals have no
//! holes.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::frame::{self, Found, Frame};
use super::index::Index;
use super::segment::{self, HEADER, Header, Place, Segment};
use super::storage::{File, Storage, read_up_to};

/// What was found.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) index: Index,
    /// The last segment and its length; zero if there is none.
    pub(super) reached: (u32, u32),
    /// What is wrong, for the operator.
    pub(super) damage: Vec<String>,
    /// Whether something is wrong with the last segment. The next run will not
    /// see it, for it will see how far this one read.
    pub(super) damaged_end: bool,
}

/// Why nothing could be read, and nothing was touched.
#[derive(Debug)]
pub(super) enum Refusal {
    Io(String, io::Error),
    Foreign(String, u32),
}

#[derive(Debug)]
struct Candidate {
    number: u32,
    file: Arc<dyn File>,
    size: u64,
    header: Header,
}

/// Reads all segments.
pub(super) fn recover(storage: &dyn Storage) -> Result<Recovered, Refusal> {
    let all = survey(storage)?;
    let mut recovered = Recovered {
        index: Index::default(),
        reached: (0, 0),
        damage: Vec::new(),
        damaged_end: false,
    };
    for (at, one) in all.iter().enumerate() {
        if at > 0 && all[at - 1].number + 1 != one.number {
            recovered.damaged(format!("{} is missing", segment::name(one.number - 1)));
        }
        let next = all.get(at + 1).filter(|next| next.number == one.number + 1);
        let limit = match next.map(|next| next.header) {
            Some(Header::Good { before }) => before,
            _ => one.size,
        };
        let is_last = at + 1 == all.len();
        recovered
            .segment(storage, one, limit, is_last)
            .map_err(|error| Refusal::Io(segment::name(one.number), error))?;
    }
    recovered.index.join_moved();
    recovered.index.drop_nameless();
    Ok(recovered)
}

/// Opens all segments and reads their headers, before anything is done.
fn survey(storage: &dyn Storage) -> Result<Vec<Candidate>, Refusal> {
    let names = storage
        .list()
        .map_err(|error| Refusal::Io(storage.name(), error))?;
    let mut numbers: Vec<u32> = names
        .iter()
        .filter_map(|name| segment::number(name))
        .collect();
    numbers.sort_unstable();
    let open = |number| {
        let name = segment::name(number);
        let look = || {
            let file = storage.open(&name)?;
            let size = file.size()?;
            let mut start = [0; HEADER as usize];
            let count = read_up_to(&*file, &mut start, 0)?;
            let header = segment::decode(number, &start[..count]);
            Ok((file, size, header))
        };
        match look() {
            Ok((_, _, Header::Foreign(version))) => Err(Refusal::Foreign(name, version)),
            Ok((file, size, header)) => Ok(Candidate {
                number,
                file,
                size,
                header,
            }),
            Err(error) => Err(Refusal::Io(name, error)),
        }
    };
    numbers.into_iter().map(open).collect()
}

impl Recovered {
    fn damaged(&mut self, what: String) {
        self.damage.push(what);
        self.index.doubt_all();
    }

    fn segment(
        &mut self,
        storage: &dyn Storage,
        one: &Candidate,
        limit: u64,
        is_last: bool,
    ) -> io::Result<()> {
        let name = segment::name(one.number);
        match one.header {
            // It was being made; nothing was ever written to it.
            Header::Part if is_last => {
                storage.remove(&name)?;
                return storage.sync();
            }
            Header::Good { .. } => {}
            _ => {
                self.insert(one, HEADER);
                self.damaged_end = is_last;
                self.reached = (one.number, HEADER);
                self.damaged(format!("{name} has a damaged header"));
                return Ok(());
            }
        }
        // A place for the frames' accounts; how long it is shows as they are read.
        self.insert(one, HEADER);
        let (len, end) = self.frames(one, limit)?;
        if let Some(known) = self.index.segments.get_mut(one.number) {
            known.len = len;
        }
        self.reached = (one.number, len);
        match end {
            End::Whole => {}
            End::Torn if is_last => one.file.truncate(u64::from(len))?,
            End::Torn => self.damaged(format!("{name} ends at {len}, too early")),
            End::Damage => {
                self.damaged_end = is_last;
                self.damaged(format!("{name} is damaged at {len}"));
            }
        }
        Ok(())
    }

    fn insert(&mut self, one: &Candidate, len: u32) {
        let segment = Segment {
            file: Arc::clone(&one.file),
            len,
            live: 0,
            synced: 0,
        };
        self.index.segments.insert(one.number, segment);
    }

    /// Reads frames up to `limit`, and says how far that went and why.
    fn frames(&mut self, one: &Candidate, limit: u64) -> io::Result<(u32, End)> {
        let mut window = Window::new(&*one.file, limit.min(one.size));
        let mut at = HEADER;
        loop {
            let end = match frame::look(one.number, window.bytes()) {
                Found::Whole(len) => {
                    let body = window.take(frame::HEADER + len).split_off(frame::HEADER);
                    let total = u32::try_from(frame::HEADER + len).unwrap_or(u32::MAX);
                    let place = Place {
                        segment: one.number,
                        at,
                        len: total,
                    };
                    let known = Frame::decode(body);
                    if known.is_some_and(|frame| self.index.read(frame, place)) {
                        at = at.saturating_add(total);
                        continue;
                    }
                    End::Damage
                }
                Found::Part(need) if window.fill(need)? => continue,
                Found::Part(_) if window.is_at_end() && limit <= one.size => End::Whole,
                Found::Part(_) => End::Torn,
                Found::Damage => End::Damage,
            };
            return Ok((at, end));
        }
    }
}

/// Why no more frames were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Whole,
    Torn,
    Damage,
}

/// A part of a file that moves on.
struct Window<'a> {
    file: &'a dyn File,
    bytes: Bytes,
    at: u64,
    end: u64,
}

/// What is read at once, unless one frame is larger.
const READ: usize = 1 << 20;

impl<'a> Window<'a> {
    fn new(file: &'a dyn File, end: u64) -> Self {
        Self {
            file,
            bytes: Bytes::new(),
            at: u64::from(HEADER),
            end,
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether nothing is left, not even a part of a frame.
    fn is_at_end(&self) -> bool {
        self.bytes.is_empty() && self.at >= self.end
    }

    fn take(&mut self, len: usize) -> Bytes {
        self.bytes.split_to(len)
    }

    /// Reads on, so that there are so many bytes. False if there are not.
    fn fill(&mut self, need: usize) -> io::Result<bool> {
        let have = self.bytes.len();
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        if need.saturating_sub(have) > left {
            return Ok(false);
        }
        let more = (need - have).max(READ.saturating_sub(have)).min(left);
        let mut bytes = BytesMut::zeroed(have + more);
        bytes[..have].copy_from_slice(&self.bytes);
        let count = read_up_to(self.file, &mut bytes[have..], self.at)?;
        bytes.truncate(have + count);
        self.at += count as u64;
        self.bytes = bytes.freeze();
        Ok(self.bytes.len() >= need)
    }
}
