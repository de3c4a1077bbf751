//! What a replica learns from an answer, and tells the stream.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{Ask, Cursor, Exchange, LONGEST, State};
use crate::journal::redis::scripts::{Reply, Strange};
use crate::journal::{News, Record};

impl State {
    /// Nothing was, or nothing that makes sense.
    pub(in super::super) fn failed(&mut self, ask: Ask, now: Instant) {
        self.asking = false;
        self.lease.failed(now);
        self.again = Some(now + self.common.terms.beat / 4);
        self.over |= ask == Ask::Release;
        self.behind |= ask == Ask::Read;
    }

    pub(in super::super) fn answered(
        &mut self,
        ask: Ask,
        reply: Reply,
        when: Exchange,
    ) -> Result<(), Strange> {
        self.asking = false;
        self.again = None;
        let result = match ask {
            Ask::Begin => self.begun(reply, when),
            Ask::Renew => self.renewed(reply, when),
            Ask::Look => self.looked(reply, when),
            Ask::Read => self.fetched(reply).map(drop),
            Ask::Release => {
                self.over = true;
                Ok(())
            }
        };
        if std::mem::take(&mut self.outdated) {
            self.lease.stirred(when.now);
        }
        result
    }

    pub(super) fn begun(&mut self, mut reply: Reply, when: Exchange) -> Result<(), Strange> {
        if reply.word() != "mine" {
            self.refused(when.now);
            return Ok(());
        }
        self.token = reply.number()?;
        if let Some(head) = &mut self.head {
            head.known = true;
        }
        self.generation = when.generation;
        self.lease.confirmed(when.sent, when.now);
        self.settled = true;
        Ok(())
    }

    /// The claim on the name succeeded.
    pub(in super::super) fn claimed(
        &mut self,
        mut reply: Reply,
        when: Exchange,
    ) -> Result<(), Strange> {
        self.token = reply.number()?;
        self.generation = when.generation;
        self.owned = self.lease.mine(when.sent, when.now);
        if !self.owned {
            self.tell(News::Disowned);
        }
        Ok(())
    }

    pub(super) fn renewed(&mut self, mut reply: Reply, when: Exchange) -> Result<(), Strange> {
        if reply.word() != "held" {
            self.refused(when.now);
            return Ok(());
        }
        self.lease.confirmed(when.sent, when.now);
        if self.appending.is_none() {
            self.generation = when.generation;
        }
        let read = reply.number()? == 1;
        if read != self.read_elsewhere && self.owned {
            self.read_elsewhere = read;
            self.tell(News::Readers(read));
        }
        let stop = reply.number()?;
        if stop > 0 && self.owned && !std::mem::replace(&mut self.stopped, true) {
            self.tell(News::Stop { forget: stop == 2 });
        }
        Ok(())
    }

    pub(super) fn looked(&mut self, mut reply: Reply, when: Exchange) -> Result<(), Strange> {
        match reply.word() {
            "none" => self.lease.free(when.now),
            "other" => self.diverge(),
            "held" => {
                let remaining = Duration::from_millis(reply.number()?).min(LONGEST);
                self.seen(&mut reply)?;
                self.lease.held(remaining, when.now);
            }
            "free" => {
                self.seen(&mut reply)?;
                self.lease.free(when.now);
            }
            "mine" => self.acquired(&mut reply, when)?,
            _ => return Err(Strange),
        }
        Ok(())
    }

    pub(super) fn seen(&mut self, reply: &mut Reply) -> Result<(), Strange> {
        let last = reply.number()?;
        self.birth = reply.text()?;
        self.branch = reply.text()?;
        self.behind |= last > self.cursor.last;
        Ok(())
    }

    pub(super) fn acquired(&mut self, reply: &mut Reply, when: Exchange) -> Result<(), Strange> {
        self.token = reply.number()?;
        let last = reply.number()?;
        let continuous = reply.number()? == 1;
        self.birth = reply.text()?;
        let branch = reply.text()?;
        let known = reply.number()? == 1;
        if let Some(head) = &mut self.head {
            head.known = known;
        }
        self.acquisition += 1;
        self.turn = 0;
        self.generation = when.generation;
        if !self.lease.mine(when.sent, when.now) {
            return Ok(());
        }
        self.acquired = Some((last, continuous));
        if self.high > last {
            // There is nothing to read, and something to give back.
            self.refilled = Some(branch);
            self.behind = false;
            self.own();
        } else {
            // Read once more in any case: a record need not have blocks.
            self.branch = branch;
            self.behind = true;
        }
        Ok(())
    }

    /// Takes records; whether there are more.
    pub(in super::super) fn fetched(&mut self, mut reply: Reply) -> Result<bool, Strange> {
        let more = match reply.word() {
            "all" => false,
            "more" => true,
            "none" => {
                self.own();
                return Ok(false);
            }
            "other" => {
                self.diverge();
                return Ok(false);
            }
            _ => return Err(Strange),
        };
        self.birth = reply.text()?;
        let branch = reply.text()?;
        let _last = reply.number()?;
        let entries = reply.entries()?;
        if self.refilled.is_none() {
            self.branch = branch;
        }
        self.behind |= more;
        for (entry, bytes) in entries {
            let Some(record) = self.next_record(&entry, bytes) else {
                tracing::error!(entry, "redis has a record that this version cannot read");
                self.diverge();
                return Ok(false);
            };
            self.cursor = Cursor {
                last: record.batch.last(),
                entry,
            };
            self.high = self.high.max(self.cursor.last);
            self.tell(News::Record(record));
        }
        if !more {
            self.own();
        }
        Ok(more)
    }

    /// The record of an entry, if that is what it must be: the next one.
    pub(super) fn next_record(&self, entry: &str, bytes: Bytes) -> Option<Record> {
        let record = Record::decode(bytes).ok()?;
        let last: u64 = entry.split('-').next()?.parse().ok()?;
        let follows = record.batch.first > self.cursor.last && record.batch.last() == last;
        follows.then_some(record)
    }

    /// To a stream that takes no news, ownership that ended before it was told
    /// of need not be told: so that what waits here is bounded.
    pub(super) fn tell(&mut self, news: News) {
        let readers = matches!(self.news.back(), Some(News::Readers(_)));
        if readers && !matches!(news, News::Record(_)) {
            self.news.pop_back();
        }
        if let (News::Owned { .. }, [.., News::Owned { .. }, News::Disowned | News::Alone]) =
            (&news, &*self.news.make_contiguous())
        {
            self.news.truncate(self.news.len() - 2);
        }
        self.news.push_back(news);
    }

    /// All that others appended has been handed over.
    pub(super) fn own(&mut self) {
        if let Some((last, continuous)) = self.acquired.take() {
            self.owned = true;
            self.read_elsewhere = false;
            self.tell(News::Owned { continuous, last });
        }
    }

    pub(super) fn diverge(&mut self) {
        self.diverged = true;
        self.disown();
        self.tell(News::Diverged);
    }

    /// Redis says that this replica is not the owner, or that the owner's
    /// records are gone.
    pub(super) fn refused(&mut self, now: Instant) {
        self.lease.refused(now);
        if let Some(appending) = &mut self.appending {
            appending.void = true;
        }
        let owned = self.owned;
        self.disown();
        if owned {
            self.tell(News::Disowned);
        }
    }
}
