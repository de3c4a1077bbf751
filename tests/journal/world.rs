//! Streams in a journal on a [`Machine`], and beside them what was
//! acknowledged, as plain lists. Whatever is found is held against those.

use std::time::Duration;

use fastrand::Rng;
use tower_sse::journal::disk::{Disk, DiskSettings, Sync};
use tower_sse::journal::{Appended, Claim, Journal, News, Record, Replica};

use crate::sim::Machine;
use crate::support::{RETAIN, append, begin, name, news, owned, record, settled};

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Close,
    Kill,
    Power,
}

pub(crate) struct World {
    pub(crate) machine: Machine,
    pub(crate) settings: DiskSettings,
    pub(crate) rng: Rng,
    pub(crate) streams: Vec<Stream>,
    /// The oldest records may be missing: the cap is low.
    pub(crate) capped: bool,
    /// The least blocks of a record. Of those without any, a stream that gives
    /// again what the journal lacks cannot tell whether they are lacking.
    pub(crate) blocks: u64,
    /// Whether a disk that failed has what it acknowledged.
    pub(crate) exact: bool,
    disk: Option<Disk>,
    named: u64,
    /// Said of every record, so that no two are alike.
    nonce: u64,
    pub(crate) seconds: u64,
}

pub(crate) struct Stream {
    name: String,
    replica: Option<Box<dyn Replica>>,
    /// Acknowledged, in order and without a hole; those before `low` as well.
    kept: Vec<Record>,
    low: u64,
    /// Acknowledged before those, and void since. Where losing is allowed, what
    /// made them void may be lost.
    past: Vec<Record>,
    /// So many of them, from the first, were lost when that was allowed.
    spare: usize,
    /// Given, and refused or never answered.
    loose: Vec<Record>,
    epoch: u64,
    /// Continuity was denied, and nothing was appended since.
    doubted: bool,
    /// It was refused, and not told to go on yet.
    alone: bool,
    /// Whether it was forgotten, or may have been.
    forgotten: Option<bool>,
    /// Since when it is nobody's.
    left: u64,
}

impl Stream {
    fn last(&self) -> u64 {
        self.kept.last().map_or(0, |record| record.batch.last())
    }

    /// What the journal must have.
    fn needed(&self) -> usize {
        let dead = self
            .kept
            .iter()
            .take_while(|record| record.batch.last() < self.low);
        let least = dead.count().max(self.spare);
        least.min(self.kept.len().saturating_sub(1))
    }
}

impl World {
    pub(crate) fn new(seed: u64, settings: DiskSettings) -> Self {
        let mut world = Self {
            machine: Machine::new(seed),
            settings,
            rng: Rng::with_seed(seed),
            streams: Vec::new(),
            capped: false,
            blocks: 0,
            exact: true,
            disk: None,
            named: 0,
            nonce: 0,
            seconds: 0,
        };
        world.open();
        world
    }

    pub(crate) fn disk(&self) -> &Disk {
        self.disk.as_ref().unwrap()
    }

    fn open(&mut self) {
        let disk = Disk::open_in(self.settings.clone(), self.machine.mount()).unwrap();
        self.disk = Some(disk);
    }

    // === Steps ===

    /// One step, chosen by a number.
    pub(crate) async fn step(&mut self, choice: u8) {
        match choice % 32 {
            0..=2 => self.create().await,
            3 => self.append_to_all().await,
            4 => self.trim(),
            5 => self.leave().await,
            6 => self.forget().await,
            7..=9 => self.find().await,
            10 => self.advance(self.seconds % 7 * 100),
            11 => self.advance(1),
            _ => self.append_to_one().await,
        }
        self.streams.retain(|stream| !stream.name.is_empty());
    }

    pub(crate) async fn create(&mut self) {
        self.named += 1;
        let stream = format!("stream {}", self.named);
        let replica = if self.rng.bool() {
            begin(self.disk(), &stream)
        } else {
            let Ok(claim) = self.disk().claim(&name(&stream)).unwrap().await else {
                return;
            };
            let Claim::Mine(mut replica) = claim else {
                panic!("{stream} is new");
            };
            replica.begin(format!("head of {stream}").into(), RETAIN);
            replica
        };
        self.streams.push(Stream {
            name: stream,
            replica: Some(replica),
            kept: Vec::new(),
            low: 0,
            past: Vec::new(),
            spare: 0,
            loose: Vec::new(),
            epoch: 0,
            doubted: false,
            alone: false,
            forgotten: None,
            left: 0,
        });
    }

    /// One of those that are held, or not.
    fn some(&mut self, held: bool) -> Option<usize> {
        let of_use = |at: &usize| self.streams[*at].replica.is_some() == held;
        let choices: Vec<usize> = (0..self.streams.len()).filter(of_use).collect();
        self.rng.choice(choices)
    }

    fn next_record(&mut self, at: usize) -> Record {
        let stream = &self.streams[at];
        let (last, epoch) = (stream.last(), stream.epoch);
        let first = match self.rng.u8(..40) {
            0 => last + 2 + self.rng.u64(..3),
            _ => last + 1,
        };
        let low = match self.rng.u8(..4) {
            0 => last.saturating_sub(self.rng.u64(..6)).max(stream.low),
            _ => stream.low,
        };
        let blocks: Vec<String> = (0..self.rng.u64(self.blocks..4))
            .map(|at| {
                self.nonce += 1;
                let filler = "x".repeat(self.rng.usize(..120));
                format!(
                    "epoch {epoch} block {} nonce {} {filler}",
                    first + at,
                    self.nonce
                )
            })
            .collect();
        let blocks: Vec<&str> = blocks.iter().map(String::as_str).collect();
        let mut record = record(first, low, &blocks);
        self.nonce += 1;
        record.at = self.nonce;
        record
    }

    pub(crate) async fn append_to_one(&mut self) {
        let Some(at) = self.some(true) else {
            return;
        };
        self.go_on(at).await;
        if self.streams[at].alone {
            return;
        }
        let record = self.next_record(at);
        self.append(at, record).await;
    }

    async fn append(&mut self, at: usize, record: Record) {
        let stream = &mut self.streams[at];
        let answer = append(stream.replica.as_mut().unwrap(), record.clone()).await;
        stream.appended(record, answer.is_ok_and(|what| what == Appended::Kept));
    }

    pub(crate) async fn append_to_all(&mut self) {
        let mut replies = Vec::new();
        for at in 0..self.streams.len() {
            if self.streams[at].replica.is_some() && !self.streams[at].alone {
                let record = self.next_record(at);
                let replica = self.streams[at].replica.as_mut().unwrap();
                replies.push((at, record.clone(), replica.append(record).unwrap()));
            }
        }
        for (at, record, reply) in replies {
            let kept = reply.await.is_ok_and(|what| what == Appended::Kept);
            self.streams[at].appended(record, kept);
        }
    }

    fn trim(&mut self) {
        if let Some(at) = self.some(true) {
            let stream = &mut self.streams[at];
            stream.low = stream.low.max(stream.last().saturating_sub(1));
            stream.replica.as_mut().unwrap().trim(stream.low);
        }
    }

    async fn leave(&mut self) {
        if let Some(at) = self.some(true) {
            self.streams[at].replica = None;
            self.streams[at].left = self.seconds;
            settled(self.disk()).await;
        }
    }

    async fn forget(&mut self) {
        if let Some(at) = self.some(true) {
            let stream = &mut self.streams[at];
            let done = stream.replica.take().unwrap().forget().unwrap().await;
            stream.forgotten = Some(done.is_ok());
            stream.left = self.seconds;
        }
    }

    async fn find(&mut self) {
        let held = self.rng.u8(..8) == 0;
        if let Some(at) = self.some(held) {
            self.look(at, None).await;
        }
    }

    pub(crate) fn advance(&mut self, seconds: u64) {
        self.seconds += seconds;
        self.machine.advance(Duration::from_secs(seconds));
    }

    // === Ends ===

    /// The process ends, and another one begins and looks at everything.
    pub(crate) async fn restart(&mut self, end: End) {
        match end {
            End::Close => {
                let closed = self.disk().close().unwrap().await;
                closed.expect("an orderly end");
            }
            End::Kill => self.machine.kill(),
            End::Power => self.machine.cut_power(),
        }
        self.disk = None;
        for stream in &mut self.streams {
            if stream.replica.take().is_none() && self.seconds - stream.left >= RETAIN.as_secs() {
                // The last process may have seen to it.
                stream.forgotten.get_or_insert(false);
            }
            stream.left = self.seconds;
        }
        if end != End::Close && self.rng.u8(..4) == 0 {
            self.die_while_opening(end);
        }
        self.open();
        for at in (0..self.streams.len()).rev() {
            // One that is not looked at must outlive the next end as well.
            if self.rng.u8(..4) > 0 || end == End::Power {
                self.look(at, Some(end)).await;
            }
        }
        self.streams.retain(|stream| !stream.name.is_empty());
    }

    fn die_while_opening(&mut self, end: End) {
        let mount = self.machine.mount();
        self.machine.set_fuse(self.rng.u64(..40));
        drop(Disk::open_in(self.settings.clone(), mount));
        match end {
            End::Power => self.machine.cut_power(),
            _ => self.machine.kill(),
        }
    }

    // === What must be so ===

    /// Holds what is found of a stream against what it should be; `end` if it
    /// is looked for right after one.
    async fn look(&mut self, at: usize, end: Option<End>) {
        if end.is_none() && self.machine.is_dead() {
            return;
        }
        let may_lose = end == Some(End::Power) && self.settings.sync != Sync::Always;
        let stream = &mut self.streams[at];
        let called = stream.name.clone();
        let held = stream.replica.is_some();
        let found = self
            .disk
            .as_ref()
            .unwrap()
            .find(&name(&called))
            .unwrap()
            .await;
        let found = match found {
            Ok(found) => found,
            // The fuse blew over it.
            Err(_) if end.is_none() && self.machine.is_dead() => {
                stream.replica = None;
                return;
            }
            Err(error) => panic!("{called}: {error}"),
        };
        let expired = !held && self.seconds - stream.left >= RETAIN.as_secs();
        let Some(mut found) = found else {
            let excused = stream.forgotten.is_some() || expired || stream.kept.is_empty();
            assert!(excused || may_lose, "{called} is gone after {end:?}");
            stream.name.clear();
            return;
        };
        assert!(!expired, "{called} outlives its time");
        assert!(
            stream.forgotten != Some(true) || may_lose,
            "{called} was forgotten; after {end:?}"
        );
        assert_eq!(found.head, format!("head of {called}"));
        let (continuous, last) = owned(&mut found.replica);
        if let Some(newest) = found.records.last() {
            assert_eq!(newest.batch.last(), last, "{called}");
        }
        let lacks = stream.compare(&found.records, self.capped);
        assert!(
            lacks == 0 || may_lose,
            "{called} lost {lacks} records: {:?} instead of {:?} after {end:?}",
            outline(&found.records),
            outline(&stream.kept)
        );
        assert!(
            lacks == 0 || !continuous,
            "{called} lost {lacks} records unnoticed"
        );
        if end == Some(End::Power) {
            stream.doubted |= !continuous;
        }
        assert_eq!(continuous, !stream.doubted, "{called} after {end:?}");
        if lacks > 0 {
            stream.spare = usize::MAX;
        }
        stream.adopt(found.records, continuous);
        stream.replica = Some(found.replica);
        stream.alone = false;
        if stream.forgotten.take() == Some(true) {
            stream
                .replica
                .take()
                .unwrap()
                .forget()
                .unwrap()
                .await
                .unwrap();
            stream.name.clear();
        }
    }

    /// Every stream that was refused is told to go on, and does.
    pub(crate) async fn recover(&mut self) {
        // An attempt may be under way, and fail yet.
        for _ in 0..3 {
            self.advance(10);
            settled(self.disk()).await;
        }
        assert!(self.disk().health().durable, "{:?}", self.disk().health());
        for at in 0..self.streams.len() {
            self.go_on(at).await;
        }
    }

    async fn go_on(&mut self, at: usize) {
        let stream = &mut self.streams[at];
        let Some(replica) = &mut stream.replica else {
            return;
        };
        // What it was told first may have been overtaken.
        let Some(told) = std::iter::from_fn(|| news(replica)).last() else {
            return;
        };
        let News::Owned { continuous, last } = told else {
            panic!("{told:?}");
        };
        assert!(continuous);
        assert!(last <= stream.last(), "{} has what it lacks", stream.name);
        assert!(!self.exact || last == stream.last(), "{} lost", stream.name);
        stream.alone = false;
        // It gives again what the journal has not.
        let keep = stream
            .kept
            .partition_point(|record| record.batch.last() <= last);
        let again = stream.kept.split_off(keep);
        for record in again {
            let answer = append(stream.replica.as_mut().unwrap(), record.clone()).await;
            stream.appended(record, answer.is_ok());
        }
        stream.epoch += 1;
    }
}

impl Stream {
    fn appended(&mut self, record: Record, kept: bool) {
        if !kept {
            self.loose.push(record);
            self.alone = true;
            return;
        }
        if record.batch.first != self.last() + 1 {
            self.past.append(&mut self.kept);
            self.spare = 0;
        }
        self.low = self.low.max(record.low);
        self.doubted = false;
        self.kept.push(record);
    }

    /// Panics unless what was found is a run of what was acknowledged, followed
    /// by nothing but what was given. Returns how much is missing.
    fn compare(&mut self, found: &[Record], capped: bool) -> usize {
        for pair in found.windows(2) {
            let (one, next) = (&pair[0].batch, &pair[1].batch);
            assert_eq!(one.last() + 1, next.first, "a hole in {}", self.name);
        }
        // One that was never answered for may have been kept, and trims.
        let newest = found.last().map_or(0, |record| record.low);
        self.low = self.low.max(newest);
        let given = |record: &Record| self.loose.contains(record);
        let past = |record: &Record| given(record) || self.past.contains(record);
        let known = |record: &Record| self.kept.iter().position(|kept| kept == record);
        let first = found.iter().position(|record| known(record).is_some());
        let Some((first, start)) = first.and_then(|at| Some((at, known(&found[at])?))) else {
            // A record that was given and makes all before it void is the
            // last thing that may have been done.
            let reset = found
                .first()
                .is_some_and(|record| record.batch.first > self.last() + 1);
            if reset && found.iter().all(given) {
                return 0;
            }
            assert!(found.iter().all(past), "{}: never appended", self.name);
            return self.kept.len() - self.needed();
        };
        let (before, found) = found.split_at(first);
        assert!(before.iter().all(past), "{}: never appended", self.name);
        let end = self.kept.len().min(start + found.len());
        let both = end - start;
        let after = &found[both..];
        assert!(
            found[..both] == self.kept[start..end],
            "{}: {:?} instead of {:?}",
            self.name,
            outline(found),
            outline(&self.kept)
        );
        assert!(after.iter().all(given), "{}: never appended", self.name);
        let early = start.saturating_sub(self.needed());
        let early = if capped { 0 } else { early };
        early + (self.kept.len() - end)
    }

    /// What was found is how it is. What was trimmed may come back after the
    /// next end, for trimming alone is not written down.
    fn adopt(&mut self, found: Vec<Record>, continuous: bool) {
        let known = |record: &Record| self.kept.iter().position(|kept| kept == record);
        let before = found.first().and_then(known).unwrap_or(0);
        self.spare = self.spare.min(before);
        self.past.extend(self.kept.drain(before..));
        self.kept.extend(found);
        self.loose.clear();
        if !continuous {
            self.epoch += 1;
        }
    }
}

/// What of records can be read by those who have to.
fn outline(records: &[Record]) -> Vec<(u64, u64, u64)> {
    let one = |record: &Record| (record.batch.first, record.batch.last(), record.at);
    records.iter().map(one).collect()
}
