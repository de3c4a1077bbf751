//! Settings that fit a protocol, by its name.

use std::time::Duration;

use http::HeaderName;
use http::header::AUTHORIZATION;

use super::settings::{Credential, Mode, Settings};
use crate::stream::policy::{Linger, Marker};

/// A protocol of which is known how its streams end, what may be added to
/// them, and what a closed connection means.
///
/// `docs/clients.md` has them as a table. Every setting can be changed after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Chat completions and responses of the `OpenAI` API, and of the many servers
    /// that speak it.
    OpenAi,
    /// Messages of the Anthropic API.
    Anthropic,
    /// The UI message streams of Vercel's AI SDK, which attach to a chat's
    /// stream by its id.
    VercelAi,
    /// AG-UI: agents and their user interfaces.
    AgUi,
    /// GraphQL over SSE, an operation per connection.
    GraphqlSse,
    /// The `Agent2Agent` protocol (A2A).
    A2a,
    /// The Model Context Protocol's streamable HTTP.
    Mcp,
}

impl Profile {
    /// All of them, by the names they have in `proxy.yaml`.
    pub const ALL: [(&'static str, Self); 7] = [
        ("openai", Self::OpenAi),
        ("anthropic", Self::Anthropic),
        ("vercel-ai", Self::VercelAi),
        ("ag-ui", Self::AgUi),
        ("graphql-sse", Self::GraphqlSse),
        ("a2a", Self::A2a),
        ("mcp", Self::Mcp),
    ];

    /// Its settings.
    pub fn settings(self) -> Settings {
        let settings = Settings {
            finish: self.finish(),
            ..Settings::default()
        };
        match self {
            Self::AgUi | Self::A2a => settings,
            Self::OpenAi => Settings {
                principal: keys("api-key"),
                ..settings
            },
            Self::Anthropic => Settings {
                principal: keys("x-api-key"),
                ..settings
            },
            // What was begun is wanted: its page asks for it when it is back.
            Self::VercelAi => Settings {
                linger: Linger::Complete,
                ..settings
            },
            // A client that closes its connection has completed the operation.
            Self::GraphqlSse => Settings {
                linger: Linger::For(Duration::ZERO),
                ..settings
            },
            // A lost connection is no cancellation, and a client is told when
            // to come back: not so soon that it has given up, after two times,
            // before its network or we are back.
            Self::Mcp => Settings {
                mode: Mode::Mcp,
                principal: vec![
                    Credential::Header(AUTHORIZATION),
                    Credential::Header(HeaderName::from_static("mcp-session-id")),
                ],
                linger: Linger::Complete,
                retry: Some(Duration::from_secs(3)..=Duration::from_secs(5)),
                ..settings
            },
        }
    }

    fn finish(self) -> Vec<Marker> {
        match self {
            Self::OpenAi => vec![
                Marker::Data("[DONE]".into()),
                json(
                    "/type",
                    &[
                        "response.completed",
                        "response.failed",
                        "response.incomplete",
                        "error",
                    ],
                ),
                json("/error", &[]),
            ],
            Self::Anthropic => vec![event("message_stop"), event("error")],
            Self::VercelAi => vec![Marker::Data("[DONE]".into())],
            Self::AgUi => vec![json("/type", &["RUN_FINISHED", "RUN_ERROR"])],
            Self::GraphqlSse => vec![event("complete")],
            Self::A2a => vec![
                json("/error", &[]),
                json("/result/final", &["true"]),
                json("/result/kind", &["message"]),
                json("/result/message", &[]),
                json("/result/status/state", A2A_STATES),
                json("/result/task/status/state", A2A_STATES),
                json("/result/statusUpdate/status/state", A2A_STATES),
            ],
            Self::Mcp => vec![Marker::JsonRpcResponse],
        }
    }
}

/// `Authorization`, and the other header by which such a service may know its
/// clients.
fn keys(other: &'static str) -> Vec<Credential> {
    let other = HeaderName::from_static(other);
    [AUTHORIZATION, other].map(Credential::Header).into()
}

/// States in which a task's stream is closed, as the versions of the protocol
/// write them.
const A2A_STATES: &[&str] = &[
    "completed",
    "failed",
    "canceled",
    "rejected",
    "input-required",
    "auth-required",
    "TASK_STATE_COMPLETED",
    "TASK_STATE_FAILED",
    "TASK_STATE_CANCELED",
    "TASK_STATE_CANCELLED",
    "TASK_STATE_REJECTED",
    "TASK_STATE_INPUT_REQUIRED",
    "TASK_STATE_AUTH_REQUIRED",
];

fn event(name: &str) -> Marker {
    Marker::Event(name.into())
}

fn json(pointer: &str, values: &[&str]) -> Marker {
    Marker::Json {
        pointer: pointer.into(),
        values: values.iter().map(ToString::to_string).collect(),
    }
}
