//! Results in a Markdown file, between two markers.

use std::fmt::Write;
use std::io;

use super::figures::median;
use super::table::{Table, number, tables};
use crate::result::Run;

const BEGIN: &str = "<!-- compare:begin -->";
const END: &str = "<!-- compare:end -->";

/// `text` with the results in place of what was between the markers.
pub(super) fn replace(text: &str, run: &Run, picture: &str) -> io::Result<String> {
    let missing = || io::Error::other(format!("the file has no {BEGIN} and {END}"));
    let (before, rest) = text.split_once(BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    let results = results(run, picture).map_err(io::Error::other)?;
    Ok(format!("{before}{BEGIN}\n{results}{END}{after}"))
}

fn results(run: &Run, picture: &str) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    writeln!(text, "\n![Each peer beside the others]({picture})\n")?;
    let machine = &run.machine;
    writeln!(
        text,
        "{}, {} processors, {:.0} GiB, Linux {}, {}. Medians of {} rounds, {} s each; {}.\n",
        machine.cpu,
        machine.cores,
        machine.memory_gib,
        machine.kernel,
        run.started,
        run.rounds,
        run.seconds,
        pinning(run)
    )?;
    if let Some(floor) = median(run.floor_ns.clone()) {
        let floor = number(floor / 1e3);
        writeln!(
            text,
            "The floor, one bare 200-byte `send`, costs {floor} µs.\n"
        )?;
    }
    writeln!(text, "```sh\n{}\n```\n", run.command.trim_end())?;
    for (peer, version) in &run.versions {
        writeln!(text, "* {peer}: {version}")?;
    }
    for table in tables(run) {
        write_table(&mut text, &table)?;
    }
    write_failures(&mut text, run)?;
    Ok(text)
}

fn pinning(run: &Run) -> &'static str {
    if run.pinned {
        "the peer has one processor, the load another"
    } else {
        "processes are left to the scheduler"
    }
}

fn write_table(text: &mut String, table: &Table) -> std::fmt::Result {
    writeln!(text, "\n### {}\n", table.title)?;
    writeln!(text, "| {} |", table.header.join(" | "))?;
    writeln!(text, "|---|{}", "--:|".repeat(table.header.len() - 1))?;
    for row in &table.rows {
        writeln!(text, "| {} |", row.join(" | "))?;
    }
    Ok(())
}

fn write_failures(text: &mut String, run: &Run) -> std::fmt::Result {
    if run.failures.is_empty() {
        return writeln!(text);
    }
    writeln!(text, "\n### Failed\n")?;
    for failure in &run.failures {
        let (scenario, peer, reason) = (&failure.scenario, &failure.peer, &failure.reason);
        let round = failure.round + 1;
        writeln!(text, "* {scenario}, {peer}, round {round}: {reason}")?;
    }
    writeln!(text)
}
