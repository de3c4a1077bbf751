//! What was measured, as a table.

/// One way's figures of one round.
pub(crate) struct Sample {
    pub(crate) way: &'static str,
    /// Microseconds for each.
    pub(crate) processor: f64,
    /// Bytes for each.
    pub(crate) bytes: f64,
    /// Microseconds from an arrival to half of the writes, and to 99 in 100.
    pub(crate) half: f64,
    pub(crate) most: f64,
    /// KiB that the process grew by, for each client.
    pub(crate) memory: f64,
}

/// The median of the rounds, and of their ratios to the first way's sample.
pub(crate) fn print<const N: usize>(title: &str, rounds: &[[Sample; N]]) {
    println!("\n### {title}\n");
    println!("| | CPU µs | × plain | bytes | × plain | p50 µs | × plain | p99 µs | × plain |");
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|");
    for way in 0..N {
        let figure = |get: fn(&Sample) -> f64| {
            let value = median(rounds.iter().map(|round| get(&round[way])));
            let ratio = median(rounds.iter().map(|r| get(&r[way]) / get(&r[0])));
            format!("{value:.1} | {ratio:.2}")
        };
        println!(
            "| {} | {} | {} | {} | {} |",
            rounds[0][way].way,
            figure(|s| s.processor),
            figure(|s| s.bytes),
            figure(|s| s.half),
            figure(|s| s.most),
        );
    }
}

/// What a client takes, by the round that shows most: memory that an earlier one
/// gave back does not show as growth.
pub(crate) fn print_memory<const N: usize>(rounds: &[[Sample; N]]) {
    println!();
    for way in 0..N {
        let memory = rounds.iter().map(|round| round[way].memory);
        let most = memory.fold(0.0, f64::max);
        println!("{}: {most:.0} KiB per client", rounds[0][way].way);
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
