//! `reload`, `access_log` and `request_id`: how the process is run and watched.

use std::path::{Path, PathBuf};

use http::HeaderName;

use super::error::ConfigError;
use super::print::{Page, quote};
use super::section::Section;
use super::tree::Node;

type Result<T> = std::result::Result<T, ConfigError>;

/// The top-level keys that are read here.
pub(super) const KEYS: [&str; 3] = ["reload", "access_log", "request_id"];

pub(super) const SWITCH: [(&str, bool); 2] = [("true", true), ("false", false)];

const FORMATS: [(&str, AccessFormat); 2] =
    [("text", AccessFormat::Text), ("json", AccessFormat::Json)];

/// Headers that mean something else to those who read them.
const NOT_IDS: [&str; 9] = [
    "host",
    "authorization",
    "cookie",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
    "te",
    "last-event-id",
];

/// How the process is run and watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operations {
    /// When the file is read again.
    pub reload: Reload,
    /// Where requests are noted, if anywhere.
    pub access_log: Option<AccessLog>,
    /// The header that names a request to all who handle it, if there is one.
    pub request_id: Option<HeaderName>,
}

/// When the configuration is read again, beside SIGHUP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reload {
    /// Also when the file's content has changed. Default: no.
    pub watch: bool,
}

/// Where and how requests are noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// The file, absolute; `None` is standard error.
    pub path: Option<PathBuf>,
    /// How its lines look.
    pub format: AccessFormat,
}

/// How the lines of an access log look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessFormat {
    /// `key=value` pairs.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Reads the three keys; `folder` is where relative file names start.
pub(super) fn read(top: &Section<'_>, folder: &Path) -> Result<Operations> {
    Ok(Operations {
        reload: top.read("reload", read_reload)?.unwrap_or_default(),
        access_log: top.read_or_off("access_log", |node| read_access_log(node, folder))?,
        request_id: top.read_or_off("request_id", read_request_id)?,
    })
}

fn read_reload(node: &Node) -> Result<Reload> {
    let section = Section::open(node, &["watch"])?;
    let watch = section.read("watch", |node| node.word(&SWITCH))?;
    Ok(Reload {
        watch: watch.unwrap_or_default(),
    })
}

fn read_access_log(node: &Node, folder: &Path) -> Result<AccessLog> {
    let section = Section::open(node, &["path", "format"])?;
    let format = section.read("format", |node| node.word(&FORMATS))?;
    Ok(AccessLog {
        path: section.read_or_off("path", |node| log_file(node, folder))?,
        format: format.unwrap_or_default(),
    })
}

/// A file that need not exist, in a folder that must.
fn log_file(node: &Node, folder: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(folder.join(node.text()?));
    match path {
        Ok(path) if path.parent().is_some_and(Path::is_dir) && !path.is_dir() => Ok(path),
        _ => Err(node.error(format!(
            "{} is not a file in a folder that exists; make the folder, or leave `path` \
             out to write to standard error",
            node.shown()
        ))),
    }
}

fn read_request_id(node: &Node) -> Result<HeaderName> {
    let name = node.text()?.to_ascii_lowercase();
    match HeaderName::try_from(&name) {
        Ok(name) if !NOT_IDS.contains(&name.as_str()) => Ok(name),
        _ => Err(node.error(format!(
            "{} cannot be a request's id; write the name of a header of its own, \
             such as X-Request-Id",
            node.shown()
        ))),
    }
}

/// Writes the three keys.
pub(super) fn print(page: &mut Page, operations: &Operations) {
    let watch = operations.reload.watch;
    page.line(0, &format!("reload: {{ watch: {watch} }}"));
    match &operations.access_log {
        None => page.line(0, "access_log: ~"),
        Some(log) => {
            page.line(0, "access_log:");
            let path = log.path.as_ref().map(|path| quote(&path.to_string_lossy()));
            page.pair(1, "path", path.as_deref().unwrap_or("~"));
            let format = FORMATS.iter().find(|(_, format)| *format == log.format);
            page.pair(1, "format", format.map_or("text", |(word, _)| word));
        }
    }
    let id = operations
        .request_id
        .as_ref()
        .map(|name| quote(name.as_str()));
    page.line(0, &format!("request_id: {}", id.as_deref().unwrap_or("~")));
}
