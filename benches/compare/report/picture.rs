//! The first figure of every scenario as bars, in a picture that is readable on
//! light and dark pages.

use std::fmt::Write;

use super::table::{Table, number, tables};
use crate::result::Run;

const WIDTH: usize = 840;
const COLUMNS: usize = 2;
const PANEL: usize = WIDTH / COLUMNS;
const NAMES: usize = 126;
const VALUES: usize = 84;
const BAR: usize = PANEL - NAMES - VALUES - 20;
const ROW: usize = 19;
const HEAD: usize = 44;

const STYLE: &str = "\
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 13px }
.note, .value { fill: #57606a }
.ours { fill: #0969da }
.other { fill: #afb8c1 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .note, .value { fill: #9198a1 }
  .ours { fill: #4493f8 }
  .other { fill: #565d66 }
}";

pub(super) fn draw(run: &Run) -> String {
    let tables = tables(run);
    let rows: Vec<&[Table]> = tables.chunks(COLUMNS).collect();
    let mut body = String::new();
    let mut y = 8;
    for row in rows {
        for (column, table) in row.iter().enumerate() {
            panel(&mut body, table, column * PANEL, y);
        }
        let most = row.iter().map(|table| table.values.len()).max();
        y += HEAD + most.unwrap_or(0) * ROW + 16;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" \
         width=\"{WIDTH}\" height=\"{y}\" role=\"img\" aria-label=\"sse-proxy beside other \
         proxies\">\n<style>\n{STYLE}\n</style>\n{body}</svg>\n"
    )
}

fn panel(body: &mut String, table: &Table, x: usize, y: usize) {
    let title = table
        .title
        .split_once(':')
        .map_or(table.title, |(title, _)| title);
    let better = if table.more_is_better { "more" } else { "less" };
    let most = table
        .values
        .iter()
        .map(|(_, value)| *value)
        .fold(0.0, f64::max);
    element(body, "title", "start", x + 8, y + 14, title);
    let note = format!("{}, {better} is better", table.unit);
    element(body, "note", "start", x + 8, y + 31, &note);
    for (row, (peer, value)) in table.values.iter().enumerate() {
        let top = y + HEAD + row * ROW;
        let class = if peer.starts_with("sse-proxy") {
            "ours"
        } else {
            "other"
        };
        let length = if most > 0.0 {
            value.max(0.0) / most * BAR as f64
        } else {
            0.0
        };
        let left = x + NAMES;
        element(body, "name", "end", left - 6, top + 11, peer);
        // Writing to a string does not fail.
        let _ = writeln!(
            body,
            "<rect class=\"{class}\" x=\"{left}\" y=\"{top}\" width=\"{:.1}\" height=\"14\" \
             rx=\"2\"/>",
            length.max(1.0)
        );
        let _ = writeln!(
            body,
            "<text class=\"value\" x=\"{:.1}\" y=\"{}\">{}</text>",
            left as f64 + length + 6.0,
            top + 11,
            number(*value)
        );
    }
}

fn element(body: &mut String, class: &str, anchor: &str, x: usize, y: usize, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        body,
        "<text class=\"{class}\" text-anchor=\"{anchor}\" x=\"{x}\" y=\"{y}\">{text}</text>"
    );
}
