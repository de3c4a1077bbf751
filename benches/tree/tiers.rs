//! What each tier of the tree holds.

use crate::options::Options;

/// One tier, all of its proxies together.
struct Tier {
    name: &'static str,
    proxies: u64,
    /// Connections that clients, or the tier below, have open.
    down: u64,
    /// Connections open to the tier above.
    up: u64,
    /// Streams of which a buffer is kept, over all proxies.
    streams: u64,
    kib_per_connection: f64,
    /// Microseconds of processor time for each event on each connection.
    cost: Option<f64>,
}

pub(crate) fn print(options: &Options) {
    println!(
        "{} clients of {} shared streams, {} event/s each\n",
        options.clients, options.feeds, options.rate
    );
    table(options, &shared(options));
    println!(
        "\n{} clients with a stream of their own, through all tiers\n",
        options.clients
    );
    table(options, &private(options));
}

/// A proxy asks the tier above once for each stream, however many ask it.
fn shared(options: &Options) -> Vec<Tier> {
    let tier = |name, proxies, down| Tier {
        name,
        proxies,
        down,
        up: proxies * options.feeds,
        streams: proxies * options.feeds,
        kib_per_connection: options.kib_shared,
        cost: Some(options.us_shared),
    };
    let edge = tier("edge", options.regions * options.edges(), options.clients);
    let region = tier("region", options.regions * options.region_proxies, edge.up);
    let mut origin = tier("origin", options.origin_proxies, region.up);
    // With a journal in Redis, each stream has one owner among them.
    origin.up = options.feeds;
    vec![edge, region, origin]
}

/// Nothing is shared, so every tier has as many connections as the first.
fn private(options: &Options) -> Vec<Tier> {
    let proxies = options.regions * options.edges();
    ["edge", "region", "origin"]
        .map(|name| Tier {
            name,
            proxies,
            down: options.clients,
            up: options.clients,
            streams: options.clients,
            kib_per_connection: options.kib_private,
            cost: None,
        })
        .into()
}

fn table(options: &Options, tiers: &[Tier]) {
    println!(
        "{:<8} {:>8} {:>12} {:>11} {:>12} {:>11} {:>15} {:>18} {:>11}",
        "tier",
        "proxies",
        "conns down",
        "per proxy",
        "conns up",
        "per proxy",
        "idle, MiB each",
        "buffers, MiB each",
        "processors"
    );
    for tier in tiers {
        let proxies = tier.proxies as f64;
        let idle = tier.down as f64 * tier.kib_per_connection / 1024.0 / proxies;
        let events = (options.buffer as f64).min(options.rate * options.age);
        let retained = tier.streams as f64 * events * options.event as f64;
        let buffers = retained / f64::from(1 << 20) / proxies;
        let processors = tier.cost.map_or("–".to_owned(), |cost| {
            format!("{:.2}", tier.down as f64 * options.rate * cost / 1e6)
        });
        println!(
            "{:<8} {:>8} {:>12} {:>11} {:>12} {:>11} {idle:>15.0} {buffers:>18.0} {processors:>11}",
            tier.name,
            tier.proxies,
            tier.down,
            tier.down.div_ceil(tier.proxies),
            tier.up,
            tier.up.div_ceil(tier.proxies),
        );
    }
}
