//! Results for people.

pub(crate) mod figures;
mod markdown;
mod picture;
mod table;
mod terminal;

use std::io;
use std::path::Path;

pub(crate) use terminal::{line, print};

use crate::result::Run;

/// Writes the run of a `--json` file into a Markdown file, and its picture.
pub(crate) fn write(json: &Path, file: &Path) -> io::Result<()> {
    let run: Run = serde_json::from_str(&std::fs::read_to_string(json)?)?;
    let picture = file.with_extension("svg");
    let name = picture.file_name().unwrap_or_default().to_string_lossy();
    let text = markdown::replace(&std::fs::read_to_string(file)?, &run, &name)?;
    std::fs::write(&picture, picture::draw(&run))?;
    std::fs::write(file, text)
}
