//! The committed figures, one line for each case.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/benches/instructions/figures.txt"
);

/// Begins the line that says what they were counted with.
const TOOLS: &str = "# with ";

const HEAD: &str = "\
# Instructions per operation. Written by
# cargo bench --bench instructions -- --accept
";

pub(crate) struct Figures {
    /// What they were counted with.
    pub(crate) tools: String,
    by_name: HashMap<String, f64>,
}

impl Figures {
    pub(crate) fn read() -> Result<Self, String> {
        let text = fs::read_to_string(FILE).map_err(|error| format!("{FILE}: {error}"))?;
        let tools = text.lines().find_map(|line| line.strip_prefix(TOOLS));
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let figure = |line: &str| {
            let (name, figure) = line.split_once(' ')?;
            Some((name.to_owned(), figure.trim().parse().ok()?))
        };
        let by_name = lines.map(|line| figure(line).ok_or(format!("{FILE}: not a figure: {line}")));
        Ok(Self {
            tools: tools.unwrap_or_default().to_owned(),
            by_name: by_name.collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn of(&self, name: &str) -> Option<f64> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn write<'a>(
        tools: &str,
        figures: impl Iterator<Item = (&'a str, f64)>,
    ) -> Result<(), String> {
        let mut text = format!("{HEAD}{TOOLS}{tools}\n");
        for (name, figure) in figures {
            let _ = writeln!(text, "{name:20} {figure:12.1}");
        }
        fs::write(FILE, text).map_err(|error| format!("{FILE}: {error}"))
    }
}
