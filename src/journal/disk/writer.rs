//! The one thread that writes.
//!
//! It takes all commands there are, puts their frames together, writes them
//! with one call, and answers: so the more streams append at once, the fewer
//! writes there are per record. What it knows of streams is its own, without a
//! lock.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;

use super::group::{Change, Group};
use super::index::{Due, Holder, Index, Stream};
use super::outage::Outage;
use super::queue::{Answer, Command, Place};
use super::reading::{Head, Reading};
use super::settings::{DiskSettings, Sync};
use super::shared::Shared;
use super::state::State;
use super::storage::Storage;
use super::syncer::{Done, Syncer};
use crate::journal::{Appended, JournalError, Name, News, Record};

/// Everything the thread has.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) settings: DiskSettings,
    pub(super) index: Index,
    /// Which stream a token stands for.
    holders: HashMap<u64, u64>,
    /// The segment that is written to. Without one, the next frame begins one.
    pub(super) tail: Option<u32>,
    pub(super) next_segment: u32,
    /// A segment was begun since space was last reclaimed.
    pub(super) rolled: bool,
    pub(super) group: Group,
    pub(super) outage: Option<Outage>,
    /// Streams that were told that a record could not be kept.
    pub(super) lacking: HashSet<u64>,
    /// The state file says that the disk failed.
    pub(super) marked_failed: bool,
    /// Events were dropped for want of space, and the operator told.
    pub(super) warned_full: bool,
    /// Asked, and not yet answered.
    questions: Vec<Question>,
    syncer: Syncer,
    /// When the last sync was begun.
    synced_at: Instant,
}

/// A question whose answer must know of everything before it.
#[derive(Debug)]
struct Question {
    name: Name,
    token: u64,
    news: UnboundedSender<News>,
    claim: bool,
    answer: Answer<Place>,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        storage: Arc<dyn Storage>,
        settings: DiskSettings,
        index: Index,
        last_segment: u32,
    ) -> Self {
        Self {
            syncer: Syncer::new(Arc::clone(&shared)),
            synced_at: storage.now(),
            shared,
            storage,
            settings,
            index,
            holders: HashMap::new(),
            tail: None,
            next_segment: last_segment + 1,
            rolled: false,
            group: Group::default(),
            outage: None,
            lacking: HashSet::new(),
            marked_failed: false,
            warned_full: false,
            questions: Vec::new(),
        }
    }

    /// Works until it is told to close.
    pub(super) fn run(mut self) {
        let mut commands = Vec::new();
        loop {
            let wait = self.wait();
            self.shared.queue.take(&mut commands, wait);
            let now = self.storage.now();
            let mut close = None;
            for command in commands.drain(..) {
                match command {
                    Command::Close { answer } => close = Some(answer),
                    Command::Find {
                        name,
                        token,
                        news,
                        claim,
                        answer,
                    } => self.questions.push(Question {
                        name,
                        token,
                        news,
                        claim,
                        answer,
                    }),
                    other => self.obey(other, now),
                }
                if self.rolled {
                    self.commit();
                    self.reclaim();
                }
            }
            self.expire(now);
            self.commit();
            for question in mem::take(&mut self.questions) {
                self.answer(question, now);
            }
            self.try_again(now);
            self.reclaim();
            self.sync_if_due(now);
            if let Some(answer) = close {
                return self.finish(answer);
            }
        }
    }

    /// How long there is nothing to do without a command.
    fn wait(&self) -> Option<Duration> {
        let sync = match self.settings.sync {
            Sync::Interval(every) if !self.syncer.is_busy() && self.has_unsynced() => {
                self.synced_at.checked_add(every)
            }
            _ => None,
        };
        let again = self.outage.as_ref().map(|outage| outage.again);
        let next = [sync, again, self.index.next_due()]
            .into_iter()
            .flatten()
            .min()?;
        Some(next.saturating_duration_since(self.storage.now()))
    }

    fn obey(&mut self, command: Command, now: Instant) {
        match command {
            Command::Create { name, token, news } => self.create(name, token, news),
            Command::Begin {
                token,
                head,
                retain,
            } => self.begin(token, head, retain),
            Command::Append {
                token,
                record,
                room,
                answer,
            } => {
                self.append(token, &record, answer);
                // What is staged is in the group's bytes now.
                drop(room);
            }
            Command::Trim { token, low } => {
                if let Some(number) = self.holders.get(&token) {
                    self.index.trim(*number, low);
                }
            }
            Command::Leave { token } => self.leave(token, now),
            Command::Forget { token, answer } => self.forget(token, answer, now),
            Command::Unalias { alias, stream } => self.take_alias(&alias, &stream, now),
            Command::Alias {
                alias,
                stream,
                retain,
                instead,
                answer,
            } => {
                if let Some(instead) = instead {
                    self.take_alias(&alias, &instead, now);
                }
                self.alias(alias, stream, retain, answer, now);
            }
            Command::Resolve { alias, answer } => {
                // What is not written yet may come to nothing.
                self.commit();
                let number = self.index.alias_names.get(&alias);
                let known = number.and_then(|number| self.index.aliases.get(number));
                let _ = answer.send(Ok(known.map(|known| known.stream.clone())));
            }
            Command::Synced => self.synced(),
            Command::Find { .. } | Command::Close { .. } => {}
        }
    }

    // === Commands ===

    fn create(&mut self, name: Name, token: u64, news: UnboundedSender<News>) {
        // Names are never given twice. Were one, the later stream has it.
        if let Some(old) = self.index.names.get(&name).copied() {
            self.displace(old);
            self.drop_stream(old, None);
        }
        let number = self.index.number();
        self.index.stream(number);
        self.index.name(number, name);
        self.hold(number, token, news);
    }

    fn hold(&mut self, number: u64, token: u64, news: UnboundedSender<News>) {
        self.displace(number);
        self.holders.insert(token, number);
        self.index.hold(number, Holder { token, news });
    }

    /// Whoever has the stream has it no longer.
    pub(super) fn displace(&mut self, number: u64) {
        let stream = self.index.streams.get_mut(&number);
        if let Some(holder) = stream.and_then(|stream| stream.holder.take()) {
            self.holders.remove(&holder.token);
            let _ = holder.news.send(News::Disowned);
        }
    }

    fn begin(&mut self, token: u64, head: Bytes, retain: Duration) {
        let Some(number) = self.holders.get(&token).copied() else {
            return;
        };
        let stream = self.index.stream(number);
        stream.retain = retain;
        stream.unwritten = Some(head);
        // What goes wrong is said when a record is appended.
        let _ = self.stage_head(number);
    }

    fn append(&mut self, token: u64, record: &Record, answer: Answer<Appended>) {
        let Some(number) = self.holders.get(&token).copied() else {
            let _ = answer.send(Ok(Appended::Disowned));
            return;
        };
        if self.is_unaware(number, record) {
            let what = "a failed sync lost what was before; it is to be given again";
            let _ = answer.send(Err(JournalError::new(what)));
            return self.tell_owned(number, false);
        }
        match self.stage_record(number, record) {
            Ok((ordinal, place)) => self.group.push(
                place,
                Change::Record {
                    number,
                    ordinal,
                    outline: record.outline(),
                    answer,
                },
            ),
            Err(error) => {
                self.lacking.insert(number);
                let _ = answer.send(Err(error));
            }
        }
    }

    /// Whether a stream goes on after a loss that it has not heard of. Taking
    /// the record would be to forget all that was not lost. Asked only once: it
    /// may have no more to give.
    fn is_unaware(&mut self, number: u64, record: &Record) -> bool {
        let Some(stream) = self.index.streams.get_mut(&number) else {
            return false;
        };
        let first = record.batch.first;
        let lost = self.outage.is_none().then(|| stream.unaware.take());
        lost.flatten().is_some_and(|until| first == until + 1) && first > stream.records.last() + 1
    }

    fn leave(&mut self, token: u64, now: Instant) {
        let Some(number) = self.holders.remove(&token) else {
            // Whoever asked has gone before there was an answer.
            self.questions.retain(|question| question.token != token);
            return;
        };
        self.lacking.remove(&number);
        let stream = self.index.streams.get(&number);
        if stream.is_some_and(|stream| stream.is_begun() || stream.touched) {
            self.index.leave(number, now);
        } else {
            self.index.forget(number);
        }
    }

    fn forget(&mut self, token: u64, answer: Answer<()>, now: Instant) {
        let Some(number) = self.holders.remove(&token) else {
            let _ = answer.send(Ok(()));
            return;
        };
        self.lacking.remove(&number);
        // If this cannot be written, its time runs.
        self.index.leave(number, now);
        self.drop_stream(number, Some(answer));
    }

    /// Forgets a stream, for good if it was written.
    pub(super) fn drop_stream(&mut self, number: u64, answer: Option<Answer<()>>) {
        let stream = self.index.streams.get(&number);
        if stream.is_none_or(|stream| !stream.touched) {
            self.index.forget(number);
            if let Some(answer) = answer {
                let _ = answer.send(Ok(()));
            }
            return;
        }
        match self.stage_forget(number) {
            Ok(place) => self.group.push(place, Change::Forget { number, answer }),
            Err(error) => {
                // Its time runs once more.
                self.index.leave(number, self.storage.now());
                if let Some(answer) = answer {
                    let _ = answer.send(Err(error));
                }
            }
        }
    }

    fn drop_alias(&mut self, number: u64, now: Instant) {
        match self.stage_forget(number) {
            Ok(place) => self.group.push(place, Change::ForgetAlias { number }),
            // Its time runs once more.
            Err(_) => self.index.leave(number, now),
        }
    }

    /// Takes an alias away from that stream, if it has it.
    fn take_alias(&mut self, alias: &Name, from: &Name, now: Instant) {
        let Some(number) = self.index.alias_names.get(alias).copied() else {
            return;
        };
        let known = self.index.aliases.get(&number);
        if known.is_some_and(|known| known.stream == *from) {
            self.drop_alias(number, now);
            // Whoever gives it again finds it free.
            self.commit();
        }
    }

    fn alias(
        &mut self,
        alias: Name,
        stream: Name,
        retain: Duration,
        answer: Answer<Option<Name>>,
        now: Instant,
    ) {
        let unwritten = |index: &Index| {
            let known = index.aliases.get(index.alias_names.get(&alias)?)?;
            known.place.is_none().then_some(())
        };
        if unwritten(&self.index).is_some() {
            // Somebody else is giving it just now: whether that works shows.
            self.commit();
        }
        if let Some(number) = self.index.alias_names.get(&alias).copied() {
            self.index.leave(number, now);
            let given = self.index.aliases.get(&number).map(|known| &known.stream);
            let other = given.filter(|given| **given != stream).cloned();
            let _ = answer.send(Ok(other));
            return;
        }
        let number = self.index.number();
        self.index.add_alias(number, alias, stream, retain);
        self.index.leave(number, now);
        match self.stage_alias(number) {
            Ok(place) => self.group.push(
                place,
                Change::Alias {
                    number,
                    answer: Some(answer),
                },
            ),
            Err(error) => {
                self.index.forget_alias(number);
                let _ = answer.send(Err(error));
            }
        }
    }

    fn answer(&mut self, question: Question, now: Instant) {
        let Question {
            name,
            token,
            news,
            claim,
            answer,
        } = question;
        if let Some(alias) = self.index.alias_names.get(&name).copied() {
            self.index.leave(alias, now);
        }
        let found = self.index.find(&name);
        let begun = found.filter(|number| {
            let stream = self.index.streams.get(number);
            stream.is_some_and(Stream::is_begun)
        });
        let place = match (begun, found) {
            (Some(number), _) => {
                self.hold(number, token, news);
                self.tell_owned(number, true);
                self.reading(number).map_or(Place::Nothing, Place::Kept)
            }
            (None, Some(number)) if claim => {
                self.hold(number, token, news);
                Place::New
            }
            (None, None) if claim => {
                self.create(name, token, news);
                Place::New
            }
            (None, _) => Place::Nothing,
        };
        let _ = answer.send(Ok(place));
    }

    /// Tells a stream that it may go on, and from where. `found` if it is not
    /// the one that wrote what is there.
    pub(super) fn tell_owned(&self, number: u64, found: bool) {
        let Some(stream) = self.index.streams.get(&number) else {
            return;
        };
        let Some(holder) = &stream.holder else {
            return;
        };
        let _ = holder.news.send(News::Owned {
            continuous: !found || stream.doubt.is_none(),
            last: stream.records.last(),
        });
    }

    fn reading(&self, number: u64) -> Option<Reading> {
        let file = |segment| Some(Arc::clone(&self.index.segments.get(segment)?.file));
        let stream = self.index.streams.get(&number)?;
        let head = match (&stream.unwritten, stream.head) {
            (Some(head), _) => Head::Here(head.clone()),
            (None, Some(place)) => Head::At(file(place.segment)?, place),
            (None, None) => return None,
        };
        let mut runs: Vec<(_, Vec<super::segment::Place>)> = Vec::new();
        for place in stream.records.places() {
            match runs.last_mut() {
                Some((_, run)) if run[0].segment == place.segment => run.push(place),
                _ => runs.push((file(place.segment)?, vec![place])),
            }
        }
        Some(Reading { head, runs })
    }

    // === Time ===

    fn expire(&mut self, now: Instant) {
        while let Some(due) = self.index.pop_due(now) {
            match due {
                Due::Stream(number) => self.drop_stream(number, None),
                Due::Alias(number) => self.drop_alias(number, now),
            }
        }
    }

    // === Syncing ===

    fn has_unsynced(&self) -> bool {
        let mut all = self.index.segments.iter();
        all.any(|(_, segment)| segment.synced < segment.len)
    }

    fn sync_if_due(&mut self, now: Instant) {
        let Sync::Interval(every) = self.settings.sync else {
            return;
        };
        let due = now.saturating_duration_since(self.synced_at) >= every;
        if !due || self.syncer.is_busy() || !self.has_unsynced() {
            return;
        }
        self.synced_at = now;
        let unsynced = self.index.segments.iter();
        let unsynced = unsynced.filter(|(_, segment)| segment.synced < segment.len);
        let job = unsynced.map(|(number, segment)| (number, segment.len, segment.file.clone()));
        let job = job.collect();
        self.syncer.start(job);
    }

    fn synced(&mut self) {
        if let Some(done) = self.syncer.done() {
            self.judge(done);
        }
    }

    fn judge(&mut self, done: Done) {
        for (number, len, result) in done {
            match result {
                Ok(()) => {
                    if let Some(segment) = self.index.segments.get_mut(number) {
                        segment.synced = segment.synced.max(len.min(segment.len));
                    }
                }
                Err(error) => self.sync_failed(number, &error),
            }
        }
    }

    /// Syncs what is not synced yet, here and now. False if that failed.
    pub(super) fn sync_all(&mut self) -> bool {
        if let Some(done) = self.syncer.wait() {
            self.judge(done);
        }
        let unsynced = self.index.segments.iter();
        let unsynced = unsynced.filter(|(_, segment)| segment.synced < segment.len);
        let unsynced: Vec<_> = unsynced
            .map(|(number, segment)| (number, segment.len, segment.file.clone()))
            .collect();
        for (number, len, file) in unsynced {
            match file.sync() {
                Ok(()) => {
                    if let Some(segment) = self.index.segments.get_mut(number) {
                        segment.synced = len;
                    }
                }
                Err(error) => {
                    self.sync_failed(number, &error);
                    return false;
                }
            }
        }
        true
    }

    // === The end ===

    /// Makes everything safe and says so. The directory is free when the answer
    /// comes.
    fn finish(mut self, answer: Option<Answer<()>>) {
        // Whatever is dropped is answered by that.
        drop(self.shared.queue.close());
        let done = self.end();
        drop(self);
        if let Some(answer) = answer {
            let _ = answer.send(done);
        }
    }

    fn end(&mut self) -> Result<(), JournalError> {
        self.sync_all();
        if let Some(outage) = &self.outage {
            return Err(outage.error());
        }
        let Some(last) = self.index.segments.newest() else {
            return Ok(());
        };
        let len = self
            .index
            .segments
            .get(last)
            .map_or(0, |segment| segment.len);
        let state = State::clean(last, len, self.storage.boot());
        let written = state.write(&*self.storage);
        written.map_err(|error| {
            let name = self.storage.name();
            JournalError::new(format!("{name} could not be closed in order: {error}"))
        })
    }
}
