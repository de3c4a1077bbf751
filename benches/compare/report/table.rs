//! One table for each scenario: what is worth reading of it.

use super::figures::{Figure, Series};
use crate::result::{Run, Sample};

/// One scenario's results.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) scenario: &'static str,
    pub(super) title: &'static str,
    pub(super) header: Vec<String>,
    /// The peer's name first.
    pub(super) rows: Vec<Vec<String>>,
    /// What its first column means, for the picture.
    pub(super) unit: &'static str,
    pub(super) more_is_better: bool,
    /// The first column as numbers, by peer.
    pub(super) values: Vec<(String, f64)>,
}

/// How a scenario is shown. The ratios are those of the first figure.
struct View {
    scenario: &'static str,
    title: &'static str,
    more_is_better: bool,
    figures: &'static [(&'static str, Figure)],
}

const COST: (&str, Figure) = ("CPU µs/event", |s| s.cpu_us_per_event);
const PER_CPU: (&str, Figure) = ("events/CPU s", |s| s.events_per_cpu_second);
const MEMORY: (&str, Figure) = ("KiB/client", |s| s.kib_per_client);
const UPSTREAM: (&str, Figure) = ("upstream conns", |s| {
    s.upstream_connections.map(|n| n as f64)
});
const CLIENTS: (&str, Figure) = ("clients", |s| Some(s.clients as f64));
const BUSY: (&str, Figure) = ("CPU %", |s| s.busy.map(|busy| busy * 100.0));
const LOAD: (&str, Figure) = ("load µs/event", |s| s.client_cpu_us_per_event);

const STEADY: &[(&str, Figure)] = &[
    COST,
    ("p50 ms", |s| s.p50_us.map(|us| us / 1e3)),
    ("p99 ms", |s| s.p99_us.map(|us| us / 1e3)),
    ("p99.9 ms", |s| s.p999_us.map(|us| us / 1e3)),
    ("events/s", |s| Some(s.events_per_second)),
    MEMORY,
    UPSTREAM,
    LOAD,
];
const IDLE: &[(&str, Figure)] = &[MEMORY, CLIENTS, BUSY, UPSTREAM];

const VIEWS: [View; 9] = [
    View {
        scenario: "fanout",
        title: "Fan-out: 1,000 clients, 50 events/s of 200 bytes to each",
        more_is_better: false,
        figures: STEADY,
    },
    View {
        scenario: "saturation",
        title: "Saturation: 200 clients, the highest rate delivered to 99 %",
        more_is_better: true,
        figures: &[
            ("best events/CPU s", |s| s.best_events_per_cpu_second),
            PER_CPU,
            ("events/s offered", |s| s.held_rate),
            ("events/s", |s| Some(s.events_per_second)),
            ("p99 ms", |s| s.p99_us.map(|us| us / 1e3)),
            BUSY,
            LOAD,
        ],
    },
    View {
        scenario: "idle",
        title: "Idle: 10,000 clients, or as many as descriptors allow",
        more_is_better: false,
        figures: IDLE,
    },
    View {
        scenario: "flat",
        title: "Flat out: one client, one stream, as fast as it is read",
        more_is_better: false,
        figures: &[
            ("CPU µs/MB", |s| s.cpu_us_per_mb),
            ("MB/s", |s| s.mb_per_second),
            BUSY,
            LOAD,
        ],
    },
    View {
        scenario: "storm",
        title: "Storm: 5,000 clients connect at once",
        more_is_better: false,
        figures: &[
            ("CPU µs/client", |s| s.cpu_us_per_client),
            ("last ms", |s| s.elapsed_ms),
            ("median ms", |s| s.median_ms),
            BUSY,
            UPSTREAM,
        ],
    },
    View {
        scenario: "resume",
        title: "Resume: 1,000 clients return at once, 10,000 events behind",
        more_is_better: true,
        figures: &[
            PER_CPU,
            ("events/s", |s| Some(s.events_per_second)),
            ("ms", |s| s.elapsed_ms),
            BUSY,
            UPSTREAM,
            LOAD,
        ],
    },
    View {
        scenario: "tls-fanout",
        title: "Fan-out by TLS 1.3",
        more_is_better: false,
        figures: STEADY,
    },
    View {
        scenario: "tls-idle",
        title: "Idle by TLS 1.3",
        more_is_better: false,
        figures: IDLE,
    },
    View {
        scenario: "llm",
        title: "Answers of language models: 1,000 POST streams, 30 tokens/s each",
        more_is_better: false,
        figures: STEADY,
    },
];

/// The tables of all scenarios that were run.
pub(super) fn tables(run: &Run) -> Vec<Table> {
    VIEWS.iter().filter_map(|view| table(run, view)).collect()
}

fn table(run: &Run, view: &View) -> Option<Table> {
    let (unit, first) = *view.figures.first()?;
    let steady = view.figures.first().map(|(name, _)| *name) == Some(COST.0);
    let mut header = vec!["peer".to_owned(), unit.to_owned()];
    header.extend(steady.then(|| "× floor".to_owned()));
    header.extend(["× direct".to_owned(), "× nginx".to_owned()]);
    header.extend(view.figures[1..].iter().map(|(name, _)| (*name).to_owned()));
    let mut table = Table {
        scenario: view.scenario,
        title: view.title,
        header,
        rows: Vec::new(),
        unit,
        more_is_better: view.more_is_better,
        values: Vec::new(),
    };
    for peer in peers(run, view.scenario) {
        let series = Series::new(run, view.scenario, peer);
        let mut row = vec![peer.to_owned(), figure(series.median(first))];
        if steady {
            row.push(figure(series.floors()));
        }
        row.extend(["direct", "nginx"].map(|other| figure(series.ratio_to(other, first))));
        row.extend(
            view.figures[1..]
                .iter()
                .map(|(_, of)| figure(series.median(*of))),
        );
        table.rows.push(row);
        let value = series.median(first);
        table
            .values
            .extend(value.map(|value| (peer.to_owned(), value)));
    }
    (!table.rows.is_empty()).then_some(table)
}

/// Those with samples, in the order of the peers' own.
fn peers<'a>(run: &'a Run, scenario: &str) -> Vec<&'a str> {
    let has = |peer: &str| {
        let of_it = |s: &Sample| s.scenario == scenario && s.peer == peer;
        run.samples.iter().any(of_it)
    };
    let peers = run.peers.iter().map(String::as_str);
    peers.filter(|peer| has(peer)).collect()
}

fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), number)
}

/// To three digits, thousands apart.
pub(super) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        below if below < 0.000_5 => 0,
        below if below < 0.1 => 3,
        below if below < 10.0 => 2,
        below if below < 100.0 => 1,
        _ => 0,
    };
    let rounded = if value >= 1e5 {
        (value / 1e3).round() * 1e3
    } else {
        value
    };
    let text = format!("{rounded:.decimals$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (at, digit) in whole.char_indices() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}
