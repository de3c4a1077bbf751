//! Results on the terminal.

use super::figures::median;
use super::table::{Table, number, tables};
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
        ("p50 µs", sample.p50_us),
        ("p99 µs", sample.p99_us),
        ("KiB/client", sample.kib_per_client),
        ("ms", sample.elapsed_ms),
        ("busy", sample.busy),
    ];
    let figures = figures
        .iter()
        .filter_map(|(name, figure)| Some(format!(", {} {name}", number((*figure)?))));
    line.extend(figures);
    line
}

/// All of it.
pub(crate) fn print(run: &Run) {
    if let Some(floor) = median(run.floor_ns.clone()) {
        println!("\nfloor: {} ns for a bare send", number(floor));
    }
    for table in tables(run) {
        print_table(&table);
    }
    for failure in &run.failures {
        let (scenario, peer, reason) = (&failure.scenario, &failure.peer, &failure.reason);
        println!(
            "\nFAILED: {scenario}, {peer}, round {}: {reason}",
            failure.round + 1
        );
    }
}

fn print_table(table: &Table) {
    println!("\n{}: {}", table.scenario, table.title);
    let lines = || std::iter::once(&table.header).chain(&table.rows);
    let width = |column: usize| lines().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..table.header.len()).filter_map(width).collect();
    for line in lines() {
        let mut cells = line.iter().zip(&widths);
        if let Some((peer, width)) = cells.next() {
            print!("  {peer:<width$}");
        }
        for (cell, width) in cells {
            print!("  {cell:>width$}");
        }
        println!();
    }
}
