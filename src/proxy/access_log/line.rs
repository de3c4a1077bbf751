//! How a line looks.

use std::fmt::Write;

use serde::Serialize;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use super::super::config::model::AccessFormat;

/// What is said in a line, in this order.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    pub(super) time: String,
    /// `request`, or a stream's `start` and `end`.
    pub(super) event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client: Option<&'a str>,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resume: Option<&'a str>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(super) outcome: Option<Outcome>,
}

/// What is known at the end.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) events: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gaps: Option<u64>,
    pub(super) bytes: u64,
    /// In seconds, from the request's head on.
    pub(super) duration: f64,
    pub(super) reason: &'static str,
}

/// Now, as RFC 3339 has it.
pub(super) fn now() -> String {
    let mut text = String::new();
    // It can fail for a clock before 1970.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

impl Line<'_> {
    /// The line, with its end.
    pub(super) fn format(&self, format: AccessFormat) -> String {
        let mut line = match format {
            AccessFormat::Json => serde_json::to_string(self).unwrap_or_default(),
            AccessFormat::Text => self.text(),
        };
        line.push('\n');
        line
    }

    fn text(&self) -> String {
        let mut text = format!("{} {}", self.time, self.event);
        let mut pair = |key: &str, value: &dyn std::fmt::Display| {
            let _ = write!(text, " {key}={}", quoted(&value.to_string()));
        };
        if let Some(client) = &self.client {
            pair("client", client);
        }
        pair("method", &self.method);
        pair("path", &self.path);
        pair("protocol", &self.protocol);
        let status = self.status.map(|status| status.to_string());
        for (key, value) in [
            ("status", status.as_deref()),
            ("route", self.route),
            ("resume", self.resume),
            ("id", self.id),
        ] {
            if let Some(value) = value {
                pair(key, &value);
            }
        }
        if let Some(outcome) = &self.outcome {
            for (key, count) in [("events", outcome.events), ("gaps", outcome.gaps)] {
                if let Some(count) = count {
                    pair(key, &count);
                }
            }
            pair("bytes", &outcome.bytes);
            pair("duration", &format_args!("{:.3}", outcome.duration));
            pair("reason", &outcome.reason);
        }
        text
    }
}

/// In quotes where it could be read as something else.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '=' | '\\');
    if !value.is_empty() && value.chars().all(plain) {
        value.to_owned()
    } else {
        format!("{value:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line<'static> {
        Line {
            time: "T".into(),
            event: "end",
            id: None,
            client: Some("192.0.2.1:5"),
            method: "GET",
            path: "/a\" b",
            protocol: "HTTP/1.1",
            route: Some("/"),
            status: Some(200),
            resume: Some("new"),
            outcome: Some(Outcome {
                events: Some(2),
                gaps: Some(0),
                bytes: 9,
                duration: 0.25,
                reason: "client gone",
            }),
        }
    }

    #[test]
    fn text_is_pairs_that_can_be_told_apart() {
        assert_eq!(
            line().format(AccessFormat::Text),
            "T end client=192.0.2.1:5 method=GET path=\"/a\\\" b\" protocol=HTTP/1.1 status=200 \
             route=/ resume=new events=2 gaps=0 bytes=9 duration=0.250 reason=\"client gone\"\n"
        );
    }

    #[test]
    fn json_is_one_object() {
        assert_eq!(
            line().format(AccessFormat::Json),
            "{\"time\":\"T\",\"event\":\"end\",\"client\":\"192.0.2.1:5\",\"method\":\"GET\",\
             \"path\":\"/a\\\" b\",\"protocol\":\"HTTP/1.1\",\"route\":\"/\",\"status\":200,\
             \"resume\":\"new\",\"events\":2,\"gaps\":0,\"bytes\":9,\"duration\":0.25,\
             \"reason\":\"client gone\"}\n"
        );
    }
}
