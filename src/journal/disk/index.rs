use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;

use super::frame::Frame;
use super::records::Records;
use super::segment::{Place, Segments};
use crate::journal::record::Outline;
use crate::journal::{Name, News, Record};

/// What the journal has, and where. All that happens to it is one of its
/// methods, whether it is read at the start or written now.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) segments: Segments,
    pub(super) streams: HashMap<u64, Stream>,
    pub(super) names: HashMap<Name, u64>,
    pub(super) aliases: HashMap<u64, Alias>,
    pub(super) alias_names: HashMap<Name, u64>,
    /// Moved records that have been found, by stream and ordinal, until all is
    /// read.
    moved: HashMap<u64, BTreeMap<u64, (Place, Outline)>>,
    /// What expires when. Whatever is said here of a stream or alias that does
    /// not say the same itself is out of date.
    due: BTreeSet<(Instant, u64)>,
    /// The number that the next stream or alias gets.
    next: u64,
}

/// What the journal has of a stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// `None` while only records of it have been found.
    pub(super) name: Option<Name>,
    pub(super) head: Option<Place>,
    /// The head, until it is written.
    pub(super) unwritten: Option<Bytes>,
    pub(super) staged: Staged,
    /// The next run may find frames of it, even if writing them failed.
    pub(super) touched: bool,
    pub(super) retain: Duration,
    pub(super) records: Records,
    /// Blocks up to this one were acknowledged, though the journal may not have
    /// them: see [`Frame::Doubt`]. Any number that is reached is reached by any
    /// record.
    pub(super) doubt: Option<u64>,
    /// The doubt has yet to be written.
    pub(super) unsaid: bool,
    pub(super) holder: Option<Holder>,
    /// The holder may not know yet that what it appended up to this block is
    /// lost.
    pub(super) unaware: Option<u64>,
    /// When it is forgotten, if nobody holds it.
    expires: Option<Instant>,
}

/// What of a stream is among what is about to be written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Staged {
    pub(super) head: bool,
    pub(super) record: bool,
}

/// Whose a stream is in this process.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) token: u64,
    pub(super) news: UnboundedSender<News>,
}

/// Another name of a stream.
#[derive(Debug)]
pub(super) struct Alias {
    pub(super) name: Name,
    pub(super) stream: Name,
    pub(super) retain: Duration,
    /// Where it is written, if it is.
    pub(super) place: Option<Place>,
    expires: Option<Instant>,
}

/// What is past its time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    Stream(u64),
    Alias(u64),
}

impl Stream {
    /// Whether anything of it is to be kept yet.
    pub(super) fn is_begun(&self) -> bool {
        self.head.is_some() || self.unwritten.is_some()
    }
}

impl Index {
    /// A number that was never given.
    pub(super) fn number(&mut self) -> u64 {
        self.seen(self.next);
        self.next - 1
    }

    fn seen(&mut self, number: u64) {
        self.next = self.next.max(number.saturating_add(1)).max(1);
    }

    // === What is written ===

    /// A frame found at the start. False if it holds what it should not.
    pub(super) fn read(&mut self, frame: Frame, place: Place) -> bool {
        match frame {
            Frame::Begin {
                number,
                name,
                retain,
                head: _,
            } => {
                self.seen(number);
                self.stream(number).retain = retain;
                self.name(number, owned(&name));
                self.begin(number, place);
            }
            Frame::Record {
                number,
                ordinal,
                record,
            } => {
                let Ok(outline) = Record::read_outline(record) else {
                    return false;
                };
                self.seen(number);
                if let Some(moved) = self.moved.get_mut(&number) {
                    moved.split_off(&ordinal);
                }
                self.stream(number);
                self.append(number, place, outline, ordinal);
            }
            Frame::Moved {
                number,
                ordinal,
                record,
            } => {
                let Ok(outline) = Record::read_outline(record) else {
                    return false;
                };
                self.seen(number);
                let moved = self.moved.entry(number).or_default();
                moved.insert(ordinal, (place, outline));
            }
            Frame::Forget { number } => {
                self.seen(number);
                self.forget(number);
                self.forget_alias(number);
            }
            Frame::Alias {
                number,
                alias,
                stream,
                retain,
            } => {
                self.seen(number);
                self.add_alias(number, owned(&alias), owned(&stream), retain);
                self.place_alias(number, place);
            }
            Frame::Doubt {
                number,
                last,
                until,
            } => {
                self.seen(number);
                self.stream(number);
                self.doubt(number, last, until);
            }
            Frame::DoubtAll => self.doubt_all(),
        }
        true
    }

    pub(super) fn stream(&mut self, number: u64) -> &mut Stream {
        self.streams.entry(number).or_default()
    }

    pub(super) fn name(&mut self, number: u64, name: Name) {
        self.names.insert(name.clone(), number);
        self.stream(number).name = Some(name);
    }

    /// A stream's head is written.
    pub(super) fn begin(&mut self, number: u64, place: Place) {
        let Some(stream) = self.streams.get_mut(&number) else {
            return;
        };
        stream.unwritten = None;
        stream.staged.head = false;
        stream.touched = true;
        if let Some(old) = stream.head.replace(place) {
            self.segments.dead(old);
        }
        self.segments.needed(place);
    }

    /// A record is written.
    pub(super) fn append(&mut self, number: u64, place: Place, record: Outline, ordinal: u64) {
        let Some(stream) = self.streams.get_mut(&number) else {
            return;
        };
        let segments = &mut self.segments;
        segments.needed(place);
        let mut dead = |place| segments.dead(place);
        stream.staged.record = false;
        stream.records.append(place, record, ordinal, &mut dead);
        stream.records.trim(record.low, &mut dead);
        if stream
            .doubt
            .is_some_and(|until| stream.records.last() >= until)
        {
            stream.doubt = None;
            stream.unsaid = false;
        }
    }

    /// The stream's records in this segment have been written again, here.
    pub(super) fn replace(&mut self, number: u64, segment: u32, places: &[Place]) {
        let Some(stream) = self.streams.get_mut(&number) else {
            return;
        };
        for (_, old) in stream.records.places_in(segment) {
            self.segments.dead(old);
        }
        stream.records.replace(segment, places);
        for place in places {
            self.segments.needed(*place);
        }
    }

    /// All is read: moved records belong in front of the others, each before
    /// the one with the next ordinal.
    pub(super) fn join_moved(&mut self) {
        for (number, moved) in std::mem::take(&mut self.moved) {
            let Some(stream) = self.streams.get_mut(&number) else {
                continue;
            };
            for (ordinal, (place, outline)) in moved.into_iter().rev() {
                if stream.records.prepend(place, outline, ordinal) {
                    self.segments.needed(place);
                    stream.records.trim(outline.low, &mut |_| {});
                }
            }
        }
    }

    pub(super) fn trim(&mut self, number: u64, low: u64) {
        if let Some(stream) = self.streams.get_mut(&number) {
            stream
                .records
                .trim(low, &mut |place| self.segments.dead(place));
        }
    }

    /// Nothing of the stream is needed.
    pub(super) fn forget(&mut self, number: u64) {
        self.moved.remove(&number);
        let Some(mut stream) = self.streams.remove(&number) else {
            return;
        };
        let mut dead = |place| self.segments.dead(place);
        stream.head.map(&mut dead);
        stream.records.clear(&mut dead);
        if let Some(name) = &stream.name
            && self.names.get(name) == Some(&number)
        {
            self.names.remove(name);
        }
    }

    /// What the stream has after `last` is not to be trusted.
    pub(super) fn doubt(&mut self, number: u64, last: u64, until: u64) {
        let Some(stream) = self.streams.get_mut(&number) else {
            return;
        };
        stream
            .records
            .cut(last, &mut |place| self.segments.dead(place));
        if let Some(moved) = self.moved.get_mut(&number) {
            moved.retain(|_, (_, record)| record.first + u64::from(record.blocks) <= last + 1);
        }
        stream.doubt = stream.doubt.max(Some(until));
    }

    pub(super) fn doubt_all(&mut self) {
        for stream in self.streams.values_mut() {
            stream.doubt = stream.doubt.max(Some(0));
        }
    }

    /// Streams of which no head was found are no streams.
    pub(super) fn drop_nameless(&mut self) {
        let nameless = |(number, stream): (&u64, &Stream)| stream.name.is_none().then_some(*number);
        let nameless: Vec<u64> = self.streams.iter().filter_map(nameless).collect();
        for number in nameless {
            self.forget(number);
        }
    }

    pub(super) fn add_alias(&mut self, number: u64, name: Name, stream: Name, retain: Duration) {
        let place = self.aliases.get(&number).and_then(|alias| alias.place);
        self.alias_names.insert(name.clone(), number);
        let alias = Alias {
            name,
            stream,
            retain,
            place,
            expires: None,
        };
        self.aliases.insert(number, alias);
    }

    pub(super) fn place_alias(&mut self, number: u64, place: Place) {
        let Some(alias) = self.aliases.get_mut(&number) else {
            return;
        };
        if let Some(old) = alias.place.replace(place) {
            self.segments.dead(old);
        }
        self.segments.needed(place);
    }

    pub(super) fn forget_alias(&mut self, number: u64) {
        let Some(alias) = self.aliases.remove(&number) else {
            return;
        };
        if let Some(place) = alias.place {
            self.segments.dead(place);
        }
        if self.alias_names.get(&alias.name) == Some(&number) {
            self.alias_names.remove(&alias.name);
        }
    }

    /// What the segment had from `from` on is lost: nothing points there any
    /// more, and of every stream concerned it is known up to where its blocks
    /// were acknowledged. Heads that can still be read are to be written again; a
    /// stream whose head cannot be is none any more.
    pub(super) fn lose(&mut self, segment: u32, from: u32) {
        let file = self.segments.get(segment).map(|known| known.file.clone());
        let lost = |place: Place| place.segment == segment && place.at >= from;
        for stream in self.streams.values_mut() {
            let until = stream.records.last();
            let mut dead = |place| self.segments.dead(place);
            if stream.records.lose(segment, from, &mut dead) {
                stream.doubt = stream.doubt.max(Some(until));
                stream.unsaid = true;
                stream.unaware = Some(until);
            }
            if let Some(place) = stream.head.filter(|place| lost(*place)) {
                stream.head = None;
                stream.unwritten = file.as_ref().and_then(|file| read_head(&**file, place));
                self.segments.dead(place);
            }
        }
        for alias in self.aliases.values_mut() {
            if let Some(place) = alias.place.take_if(|place| lost(*place)) {
                self.segments.dead(place);
            }
        }
    }

    // === Time ===

    /// A stream is left, or an alias used: its time runs from now.
    pub(super) fn leave(&mut self, number: u64, now: Instant) {
        let known = self.streams.get_mut(&number);
        let (expires, retain) = match (known, self.aliases.get_mut(&number)) {
            (Some(stream), _) => {
                stream.holder = None;
                (&mut stream.expires, stream.retain)
            }
            (_, Some(alias)) => (&mut alias.expires, alias.retain),
            _ => return,
        };
        if let Some(old) = expires.take() {
            self.due.remove(&(old, number));
        }
        // A time that cannot be represented never comes.
        *expires = now.checked_add(retain);
        if let Some(at) = *expires {
            self.due.insert((at, number));
        }
    }

    /// A stream is somebody's.
    pub(super) fn hold(&mut self, number: u64, holder: Holder) -> Option<Holder> {
        let stream = self.streams.get_mut(&number)?;
        if let Some(old) = stream.expires.take() {
            self.due.remove(&(old, number));
        }
        stream.holder.replace(holder)
    }

    /// The time of everything runs from now.
    pub(super) fn start(&mut self, now: Instant) {
        let numbers = self.streams.keys().chain(self.aliases.keys());
        for number in numbers.copied().collect::<Vec<u64>>() {
            self.leave(number, now);
        }
    }

    /// Something whose time is past, once.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Due> {
        while let Some((_, number)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.pop_first();
            if self
                .streams
                .get(&number)
                .is_some_and(|stream| stream.holder.is_none())
            {
                return Some(Due::Stream(number));
            }
            // The name of a stream that is still kept is in use.
            match self.aliases.get(&number) {
                Some(alias) if self.names.contains_key(&alias.stream) => self.leave(number, now),
                Some(_) => return Some(Due::Alias(number)),
                None => {}
            }
        }
        None
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The stream of this name, or of this alias.
    pub(super) fn find(&self, name: &Name) -> Option<u64> {
        let alias = || self.aliases.get(self.alias_names.get(name)?);
        let number = self.names.get(name);
        number.or_else(|| self.names.get(&alias()?.stream)).copied()
    }
}

/// A name of its own: what was read belongs to a large piece of a file.
fn owned(name: &[u8]) -> Name {
    Name(Bytes::copy_from_slice(name))
}

fn read_head(file: &dyn super::storage::File, place: Place) -> Option<Bytes> {
    let body = super::segment::read(file, place).ok()?;
    match Frame::decode(body)? {
        Frame::Begin { head, .. } => Some(head),
        _ => None,
    }
}
