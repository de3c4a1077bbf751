//! A record on its way.

use bytes::Bytes;
use tokio::time::Instant;

use super::{Appending, Cursor, Exchange, State, Step};
use crate::journal::redis::scripts::{self, Argument, Call, Reply, Strange};
use crate::journal::{Appended, Record};

impl State {
    /// A record is to be kept. Whether this may be tried.
    pub(in super::super) fn start_append(&mut self, now: Instant) -> bool {
        self.tick(now);
        if !self.owned || self.dropped {
            return false;
        }
        self.turn += 1;
        self.appending = Some(Appending::default());
        true
    }

    /// What is to be done about it now.
    pub(in super::super) fn append_step(&mut self, record: &Record, bytes: &Bytes) -> Step {
        let begun = self.head.as_ref().is_none_or(|head| head.known) && self.token > 0;
        let goes_on_alone = self.common.terms.alone_after.is_some() && !self.owns();
        let Some(appending) = &mut self.appending else {
            return Step::Give(Appended::Disowned);
        };
        if appending.void || self.dropped || goes_on_alone {
            return Step::Give(Appended::Disowned);
        }
        if !begun {
            return Step::Wait;
        }
        appending.sent = true;
        let arguments = [
            self.owner().argument(),
            self.token.argument(),
            self.turn.argument(),
            record.batch.first.argument(),
            record.batch.last().argument(),
            record.low.max(self.low).argument(),
            self.common.terms.ttl.argument(),
            bytes.clone(),
        ];
        Step::Send(Call::new(&scripts::APPEND, &self.keys, arguments))
    }

    /// Redis answered.
    pub(in super::super) fn appended(
        &mut self,
        last: u64,
        mut reply: Reply,
        when: Exchange,
    ) -> Result<Appended, Strange> {
        if reply.word() != "kept" {
            self.refused(when.now);
            return Ok(Appended::Disowned);
        }
        let sub = reply.number()?;
        self.cursor = Cursor {
            last,
            entry: format!("{last}-{sub}"),
        };
        if last >= self.high {
            self.high = last;
            if let Some(branch) = self.refilled.take() {
                self.branch = branch;
            }
        }
        self.lease.confirmed(when.sent, when.now);
        Ok(Appended::Kept)
    }

    /// The append is over: what became of it is known, or was never sent.
    pub(in super::super) fn settle_append(&mut self) {
        self.appending = None;
    }

    /// Nobody waits for it any more, and it may yet be kept. Only Redis knows,
    /// and only the next owner is told.
    pub(in super::super) fn abandon_append(&mut self, now: Instant) {
        match self.appending.take() {
            Some(append) if append.sent => self.refused(now),
            Some(_) => self.turn -= 1,
            None => {}
        }
    }
}
