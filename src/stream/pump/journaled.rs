//! What a stream does about its journal: it keeps what it publishes, follows
//! what others publish, and goes on where they left off.

use std::future::poll_fn;
use std::task::Poll;

use bytes::BytesMut;
use tokio::time::Instant;

use super::{Keeper, Pump, Upstream};
use crate::journal::{Appended, JournalError, News, Record, Reply};
use crate::log::{Batch, Log, Ring};
use crate::observe::Signal;
use crate::stream::keeper::Role;
use crate::stream::saved::Saved;
use crate::stream::session::End;
use crate::stream::stream::Stop;
use crate::stream::writer::{Writer, restamp};

/// So much is given back to a journal at once.
const GIVE_BACK: usize = 256 << 10;

/// What became of a record that was waited for.
enum Kept {
    Yes,
    Disowned,
    Failed(JournalError),
    /// The stream is to be forgotten: nobody waits any more.
    Left,
}

impl Pump {
    /// Sees to it that the journal has a batch before anybody else does. `None`:
    /// it must not be published.
    pub(super) async fn keep(&mut self, batch: Batch) -> Option<Batch> {
        let Some(keeper) = &mut self.keeper else {
            return Some(batch);
        };
        match keeper.role {
            Role::Owner => {}
            Role::Alone => return Some(batch),
            // What this connection brought, the owner's brings as well.
            Role::Follower | Role::Waiting => return None,
        }
        match self.append(batch.clone(), self.saved(None)).await {
            Kept::Yes => Some(batch),
            Kept::Disowned => {
                self.disown();
                None
            }
            Kept::Left => {
                // Somebody may come just now, to a log that lacks it.
                self.tear("it is evicted");
                None
            }
            Kept::Failed(error) => {
                self.observe(Signal::JournalFailed);
                tracing::error!(%error, "the stream goes on in memory only");
                let from = self.stream.epoch();
                self.go_alone();
                // Whether the journal has it is not known: under the ids it was
                // to have, it may be found there by others.
                let mut bytes = BytesMut::from(&batch.bytes[..]);
                restamp(&mut bytes, &batch.entries, from, self.stream.epoch());
                Some(Batch {
                    bytes: bytes.freeze(),
                    ..batch
                })
            }
        }
    }

    /// Where the stream is after everything the writer has taken in.
    fn saved(&self, end: Option<End>) -> Saved {
        Saved {
            epochs: self.stream.copy_epochs(),
            ids: self.writer.ids(),
            last_id: self.writer.last_id().cloned(),
            doubtful: self.is_doubtful(),
            finished: self.session.is_finished(),
            partial: false,
            end,
        }
    }

    async fn append(&mut self, batch: Batch, saved: Saved) -> Kept {
        let low = self.stream.log.with(Ring::low);
        let Some(keeper) = &mut self.keeper else {
            return Kept::Yes;
        };
        let kept = match keeper.append(batch, &saved, low) {
            Some(reply) => self.wait(reply).await,
            None => Kept::Yes,
        };
        // What was not kept is not where the next owner goes on, were it this one.
        if let (Kept::Yes, Some(keeper)) = (&kept, &mut self.keeper) {
            keeper.saved = saved;
        }
        kept
    }

    /// Waits for the journal, without being deaf to all else: a journal may be
    /// out of reach for long.
    async fn wait(&mut self, mut reply: Reply<Appended>) -> Kept {
        poll_fn(|cx| {
            if let Poll::Ready(answer) = reply.as_mut().poll(cx) {
                return Poll::Ready(match answer {
                    Ok(Appended::Kept) => Kept::Yes,
                    Ok(Appended::Disowned) => Kept::Disowned,
                    Err(error) => Kept::Failed(error),
                });
            }
            while let Poll::Ready(orders) = self.stream.poll_orders(cx) {
                self.obey(orders);
            }
            if self.session.is_over() {
                return Poll::Ready(Kept::Left);
            }
            // Another process may connect from now on; what is to be done beside
            // that is done when the news are looked at.
            if self
                .keeper
                .as_mut()
                .is_some_and(|keeper| keeper.is_disowned(cx))
            {
                self.upstream = Upstream::None;
            }
            Poll::Pending
        })
        .await
    }

    /// How the stream ended is part of it. Nothing is appended after that.
    pub(super) async fn keep_end(&mut self, end: End) {
        if self.keeper.as_ref().is_some_and(|k| k.role == Role::Owner)
            && let Kept::Failed(error) = self.append(self.nothing(), self.saved(Some(end))).await
        {
            self.observe(Signal::JournalFailed);
            tracing::error!(%error, "how the stream ended is known in memory only");
        }
        self.drop_keeper();
    }

    /// Nothing of a stream that nobody is to find is kept.
    pub(super) async fn forget_kept(&mut self) {
        let forgotten = self.keeper.take_if(|keeper| keeper.role == Role::Owner);
        if let Some(forgotten) = forgotten.and_then(|keeper| keeper.forget())
            && let Err(error) = forgotten.await
        {
            tracing::warn!(%error, "a stream that is over is kept for a while");
        }
    }

    /// Tells those who follow that a gap is to be feared, or no more.
    pub(super) async fn keep_doubt(&mut self) {
        let doubtful = self.is_doubtful();
        let news = self.keeper.as_ref().is_some_and(|keeper| {
            keeper.role == Role::Owner && keeper.read_elsewhere && keeper.saved.doubtful != doubtful
        });
        if !news {
            return;
        }
        match self.append(self.nothing(), self.saved(None)).await {
            Kept::Yes | Kept::Left => {}
            Kept::Disowned => self.disown(),
            Kept::Failed(error) => {
                self.observe(Signal::JournalFailed);
                tracing::error!(%error, "the stream goes on in memory only");
                self.go_alone();
            }
        }
    }

    fn nothing(&self) -> Batch {
        Batch {
            first: self.stream.log.with(Ring::high) + 1,
            ..Batch::default()
        }
    }

    /// Lets another process have the upstream, if one has readers for it. Whether
    /// that was done.
    pub(super) async fn hand_over(&mut self) -> bool {
        let Some(keeper) = &mut self.keeper else {
            return false;
        };
        if keeper.role != Role::Owner || !keeper.read_elsewhere || self.source.is_none() {
            return false;
        }
        self.disconnect().await;
        let Some(keeper) = self.keeper.as_mut().filter(|k| k.role == Role::Owner) else {
            return true;
        };
        if let Some(released) = keeper.release()
            && let Err(error) = released.await
        {
            tracing::warn!(%error, "others take the stream over when its lease ends");
        }
        self.disown();
        true
    }

    // === News ===

    pub(super) async fn heed(&mut self, news: News) {
        match news {
            News::Record(record) => self.follow(record),
            News::Owned { continuous, last } => self.own(continuous, last).await,
            News::Disowned => match self.keeper.as_ref().map(|keeper| keeper.role) {
                // What was published alone, nobody else has.
                Some(Role::Alone) => self.tear("another process went on with it"),
                Some(Role::Owner) => self.disown(),
                _ => {}
            },
            News::Alone if self.follows() && self.source.is_none() => {
                self.tear("it cannot be asked for again, and its owner not be heard");
            }
            News::Alone => {
                if self.keeper.as_ref().is_some_and(|k| k.role != Role::Alone) {
                    tracing::warn!("the journal is out of reach; the stream goes on without it");
                    self.observe(Signal::JournalFailed);
                    self.go_alone();
                }
            }
            News::Readers(elsewhere) => {
                if let Some(keeper) = &mut self.keeper {
                    keeper.read_elsewhere = elsewhere && keeper.role == Role::Owner;
                }
                self.count_readers();
            }
            News::Stop { forget } => {
                let reason = "stopped by its client";
                self.stop(Stop { reason, forget }, Instant::now());
            }
            News::Diverged => self.tear("the journal has another one of that name"),
        }
    }

    /// Publishes what the owner did.
    fn follow(&mut self, record: Record) {
        let Some(keeper) = &mut self.keeper else {
            return;
        };
        match keeper.role {
            Role::Follower => {}
            Role::Owner => return,
            Role::Waiting | Role::Alone => return self.tear("the journal has it"),
        }
        let Ok(saved) = Saved::decode(record.state) else {
            return self.tear("the journal has what this version cannot read");
        };
        let high = self.stream.log.with(Ring::high);
        if record.batch.first > high + 1 {
            return self.tear("it fell behind what the journal retains");
        }
        // An empty log has nothing that could be contradicted.
        let ours = self.stream.copy_epochs();
        if high > 0 && !saved.epochs.continue_from(&ours, high) {
            return self.tear("the journal lost what this process has");
        }
        keeper.saved = saved.clone();
        self.session.restore(&saved, Instant::now());
        self.stream.set_epochs(saved.epochs);
        // Given back to the journal, it may come in other pieces than before.
        let batch = record.batch.after(high);
        if !batch.entries.is_empty() || !batch.seams.is_empty() {
            let now = Instant::now();
            let change = self.stream.log.publish(&batch, self.hold(), now);
            self.account(change);
            if !self.stream.log.has_room(self.hold()) {
                self.block();
            }
        }
    }

    async fn own(&mut self, continuous: bool, last: u64) {
        let Some(keeper) = &mut self.keeper else {
            return;
        };
        if last > self.stream.log.with(Ring::high) {
            return self.tear("the journal has more of it");
        }
        if keeper.role == Role::Waiting {
            // Some of those who wait were elsewhere in it before.
            return self.tear("the journal is back");
        }
        let before = std::mem::replace(&mut keeper.role, Role::Owner);
        let proved = continuous && !keeper.saved.partial;
        if last == 0 {
            keeper.begin(self.stream.policy.retain);
        }
        match before {
            Role::Owner => {}
            Role::Alone => self.observe(Signal::Durable(true)),
            Role::Follower | Role::Waiting => {
                self.observe(Signal::Owned);
                self.take_up_writing();
            }
        }
        // Alone, it had an epoch of its own already.
        if !proved && before != Role::Alone {
            self.change_epoch();
        }
        self.count_readers();
        self.session.owned(Instant::now());
        self.give_back(last).await;
    }

    /// Appends what the log has and the journal does not.
    async fn give_back(&mut self, mut last: u64) {
        loop {
            let log = &self.stream.log;
            let batch = log.with(|ring| ring.batch(last.max(ring.low()), GIVE_BACK));
            let Some(batch) = batch else { return };
            last = batch.last();
            let mut saved = self.saved(None);
            // Were what follows lost again, an owner would go on from here.
            if last < log.with(Ring::high) {
                saved.partial = true;
                saved.last_id = log.with(|ring| ring.identified(last).map(|(_, id)| id.clone()));
                saved.finished = false;
            }
            match self.append(batch, saved).await {
                Kept::Yes => {}
                Kept::Left => return,
                Kept::Disowned => return self.disown(),
                Kept::Failed(error) => {
                    self.observe(Signal::JournalFailed);
                    tracing::warn!(%error, "the journal still lacks part of the stream");
                    return self.go_alone();
                }
            }
        }
    }

    // === Changes of role ===

    fn disown(&mut self) {
        let Some(keeper) = &mut self.keeper else {
            return;
        };
        keeper.role = Role::Follower;
        // Only owners are told.
        keeper.read_elsewhere = false;
        self.count_readers();
        self.upstream = Upstream::None;
        // What it decoded was not published and is not going to be.
        self.writer.take();
        self.session.disowned(Instant::now());
        self.count_readers();
        self.observe(Signal::Disowned);
    }

    /// Goes on without the journal. Others may have the stream by now, so what
    /// follows gets ids that they do not give.
    fn go_alone(&mut self) {
        let Some(keeper) = &mut self.keeper else {
            return;
        };
        let before = std::mem::replace(&mut keeper.role, Role::Alone);
        keeper.read_elsewhere = false;
        if before == Role::Follower {
            self.take_up_writing();
        }
        if before != Role::Alone {
            self.observe(Signal::Durable(false));
        }
        self.change_epoch();
        self.session.owned(Instant::now());
        self.count_readers();
    }

    fn take_up_writing(&mut self) {
        if let Some(keeper) = &self.keeper {
            let rules = self.stream.policy.rules();
            self.writer = Writer::resumed(rules, &keeper.saved, &self.stream.log);
        }
    }

    fn change_epoch(&mut self) {
        let before = self.stream.epoch();
        // Without random numbers there is no id that nobody else can have given.
        let Ok(next) = before.next() else {
            return self.tear("no random numbers");
        };
        let mut epochs = self.stream.copy_epochs();
        epochs.begin(next, self.stream.log.with(Ring::high));
        self.stream.set_epochs(epochs);
        self.writer.change_epoch(before, next);
    }

    /// This process's copy of the stream is of no more use. Its readers come
    /// back, and are told.
    fn tear(&mut self, reason: &'static str) {
        tracing::info!(reason, "a stream is let go; its clients come back");
        self.torn = true;
    }

    pub(super) fn drop_keeper(&mut self) {
        if let Some(keeper) = self.keeper.take()
            && keeper.role == Role::Alone
        {
            self.observe(Signal::Durable(true));
        }
    }

    /// What rests can be had again from its journal: memory need not hold it.
    pub(super) fn rests_in_journal(&self) -> bool {
        self.keeper.as_deref().is_some_and(Keeper::is_durable)
    }

    pub(super) fn is_read_elsewhere_only(&self) -> bool {
        self.readers == 0 && self.keeper.as_ref().is_some_and(|k| k.read_elsewhere)
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.keeper
            .as_ref()
            .is_some_and(|k| k.role == Role::Waiting)
    }

    pub(super) fn follows(&self) -> bool {
        self.keeper.as_deref().is_some_and(Keeper::follows)
    }
}

/// What the log no longer has, its journal need not keep.
pub(super) fn trim(keeper: Option<&mut Keeper>, log: &Log) {
    if let Some(keeper) = keeper {
        let (low, high) = log.with(|ring| (ring.low(), ring.high()));
        keeper.trim(low, high);
    }
}
