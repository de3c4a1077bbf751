//! When the disk fails.
//!
//! A write that fails leaves nothing behind that anybody was told is kept: the
//! segment is cut to what it had, and is not written to again. A sync that
//! fails is worse. The kernel reports it once, may have thrown away what it
//! could not write, and calls the next sync a success; so of that segment
//! nothing is believed that was not synced before, and it is never synced
//! again. Streams whose records are concerned are told how far the journal has
//! them, and give the rest again from their logs.

use std::io;
use std::time::{Duration, Instant, SystemTime};

use super::frame::Frame;
use super::group::Change;
use super::segment::{self, HEADER};
use super::settings::Sync;
use super::state::State;
use super::writer::Writer;
use crate::journal::{Health, JournalError};

/// The disk does not take what it is given.
#[derive(Debug)]
pub(super) struct Outage {
    what: String,
    since: SystemTime,
    /// When to try again.
    pub(super) again: Instant,
}

/// A disk that failed is left alone for this long.
const RETRY: Duration = Duration::from_secs(5);

impl Outage {
    pub(super) fn error(&self) -> JournalError {
        JournalError::new(self.what.clone())
    }

    fn health(&self) -> Health {
        let since = httpdate::fmt_http_date(self.since);
        Health {
            durable: false,
            detail: format!(
                "journal: {}; since {since}, streams go on in memory and would not survive the \
                 process; free space or mend the disk: it is tried again every {} s",
                self.what,
                RETRY.as_secs()
            ),
        }
    }
}

impl Writer {
    /// Nothing more is written for a while.
    pub(super) fn fail(&mut self, what: String) {
        self.tail = None;
        let outage = Outage {
            what,
            since: SystemTime::now(),
            again: self.storage.now() + RETRY,
        };
        let health = outage.health();
        if self.shared.health().durable {
            tracing::error!("{}", health.detail);
        }
        self.shared.set_health(health);
        self.outage.get_or_insert(outage);
    }

    pub(super) fn write_failed(&mut self, error: &io::Error) {
        let Some(tail) = self.tail else {
            return;
        };
        if let Some(segment) = self.index.segments.get(tail) {
            // If this fails as well: the next segment says how far to read.
            let _ = segment.file.truncate(u64::from(segment.len));
            // One without a frame is made again, or a full disk would have a new
            // one every few seconds.
            if segment.len == HEADER {
                self.index.segments.remove(tail);
                self.next_segment = tail;
            }
        }
        let path = self.path(tail);
        self.fail(format!("{path} could not be written: {error}"));
    }

    pub(super) fn sync_failed(&mut self, number: u32, error: &io::Error) {
        let path = self.path(number);
        self.fail(format!("{path} could not be synced: {error}"));
        // They were to go to a segment that is not written to any more.
        self.refuse_group();
        let Some(segment) = self.index.segments.get(number) else {
            return;
        };
        let good = segment.synced.max(HEADER);
        self.index.lose(number, good);
        if let Some(segment) = self.index.segments.get_mut(number) {
            segment.len = good;
            segment.synced = good;
        }
        let concerned = self
            .index
            .streams
            .iter()
            .filter(|(_, stream)| stream.unsaid);
        self.lacking.extend(concerned.map(|(number, _)| *number));
        // Should this process die before the doubts are written: the kernel may
        // no longer have what it was given.
        self.marked_failed = true;
        State::fail(&*self.storage);
    }

    /// Begins a new segment.
    pub(super) fn roll(&mut self) {
        let number = self.next_segment;
        let newest = self.index.segments.newest();
        let newest = newest.and_then(|newest| self.index.segments.get(newest));
        let before = newest.map_or(0, |segment| u64::from(segment.len));
        let sync = self.settings.sync == Sync::Always;
        match segment::make(&*self.storage, number, before, sync) {
            Ok(segment) => {
                self.index.segments.insert(number, segment);
                self.tail = Some(number);
                self.next_segment += 1;
                self.rolled = true;
            }
            Err(error) => {
                let path = self.path(number);
                self.fail(format!("{path} could not be made: {error}"));
            }
        }
    }

    pub(super) fn path(&self, number: u32) -> String {
        format!("{}/{}", self.storage.name(), segment::name(number))
    }

    /// After an outage, begins a new segment with what was lost of others; if
    /// that works, streams are told to go on.
    pub(super) fn try_again(&mut self, now: Instant) {
        let Some(outage) = self.outage.take_if(|outage| outage.again <= now) else {
            return;
        };
        self.begin_again();
        if let Some(again) = &mut self.outage {
            again.since = outage.since;
            self.shared.set_health(again.health());
            return;
        }
        tracing::info!("journal: {} is written to again", self.storage.name());
        self.shared.set_health(Health::default());
        for number in std::mem::take(&mut self.lacking) {
            self.tell_owned(number, false);
        }
    }

    fn begin_again(&mut self) {
        self.roll();
        if self.restate().is_err() {
            return;
        }
        self.commit();
        let synced = self.settings.sync == Sync::Never || self.sync_all();
        if self.outage.is_none() && synced && self.marked_failed {
            let state = State::running(self.settings.sync, self.storage.boot());
            match state.write(&*self.storage) {
                Ok(()) => self.marked_failed = false,
                Err(error) => {
                    let name = self.storage.name();
                    self.fail(format!("{name}/state could not be written: {error}"));
                }
            }
        }
    }

    /// Writes again what a failed sync took, and what it cast doubt on.
    fn restate(&mut self) -> Result<(), JournalError> {
        let streams = self.index.streams.iter();
        let lost = streams.filter(|(_, stream)| stream.unsaid || stream.unwritten.is_some());
        for number in lost.map(|(number, _)| *number).collect::<Vec<_>>() {
            if self.index.stream(number).unwritten.is_some() {
                self.stage_head(number)?;
            }
            self.stage_doubt(number)?;
        }
        let aliases = self.index.aliases.iter();
        let lost = aliases.filter(|(_, alias)| alias.place.is_none());
        for number in lost.map(|(number, _)| *number).collect::<Vec<_>>() {
            let place = self.stage_alias(number)?;
            let answer = None;
            self.group.push(place, Change::Alias { number, answer });
        }
        Ok(())
    }

    /// Writes down what is doubted of a stream, if anything is.
    pub(super) fn stage_doubt(&mut self, number: u64) -> Result<(), JournalError> {
        let Some(stream) = self.index.streams.get(&number) else {
            return Ok(());
        };
        let Some(until) = stream.doubt else {
            return Ok(());
        };
        let frame = Frame::Doubt {
            number,
            last: stream.records.last(),
            until,
        };
        let place = self.put(|out| frame.encode(out))?;
        self.group.push(place, Change::Doubt { number });
        Ok(())
    }
}
