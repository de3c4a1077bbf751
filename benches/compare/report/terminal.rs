//! Results on the terminal.

use crate::result::{Run, Sample};

/// One sample, as soon as there is one.
pub(crate) fn line(sample: &Sample) -> String {
    let mut line = format!(
        "{}: {}: {} clients, {:.0} ev/s",
        sample.scenario, sample.peer, sample.clients, sample.events_per_second
    );
    let figures = [
        ("CPU µs/ev", sample.cpu_us_per_event),
        ("MB/s", sample.mb_per_second),
        ("CPU µs/MB", sample.cpu_us_per_mb),
        ("p50 µs", sample.p50_us),
        ("p99 µs", sample.p99_us),
        ("p99.9 µs", sample.p999_us),
        ("KiB/client", sample.kib_per_client),
        ("median ms", sample.median_ms),
        ("ms", sample.elapsed_ms),
        ("CPU µs/client", sample.cpu_us_per_client),
        ("ev/CPU s", sample.events_per_cpu_second),
        ("ev/CPU s at best", sample.best_events_per_cpu_second),
        ("busy", sample.busy),
        ("load µs/ev", sample.client_cpu_us_per_event),
    ];
    let figures = figures
        .iter()
        .filter_map(|(name, figure)| Some(format!(", {:.2} {name}", (*figure)?)));
    line.extend(figures);
    line.extend(
        sample
            .upstream_connections
            .map(|open| format!(", {open} upstream")),
    );
    line
}

/// All of it.
pub(crate) fn print(run: &Run) {
    println!(
        "{} samples, {} failures",
        run.samples.len(),
        run.failures.len()
    );
}
