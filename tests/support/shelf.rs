//! A journal in memory that several engines share as if they were processes,
//! and that fails when it is told to.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;
use tower_sse::journal::{
    Appended, Claim, Health, Journal, JournalError, Kept, Name, News, OnLoss, Record, Replica,
    Reply,
};

#[derive(Clone, Debug, Default)]
pub(crate) struct Shelf(Arc<Mutex<State>>, Arc<Notify>);

#[derive(Debug, Default)]
struct State {
    streams: HashMap<Name, Stream>,
    aliases: HashMap<Name, Alias>,
    /// Whether the next name is given, and the answer to it lost.
    losing_answer: bool,
    replicas: u64,
    /// So many appends fail from now on.
    failing: usize,
    /// After so many more appends, no append is answered.
    stalling: Option<usize>,
    /// What was acknowledged may be gone.
    lossy: bool,
}

#[derive(Debug, Default)]
struct Stream {
    head: Option<Bytes>,
    /// Each with its number, of which none is used again.
    records: Vec<(u64, Record)>,
    numbers: u64,
    owner: Option<u64>,
    members: BTreeMap<u64, Member>,
    /// What the owner is still to be told.
    stop: Option<bool>,
}

/// The stream that has a name, and until when it has.
#[derive(Debug)]
struct Alias {
    stream: Name,
    until: Instant,
}

#[derive(Debug)]
struct Member {
    desk: Desk,
    read: bool,
    waker: Option<Waker>,
}

impl Shelf {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One process's access.
    pub(crate) fn desk(&self, on_loss: OnLoss) -> Desk {
        Desk {
            shelf: self.clone(),
            on_loss,
            standing: Arc::default(),
        }
    }

    /// The next name is given, and whoever asked for it never learns.
    pub(crate) fn lose_answer(&self) {
        self.state().losing_answer = true;
    }

    pub(crate) fn fail_next(&self, appends: usize) {
        self.state().failing = appends;
    }

    /// After so many more appends, none is answered.
    pub(crate) fn stall_after(&self, appends: usize) {
        self.state().stalling = Some(appends);
    }

    /// Appends are answered again.
    pub(crate) fn flow(&self) {
        self.state().stalling = None;
    }

    /// As are those that were not.
    pub(crate) fn catch_up(&self) {
        self.1.notify_waiters();
    }

    /// Loses the last records of all streams, as a restart without its data.
    pub(crate) fn lose(&self, records: usize) {
        let mut state = self.state();
        state.lossy = true;
        for stream in state.streams.values_mut() {
            let kept = stream.records.len().saturating_sub(records);
            stream.records.truncate(kept);
            stream.owner = None;
            stream.wake();
        }
    }

    /// Nothing more is lost: what is there is all that was acknowledged since.
    pub(crate) fn trust(&self) {
        self.state().lossy = false;
    }

    /// Whoever owns a stream does so no longer.
    pub(crate) fn depose(&self) {
        let mut state = self.state();
        for stream in state.streams.values_mut() {
            stream.owner = None;
            stream.wake();
        }
    }

    /// Every owner may write again after a failure.
    pub(crate) fn mend(&self) {
        self.depose();
    }

    /// The blocks of its only stream.
    pub(crate) fn text(&self) -> String {
        let state = self.state();
        assert_eq!(state.streams.len(), 1);
        let stream = state.streams.values().next().unwrap();
        let bytes = stream
            .records
            .iter()
            .flat_map(|(_, record)| &record.batch.bytes);
        String::from_utf8(bytes.copied().collect()).unwrap()
    }
}

impl State {
    /// The stream that has this name still.
    fn named(&self, alias: &Name) -> Option<Name> {
        let alias = self.aliases.get(alias)?;
        (Instant::now() < alias.until).then(|| alias.stream.clone())
    }
}

impl Stream {
    fn wake(&mut self) {
        for member in self.members.values_mut() {
            if let Some(waker) = member.waker.take() {
                waker.wake();
            }
        }
    }

    fn last(&self) -> u64 {
        self.records
            .last()
            .map_or(0, |(_, record)| record.batch.last())
    }

    /// Whether others than this replica are read.
    fn read_beside(&self, id: u64) -> bool {
        let others = self.members.iter().filter(|(other, _)| **other != id);
        others
            .into_iter()
            .any(|(_, member)| member.read && !member.desk.standing().dead)
    }
}

/// How one process stands to the shelf.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    away: bool,
    dead: bool,
    /// Its news do not arrive.
    deaf: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Desk {
    shelf: Shelf,
    on_loss: OnLoss,
    standing: Arc<Mutex<Standing>>,
}

impl Desk {
    fn standing(&self) -> Standing {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.standing.lock().unwrap_or_else(PoisonError::into_inner));
        for stream in self.shelf.state().streams.values_mut() {
            stream.wake();
        }
    }

    /// The shelf is out of reach, or back.
    pub(crate) fn away(&self, away: bool) {
        self.set(|standing| standing.away = away);
    }

    /// Nothing new arrives, or does again.
    pub(crate) fn deaf(&self, deaf: bool) {
        self.set(|standing| standing.deaf = deaf);
    }

    /// The process is no more: others may have what it owned.
    pub(crate) fn kill(&self) {
        let mut state = self.shelf.state();
        for stream in state.streams.values_mut() {
            let own = |id| {
                let members = &stream.members;
                members
                    .get(id)
                    .is_some_and(|m| Arc::ptr_eq(&m.desk.standing, &self.standing))
            };
            if stream.owner.as_ref().is_some_and(own) {
                stream.owner = None;
            }
        }
        drop(state);
        self.set(|standing| (standing.dead, standing.deaf) = (true, true));
    }

    fn sit(&self, name: &Name, role: Role) -> Box<dyn Replica> {
        let mut state = self.shelf.state();
        state.replicas += 1;
        let id = state.replicas;
        let stream = state.streams.entry(name.clone()).or_default();
        let member = Member {
            desk: self.clone(),
            read: false,
            waker: None,
        };
        stream.members.insert(id, member);
        if role == Role::Owner {
            stream.owner = Some(id);
        }
        Box::new(Seat(Place {
            desk: self.clone(),
            name: name.clone(),
            id,
            role,
            cursor: stream.numbers,
            told: false,
        }))
    }

    fn kept(&self, name: &Name) -> Option<Kept> {
        let state = self.shelf.state();
        let stream = state.streams.get(name)?;
        let head = stream.head.clone()?;
        let records = stream.records.iter().map(|(_, record)| record.clone());
        let records = records.collect();
        let owned = stream.owner.is_some();
        drop(state);
        Some(Kept {
            head,
            records,
            owned,
            replica: self.sit(name, Role::Follower),
        })
    }

    fn check(&self) -> Result<(), JournalError> {
        if self.standing().away {
            return Err(JournalError::new("the shelf is away"));
        }
        Ok(())
    }
}

impl Journal for Desk {
    fn secret(&self) -> Option<[u8; 32]> {
        Some([7; 32])
    }

    fn create(&self, name: &Name) -> Option<Box<dyn Replica>> {
        Some(self.sit(name, Role::Owner))
    }

    fn find(&self, name: &Name) -> Option<Reply<Option<Kept>>> {
        let (desk, name) = (self.clone(), name.clone());
        Some(Box::pin(async move {
            desk.check()?;
            Ok(desk.kept(&name))
        }))
    }

    fn claim(&self, name: &Name) -> Option<Reply<Claim>> {
        let (desk, name) = (self.clone(), name.clone());
        Some(Box::pin(async move {
            desk.check()?;
            Ok(match desk.kept(&name) {
                Some(kept) => Claim::Kept(kept),
                None => Claim::Mine(desk.sit(&name, Role::Owner)),
            })
        }))
    }

    fn follow(&self, name: &Name) -> Option<Box<dyn Replica>> {
        Some(self.sit(name, Role::Follower))
    }

    fn alias(
        &self,
        alias: &Name,
        name: &Name,
        retain: Duration,
        instead: Option<&Name>,
    ) -> Option<Reply<Option<Name>>> {
        let (desk, alias, name) = (self.clone(), alias.clone(), name.clone());
        let instead = instead.cloned();
        Some(Box::pin(async move {
            desk.check()?;
            let mut state = desk.shelf.state();
            let given = state
                .named(&alias)
                .filter(|given| Some(given) != instead.as_ref());
            let stream = given.unwrap_or_else(|| name.clone());
            let until = Instant::now() + retain;
            let has_it = stream.clone();
            state.aliases.insert(alias, Alias { stream, until });
            if std::mem::take(&mut state.losing_answer) {
                return Err(JournalError::new("the answer was lost"));
            }
            Ok((has_it != name).then_some(has_it))
        }))
    }

    fn resolve(&self, alias: &Name) -> Option<Reply<Option<Name>>> {
        let (desk, alias) = (self.clone(), alias.clone());
        Some(Box::pin(async move {
            desk.check()?;
            Ok(desk.shelf.state().named(&alias))
        }))
    }

    fn unalias(&self, alias: &Name, stream: &Name) {
        let mut state = self.shelf.state();
        if state.named(alias).as_ref() == Some(stream) {
            state.aliases.remove(alias);
        }
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn on_loss(&self) -> OnLoss {
        self.on_loss
    }

    fn health(&self) -> Health {
        Health {
            durable: !self.standing().away,
            ..Health::default()
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Owner,
    Follower,
    Alone,
}

#[derive(Debug)]
struct Seat(Place);

#[derive(Clone, Debug)]
struct Place {
    desk: Desk,
    name: Name,
    id: u64,
    role: Role,
    cursor: u64,
    /// Whether the owner was told that others are read.
    told: bool,
}

impl Place {
    fn news(&mut self, stream: &mut Stream, lossy: bool) -> Option<News> {
        let standing = self.desk.standing();
        if standing.dead {
            return None;
        }
        if standing.away {
            let alone = self.desk.on_loss == OnLoss::Continue;
            let before = std::mem::replace(
                &mut self.role,
                if alone { Role::Alone } else { Role::Follower },
            );
            if stream.owner == Some(self.id) {
                stream.owner = None;
                stream.wake();
            }
            return match (before, alone) {
                (Role::Owner | Role::Follower, true) => Some(News::Alone),
                (Role::Owner, false) => Some(News::Disowned),
                _ => None,
            };
        }
        if standing.deaf {
            return None;
        }
        if self.role == Role::Owner && stream.owner != Some(self.id) {
            self.role = Role::Follower;
            return Some(News::Disowned);
        }
        if self.role != Role::Owner {
            let mut next = stream
                .records
                .iter()
                .filter(|(number, _)| *number > self.cursor);
            if let Some((number, record)) = next.next() {
                self.cursor = *number;
                return Some(News::Record(record.clone()));
            }
            let read = stream.members[&self.id].read;
            if stream.owner.is_none() && read {
                stream.owner = Some(self.id);
                self.role = Role::Owner;
                self.told = false;
                let last = stream.last();
                return Some(News::Owned {
                    continuous: !lossy,
                    last,
                });
            }
            return None;
        }
        if let Some(forget) = stream.stop.take() {
            return Some(News::Stop { forget });
        }
        let read = stream.read_beside(self.id);
        (std::mem::replace(&mut self.told, read) != read).then_some(News::Readers(read))
    }

    fn is_stalled(&self) -> bool {
        let mut state = self.desk.shelf.state();
        match &mut state.stalling {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    fn append(&mut self, record: &Record) -> Result<Appended, JournalError> {
        let mut state = self.desk.shelf.state();
        if state.failing > 0 {
            state.failing -= 1;
            self.role = Role::Alone;
            let stream = state.streams.get_mut(&self.name).unwrap();
            stream.owner = Some(u64::MAX);
            return Err(JournalError::new("the shelf is full"));
        }
        let stream = state.streams.get_mut(&self.name).unwrap();
        if stream.owner != Some(self.id) || self.desk.standing().dead {
            self.role = Role::Follower;
            return Ok(Appended::Disowned);
        }
        assert!(stream.head.is_some(), "begun before it is appended to");
        if record.batch.first != stream.last() + 1 {
            stream.records.clear();
        }
        stream.numbers += 1;
        stream.records.push((stream.numbers, record.clone()));
        self.cursor = stream.numbers;
        stream
            .records
            .retain(|(_, kept)| record.low == 0 || kept.batch.last() > record.low);
        stream.wake();
        Ok(Appended::Kept)
    }
}

impl Replica for Seat {
    fn begin(&mut self, head: Bytes, _: Duration) {
        let mut state = self.0.desk.shelf.state();
        state.streams.get_mut(&self.0.name).unwrap().head = Some(head);
    }

    fn append(&mut self, record: Record) -> Option<Reply<Appended>> {
        let mut place = self.0.clone();
        if self.0.is_stalled() {
            return Some(Box::pin(async move {
                place.desk.shelf.1.notified().await;
                place.append(&record)
            }));
        }
        if !self.0.desk.standing().away {
            let kept = self.0.append(&record);
            return Some(Box::pin(std::future::ready(kept)));
        }
        // Where it would go on by itself, it fails; else it waits.
        if self.0.desk.on_loss == OnLoss::Continue {
            return Some(Box::pin(std::future::ready(Err(JournalError::new("away")))));
        }
        Some(Box::pin(async move {
            poll_fn(|cx| {
                if !place.desk.standing().away {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
            place.append(&record)
        }))
    }

    fn trim(&mut self, _: u64) {}

    fn attend(&mut self, read: bool) {
        let mut state = self.0.desk.shelf.state();
        let stream = state.streams.get_mut(&self.0.name).unwrap();
        stream.members.get_mut(&self.0.id).unwrap().read = read;
        stream.wake();
    }

    fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<News> {
        let all = self.0.desk.shelf.clone();
        let mut state = all.state();
        let lossy = state.lossy;
        let name = self.0.name.clone();
        let stream = state.streams.get_mut(&name).unwrap();
        if let Some(news) = self.0.news(stream, lossy) {
            return Poll::Ready(news);
        }
        stream.members.get_mut(&self.0.id).unwrap().waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn stop(&mut self, forget: bool) {
        let mut state = self.0.desk.shelf.state();
        let stream = state.streams.get_mut(&self.0.name).unwrap();
        stream.stop = Some(forget);
        stream.wake();
    }

    fn release(&mut self) -> Option<Reply<()>> {
        let mut state = self.0.desk.shelf.state();
        let stream = state.streams.get_mut(&self.0.name).unwrap();
        self.0.role = Role::Follower;
        if stream.owner == Some(self.0.id) {
            stream.owner = None;
        }
        // Last, so that another one is first.
        let own = stream.members.get_mut(&self.0.id).unwrap().waker.take();
        stream.wake();
        if let Some(waker) = own {
            waker.wake();
        }
        None
    }

    fn forget(self: Box<Self>) -> Option<Reply<()>> {
        let mut state = self.0.desk.shelf.state();
        let stream = state.streams.get_mut(&self.0.name).unwrap();
        // Nobody else may.
        if stream.owner == Some(self.0.id) {
            stream.head = None;
            stream.records.clear();
        }
        None
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.0.desk.shelf.state();
        if let Some(stream) = state.streams.get_mut(&self.0.name) {
            stream.members.remove(&self.0.id);
            if stream.owner == Some(self.0.id) {
                stream.owner = None;
            }
            stream.wake();
        }
    }
}
