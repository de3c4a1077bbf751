//! How many instructions the hot paths take, compared with what is committed.
//!
//! ```sh
//! cargo bench --bench instructions               # counts, compares; fails past +10 %
//! cargo bench --bench instructions -- append     # only cases with this in their name
//! cargo bench --bench instructions -- --accept   # counts, and commits to the result
//! ```
//!
//! This program runs itself under valgrind, which counts the same on a noisy
//! machine as on a quiet one. What could make counts differ from run to run is
//! kept out: one thread, a clock that stands still (see `layer`), an empty
//! environment. Random are the keys of hash maps and the ids of streams: where
//! these put things in the heap sways `layer_open` by 1 %, all else by 0.1 %.
//!
//! Counts do differ by compiler, by libc, and by what the processor offers:
//! `memchr` and `memcpy` choose their code by that. Valgrind shows the same
//! processor, with AVX2 and without AVX-512 or SHA instructions, wherever the
//! real one has AVX2; elsewhere there is nothing to compare with.

mod callgrind;
mod case;
mod engine;
mod figures;
mod layer;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

use callgrind::{count, profile};
use case::Case;
use figures::Figures;

/// How far over the committed figure a case may be. Other features of the crate
/// move single cases by 2 %, another compiler by 4 %: code is inlined differently.
const TOLERANCE: f64 = 0.10;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    if let [flag, name, rounds] = &args[..]
        && flag == callgrind::ONCE
    {
        let case = cases().find(|case| case.name == name);
        let (Some(case), Ok(rounds)) = (case, rounds.parse()) else {
            return ExitCode::from(2);
        };
        (case.run)(rounds);
        return ExitCode::SUCCESS;
    }
    // `cargo test --benches` only wants to know that it starts.
    if !args.iter().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::from(2)
        }
    }
}

fn cases() -> impl Iterator<Item = &'static Case> {
    engine::CASES.iter().chain(layer::CASES)
}

/// Whether all is well.
fn run(args: &[String]) -> Result<bool, String> {
    if !callgrind::is_comparable() {
        println!("instructions: not counted; the figures are for x86-64 Linux with glibc and AVX2");
        return Ok(true);
    }
    let tools = callgrind::tools()?;
    let accept = args.iter().any(|arg| arg == "--accept");
    let words: Vec<_> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    if accept && !words.is_empty() {
        return Err("--accept is for all cases at once, because they share one compiler".into());
    }
    let wanted = |case: &&Case| words.is_empty() || words.iter().any(|w| case.name.contains(*w));
    let cases: Vec<_> = cases().filter(wanted).collect();
    let committed = Figures::read()?;
    let counts = count(&cases)?;
    print(&cases, &committed, &counts);
    if accept {
        let names = cases.iter().map(|case| case.name);
        Figures::write(&tools, names.zip(counts))?;
        return Ok(true);
    }
    Ok(judge(&cases, &committed, &counts, &tools))
}

fn print(cases: &[&Case], committed: &Figures, counts: &[f64]) {
    println!(
        "{:20} {:>12} {:>12} {:>9}  per",
        "case", "committed", "now", "change"
    );
    for (case, now) in cases.iter().zip(counts) {
        let (was, change) = match committed.of(case.name) {
            Some(was) => (format!("{was:.1}"), percent(now / was)),
            None => ("none".into(), String::new()),
        };
        println!(
            "{:20} {was:>12} {now:>12.1} {change:>9}  {}",
            case.name, case.per
        );
    }
}

fn percent(ratio: f64) -> String {
    // Rounded before it is written, and zero added, so that nothing is "-0.0".
    let percent = ((ratio - 1.0) * 1000.0).round() / 10.0 + 0.0;
    format!("{percent:+.1} %")
}

fn judge(cases: &[&Case], committed: &Figures, counts: &[f64], tools: &str) -> bool {
    let mut good = true;
    for (case, now) in cases.iter().zip(counts) {
        let (name, per) = (case.name, case.per);
        let Some(was) = committed.of(name) else {
            eprintln!("\n{name}: nothing is committed to compare with");
            good = false;
            continue;
        };
        let change = percent(now / was);
        if now / was > 1.0 + TOLERANCE {
            good = false;
            eprintln!(
                "\n{name}: {now:.1} instructions per {per}, {change}; past {} this fails.\n\
                 Where they go:  callgrind_annotate {}",
                percent(1.0 + TOLERANCE),
                profile(name).display()
            );
        } else if now / was < 1.0 - TOLERANCE {
            println!("\n{name}: {change}. Accept it, so that it cannot get lost unseen.");
        }
    }
    if !good {
        if committed.tools != tools {
            eprintln!(
                "\nNot the same tools: {tools}, but then {}",
                committed.tools
            );
        }
        eprintln!(
            "\nIf they are well spent:  cargo bench --bench instructions -- --accept\n\
             and say in the commit what for."
        );
    }
    good
}
