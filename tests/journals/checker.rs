//! The one judge of all these tests: what no client may ever see, whatever was
//! killed meanwhile.
//!
//! It reads the transcripts of clients and of the origin, and knows nothing of
//! proxies and journals, so that no test has a reading of the promises of its
//! own. What a journal, or an origin, cannot promise is left out of a test's
//! [`Promise`], where everybody can see it.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::time::{Duration, Instant};

use crate::transcript::{Connection, Entry, Story, Transcript};

/// What is promised of a feed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promise {
    pub(crate) kind: Kind,
    /// The reasons for which gaps may be announced. An origin that can resend
    /// leaves none.
    pub(crate) gaps: &'static [&'static str],
    /// What one client was given is kept for all: no gap hides it from others.
    pub(crate) kept: bool,
    /// How many upstream connections there may be at a time.
    pub(crate) upstream: Upstream,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It goes on for ever.
    Endless,
    /// One answer of so many events, given once.
    Answer { events: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// One, ever.
    One,
    /// One, but for while a deposed owner does not know it yet: counted.
    Leased,
    /// As many as there are clients.
    Any,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// Events are missing, and nobody said so.
    Lost { after: u64, next: u64 },
    /// A gap was announced where there can be none.
    Needless { after: u64, reason: String },
    /// A gap hides what others were given.
    Withheld { number: u64 },
    /// An event came again.
    Twice { number: u64 },
    /// An event came after a later one.
    Disorder { after: u64, number: u64 },
    /// Somebody else's event came.
    Stranger { data: String },
    /// An id names two events.
    Ambiguous { id: String, events: [String; 2] },
    /// What strict clients fail on.
    Empty,
    /// All was well again, and this client did not get to the feed's end.
    Stuck { at: u64, of: u64 },
    /// A client was told to go away from a stream that goes on.
    SentAway { status: u16 },
    /// An answer ended as if whole, and was not.
    Truncated { at: u64, of: u64 },
    /// A request was executed this often.
    Executed { times: usize },
    /// Two upstream connections for one stream.
    Crowded { overlap: Duration },
}

#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Who saw it, and what.
    pub(crate) violations: Vec<(String, Violation)>,
    /// How long there were two upstream connections where a lease allows it.
    pub(crate) overlaps: Vec<(String, Duration)>,
    pub(crate) events: usize,
    pub(crate) gaps: usize,
    /// Answers that were had whole, and all answers.
    pub(crate) answers: (usize, usize),
    story: Story,
}

/// Judges a story; `promise` says what is promised of each feed.
pub(crate) fn check(story: Story, promise: impl Fn(&str) -> Promise) -> Report {
    let mut report = Report::default();
    let given = given(&story.sessions);
    let mut ids = Ids::default();
    for session in &story.sessions {
        let promise = promise(&session.feed);
        let given = given.get(session.feed.as_str()).filter(|_| promise.kept);
        Reading::new(session, promise, given, &mut report).read();
        ids.read(session, &mut report);
        let (at, end) = (session.last(), story.ends.get(&session.feed));
        if let Some(&of) = end.filter(|end| **end != at) {
            report.add(&session.name, Violation::Stuck { at, of });
        }
    }
    for (feed, times) in &story.executions {
        if *times > 1 {
            report.add(feed, Violation::Executed { times: *times });
        }
    }
    check_connections(&story.connections, promise, &mut report);
    report.story = story;
    report
}

impl Report {
    fn add(&mut self, who: &str, what: Violation) {
        self.violations.push((who.to_owned(), what));
    }

    /// Panics unless everything is as promised.
    #[track_caller]
    pub(crate) fn assert_kept(&self) {
        println!("{self}");
        assert!(self.violations.is_empty(), "{}", self.explain());
    }

    /// The first violations, each with what led to it.
    fn explain(&self) -> String {
        use fmt::Write;
        let mut text = format!("{} violations\n", self.violations.len());
        for (who, what) in self.violations.iter().take(8) {
            let _ = writeln!(text, "  {who}: {what:?}");
        }
        let seen = self.violations.iter().map(|(who, _)| who);
        for who in seen.take(3).collect::<BTreeSet<_>>() {
            let session = self.story.sessions.iter().find(|s| s.name == *who);
            text += &session.map_or_else(|| self.connections_of(who), excerpt);
        }
        text
    }
}

impl Report {
    fn connections_of(&self, feed: &str) -> String {
        let Some(begin) = self.story.connections.iter().map(|c| c.opened).min() else {
            return String::new();
        };
        let of_feed = self.story.connections.iter().filter(|c| c.feed == feed);
        let lines = of_feed.map(|connection| {
            let closed = connection.closed.map(|at| at - begin);
            let (opened, after) = (connection.opened - begin, connection.after);
            format!("    after {after:?}: {opened:.3?} to {closed:.3?}\n")
        });
        format!("  {feed}:\n{}", lines.collect::<String>())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, answers) = self.answers;
        write!(
            f,
            "{} sessions, {} events, {} gaps announced, {whole} of {answers} answers whole, \
             {} upstream connections, {} lease overlaps",
            self.story.sessions.len(),
            self.events,
            self.gaps,
            self.story.connections.len(),
            self.overlaps.len(),
        )?;
        let longest = self.overlaps.iter().max_by_key(|(_, time)| *time);
        longest.map_or(Ok(()), |(feed, time)| {
            write!(f, " (longest {time:?}, {feed})")
        })
    }
}

/// A transcript without the runs of events in which nothing happened.
fn excerpt(session: &Transcript) -> String {
    let dull = |at: usize| {
        let number = |at: usize| session.entries.get(at)?.event().map(|(n, _)| n);
        let here = number(at);
        let follows = |a: Option<u64>, b: Option<u64>| a.is_some() && a.map(|n| n + 1) == b;
        at > 0 && follows(number(at - 1), here) && follows(here, number(at + 1))
    };
    let lines = (0..session.entries.len()).filter(|at| !dull(*at));
    let lines: Vec<_> = lines
        .map(|at| format!("    {at:>6} {:?}\n", session.entries[at]))
        .collect();
    let skipped = lines.len().saturating_sub(200);
    format!("  {}:\n{}", session.name, lines[skipped..].concat())
}

/// The numbers of each feed that anybody was given.
fn given(sessions: &[Transcript]) -> HashMap<&str, BTreeSet<u64>> {
    let mut given: HashMap<&str, BTreeSet<u64>> = HashMap::new();
    for session in sessions {
        let numbers = given.entry(&session.feed).or_default();
        let events = session.entries.iter().filter_map(Entry::event);
        numbers.extend(events.map(|(number, _)| number));
    }
    given
}

/// One client's transcript, on the way from its first entry to its last.
struct Reading<'a> {
    session: &'a Transcript,
    promise: Promise,
    given: Option<&'a BTreeSet<u64>>,
    report: &'a mut Report,
    /// The last event; 0 before the first.
    last: u64,
    /// The stream had begun for this client: a first event is a next one.
    begun: bool,
    /// A gap was announced since the last event: on this connection, or by an
    /// event, after whose id it is not announced again.
    announced: bool,
    by_event: bool,
}

impl<'a> Reading<'a> {
    fn new(
        session: &'a Transcript,
        promise: Promise,
        given: Option<&'a BTreeSet<u64>>,
        report: &'a mut Report,
    ) -> Self {
        Self {
            session,
            promise,
            given,
            report,
            last: 0,
            // An answer begins with its first event; a feed wherever it is.
            begun: matches!(promise.kind, Kind::Answer { .. }),
            announced: false,
            by_event: false,
        }
    }

    fn read(mut self) {
        for entry in &self.session.entries {
            match entry {
                Entry::Opened { .. } => self.announced = self.by_event,
                Entry::Event { number, .. } => self.event(*number),
                Entry::Gap { reason, by_event } => self.gap(reason, *by_event),
                Entry::Stranger { data } => self.add(Violation::Stranger { data: data.clone() }),
                Entry::Empty => self.add(Violation::Empty),
                Entry::Refused { status, .. } => self.refused(*status),
                Entry::Ended { clean } => self.ended(*clean),
            }
        }
        if matches!(self.promise.kind, Kind::Answer { .. }) {
            self.report.answers.1 += 1;
            self.report.answers.0 += usize::from(self.session.is_complete());
        }
    }

    fn event(&mut self, number: u64) {
        self.report.events += 1;
        if number == self.last && self.begun {
            return self.add(Violation::Twice { number });
        }
        if number < self.last {
            let after = self.last;
            return self.add(Violation::Disorder { after, number });
        }
        let (last, missing) = (self.last, number - self.last - 1);
        if self.begun && missing > 0 {
            if !self.announced {
                self.add(Violation::Lost {
                    after: last,
                    next: number,
                });
            }
            let hidden = self.given.and_then(|all| {
                let mut hidden = all.range(last + 1..number);
                hidden.next().copied()
            });
            if let Some(number) = hidden {
                self.add(Violation::Withheld { number });
            }
        }
        (self.last, self.begun) = (number, true);
        (self.announced, self.by_event) = (false, false);
    }

    fn gap(&mut self, reason: &str, by_event: bool) {
        self.report.gaps += 1;
        self.announced = true;
        self.by_event |= by_event;
        if !self.promise.gaps.contains(&reason) {
            self.add(Violation::Needless {
                after: self.last,
                reason: reason.to_owned(),
            });
        }
    }

    /// A proxy without an upstream may say so. Nothing else is an answer to
    /// whoever reads on: an answer that is kept is found again, a feed is not
    /// over.
    fn refused(&mut self, status: u16) {
        let found_again = match self.promise.kind {
            Kind::Endless => true,
            Kind::Answer { .. } => self.promise.kept && self.last > 0,
        };
        if status < 500 && found_again {
            self.add(Violation::SentAway { status });
        }
    }

    fn ended(&mut self, clean: bool) {
        if let Kind::Answer { events } = self.promise.kind
            && clean
            && self.last != events
        {
            self.add(Violation::Truncated {
                at: self.last,
                of: events,
            });
        }
    }

    fn add(&mut self, what: Violation) {
        self.report.add(&self.session.name, what);
    }
}

/// Which event each id names, for all clients and all time.
#[derive(Default)]
struct Ids<'a>(HashMap<(&'a str, &'a str), (&'a str, u64)>);

impl<'a> Ids<'a> {
    fn read(&mut self, session: &'a Transcript, report: &mut Report) {
        for entry in &session.entries {
            let Some((number, id)) = entry.event() else {
                continue;
            };
            let event = (session.feed.as_str(), number);
            // The origin's own ids are told apart by its feeds.
            let scope = if id.starts_with("s1.") { "" } else { event.0 };
            if id.is_empty() {
                continue;
            }
            let named = *self.0.entry((scope, id)).or_insert(event);
            if named != event {
                let name = |(feed, number): (&str, u64)| format!("{feed} {number}");
                report.add(
                    &session.name,
                    Violation::Ambiguous {
                        id: id.to_owned(),
                        events: [name(named), name(event)],
                    },
                );
            }
        }
    }
}

/// Every connection against the latest end of those opened before it.
fn check_connections(
    connections: &[Connection],
    promise: impl Fn(&str) -> Promise,
    report: &mut Report,
) {
    let mut connections: Vec<_> = connections.iter().collect();
    connections.sort_by_key(|connection| connection.opened);
    let seen = connections.iter().flat_map(|c| [Some(c.opened), c.closed]);
    let Some(latest) = seen.flatten().max() else {
        return;
    };
    // Those that are open still overlap however late they were opened.
    let end = latest + Duration::from_nanos(1);
    let mut busy: HashMap<&str, Instant> = HashMap::new();
    for connection in connections {
        let closed = connection.closed.unwrap_or(end);
        let until = busy.entry(&connection.feed).or_insert(connection.opened);
        let together = closed.min(*until);
        let overlap = together.duration_since(connection.opened);
        *until = closed.max(*until);
        if overlap.is_zero() {
            continue;
        }
        match promise(&connection.feed).upstream {
            Upstream::Any => {}
            // A deposed owner that does not know it at the end never will.
            Upstream::Leased if together < end => {
                report.overlaps.push((connection.feed.clone(), overlap));
            }
            _ => report.add(&connection.feed, Violation::Crowded { overlap }),
        }
    }
}

#[cfg(test)]
mod tests;
