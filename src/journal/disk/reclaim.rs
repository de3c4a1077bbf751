//! Giving space back.
//!
//! Only the oldest segment ever goes, so that a frame which makes an earlier
//! one void is never gone before it. What still lives in it is first written
//! again, at the end; that is done when it is little, so that one slow stream
//! does not hold everything behind it. Beyond the cap the oldest segment goes
//! in any case: of its records then only the last of a stream is moved, for
//! its state, and the stream begins later than it should.

use std::io::ErrorKind;

use bytes::Bytes;

use super::frame::Frame;
use super::segment::{self, Place};
use super::settings::Sync;
use super::writer::Writer;
use crate::journal::JournalError;

/// A segment of which this part or less lives is given up.
const SPARSE: u64 = 4;

/// Where the frames of a segment have been moved.
#[derive(Default)]
struct Moves {
    from: u32,
    heads: Vec<(u64, Place)>,
    records: Vec<(u64, Vec<Place>)>,
    aliases: Vec<(u64, Place)>,
}

impl Writer {
    /// Gives up what is not needed, and what there is no room for.
    pub(super) fn reclaim(&mut self) {
        self.rolled = false;
        let newest = self.tail.or(self.index.segments.newest());
        while let Some(oldest) = self.index.segments.oldest()
            && Some(oldest) < newest
        {
            let over = self.is_over();
            let Some(segment) = self.index.segments.get(oldest) else {
                return;
            };
            let sparse = segment.live * SPARSE <= u64::from(segment.len);
            if segment.live > 0 {
                if self.outage.is_some() || !(sparse || over) {
                    return;
                }
                if over && !sparse {
                    self.warn_full();
                }
                if !self.empty(oldest, sparse) {
                    return;
                }
            }
            if !self.unlink(oldest) {
                return;
            }
        }
        if self.is_over() && self.outage.is_none() {
            self.shed();
        }
    }

    /// Whether the segment that is being written might not fit when it is full.
    fn is_over(&self) -> bool {
        let tail = self.tail.and_then(|tail| self.index.segments.get(tail));
        let tail = tail.map_or(0, |segment| u64::from(segment.len));
        let to_come = u64::from(self.settings.segment()).saturating_sub(tail);
        self.index.segments.bytes() + to_come > self.settings.cap()
    }

    fn warn_full(&mut self) {
        if !std::mem::replace(&mut self.warned_full, true) {
            tracing::warn!(
                "journal: {} holds its max_bytes of {}, so the oldest events go although they \
                 were to be retained; raise max_bytes, or retain less",
                self.storage.name(),
                self.settings.cap()
            );
        }
    }

    /// What is left is heads and last records, too many of them: streams that
    /// nobody uses are forgotten.
    fn shed(&mut self) {
        let streams = self.index.streams.iter();
        let unused = streams.filter(|(_, stream)| stream.holder.is_none());
        let unused: Vec<u64> = unused.map(|(number, _)| *number).collect();
        if unused.is_empty() {
            let name = self.storage.name();
            return self.fail(format!(
                "{name} has no room within max_bytes for the streams in use; raise it"
            ));
        }
        self.warn_full();
        for number in unused {
            self.drop_stream(number, None);
        }
        self.commit();
    }

    /// Moves away what lives in a segment. False if that failed.
    fn empty(&mut self, oldest: u32, sparse: bool) -> bool {
        self.commit();
        let Ok(moves) = self.write_again(oldest, sparse) else {
            return false;
        };
        self.commit();
        let safe = self.settings.sync == Sync::Never || self.sync_all();
        if self.outage.is_some() || !safe {
            return false;
        }
        self.settle_moves(moves);
        true
    }

    fn write_again(&mut self, oldest: u32, sparse: bool) -> Result<Moves, JournalError> {
        let mut moves = Moves {
            from: oldest,
            ..Moves::default()
        };
        for number in self.index.streams.keys().copied().collect::<Vec<_>>() {
            self.move_stream(number, sparse, &mut moves)?;
        }
        let aliases = self.index.aliases.iter();
        let here = aliases.filter(|(_, alias)| is_in(alias.place, oldest));
        for number in here.map(|(number, _)| *number).collect::<Vec<_>>() {
            let place = self.stage_alias(number)?;
            moves.aliases.push((number, place));
        }
        Ok(moves)
    }

    fn move_stream(
        &mut self,
        number: u64,
        sparse: bool,
        moves: &mut Moves,
    ) -> Result<(), JournalError> {
        let Some(stream) = self.index.streams.get_mut(&number) else {
            return Ok(());
        };
        let oldest = moves.from;
        let head = stream.head.filter(|place| place.segment == oldest);
        if !sparse {
            let segments = &mut self.index.segments;
            let mut dead = |place| segments.dead(place);
            stream.records.drop_through(oldest, &mut dead);
        }
        let records = stream.records.places_in(oldest);
        if let Some(place) = head {
            let Some(body) = self.body(place)? else {
                tracing::error!("journal: a stream's head is damaged; it is lost");
                self.displace(number);
                self.drop_stream(number, None);
                return Ok(());
            };
            let place = self.put(|out| out.extend_from_slice(&body))?;
            moves.heads.push((number, place));
            self.stage_doubt(number)?;
        }
        self.move_records(number, &records, moves)
    }

    fn move_records(
        &mut self,
        number: u64,
        records: &[(u64, Place)],
        moves: &mut Moves,
    ) -> Result<(), JournalError> {
        let mut places = Vec::with_capacity(records.len());
        for (ordinal, place) in records.iter().copied() {
            let Some(record) = self.record(place)? else {
                // Those before it cannot be joined to those after it.
                tracing::error!("journal: a stream's older records are damaged; it begins later");
                let segments = &mut self.index.segments;
                let mut dead = |place| segments.dead(place);
                if let Some(stream) = self.index.streams.get_mut(&number) {
                    stream.records.drop_to(ordinal, &mut dead);
                }
                places.clear();
                continue;
            };
            let frame = Frame::Moved {
                number,
                ordinal,
                record,
            };
            places.push(self.put(|out| frame.encode(out))?);
        }
        if !places.is_empty() {
            moves.records.push((number, places));
        }
        Ok(())
    }

    fn record(&mut self, place: Place) -> Result<Option<Bytes>, JournalError> {
        let body = self.body(place)?;
        Ok(match body.and_then(Frame::decode) {
            Some(Frame::Record { record, .. } | Frame::Moved { record, .. }) => Some(record),
            _ => None,
        })
    }

    /// Reads a frame back. `None` if it is damaged.
    fn body(&mut self, place: Place) -> Result<Option<Bytes>, JournalError> {
        let Some(segment) = self.index.segments.get(place.segment) else {
            return Ok(None);
        };
        match segment::read(&*segment.file, place) {
            Ok(body) => Ok(Some(body)),
            Err(error) if error.kind() == ErrorKind::InvalidData => Ok(None),
            // It may well be there, and must not go for this.
            Err(error) => {
                let path = self.path(place.segment);
                let what = format!("{path} could not be read: {error}");
                self.fail(what.clone());
                Err(JournalError::new(what))
            }
        }
    }

    fn settle_moves(&mut self, moves: Moves) {
        for (number, place) in moves.heads {
            self.index.begin(number, place);
        }
        for (number, places) in moves.records {
            self.index.replace(number, moves.from, &places);
        }
        for (number, place) in moves.aliases {
            self.index.place_alias(number, place);
        }
    }

    /// Removes a segment. False if that failed.
    fn unlink(&mut self, number: u32) -> bool {
        let removed = match self.storage.remove(&segment::name(number)) {
            // It was removed before, but not yet for good.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        match removed.and_then(|()| self.storage.sync()) {
            Ok(()) => {
                self.index.segments.remove(number);
                true
            }
            Err(error) => {
                let path = self.path(number);
                self.fail(format!("{path} could not be removed: {error}"));
                false
            }
        }
    }
}

fn is_in(place: Option<Place>, segment: u32) -> bool {
    place.is_some_and(|place| place.segment == segment)
}
