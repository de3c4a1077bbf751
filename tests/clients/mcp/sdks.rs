//! MCP clients that people have.

use crate::harness::{Process, node, python};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sdk {
    /// `mcp`
    Python,
    /// `@modelcontextprotocol/sdk`
    TypeScript1,
    /// `@modelcontextprotocol/client`
    TypeScript2,
}

/// What a client is to do.
#[derive(Clone, Copy)]
pub(crate) struct Task<'a> {
    pub(crate) server: &'a str,
    /// `legacy`, or a version from 2026-07-28 on.
    pub(crate) mode: &'a str,
    pub(crate) calls: usize,
    /// How far each is to count.
    pub(crate) steps: usize,
    /// How many seconds each may take.
    pub(crate) timeout: usize,
}

impl Sdk {
    /// The client at its task; it ends its session after that.
    pub(crate) fn start(self, task: Task<'_>) -> Process {
        let url = format!("{}/mcp", task.server);
        let numbers = [task.calls, task.steps, task.timeout].map(|number| number.to_string());
        let [calls, steps, timeout] = numbers.each_ref().map(String::as_str);
        let arguments = [&url, task.mode, calls, steps, timeout];
        let typescript = |version| node("mcp_client.mjs", &[&[version], &arguments[..]].concat());
        match self {
            Self::Python => python("mcp_client.py", &arguments),
            Self::TypeScript1 => typescript("v1"),
            Self::TypeScript2 => typescript("v2"),
        }
    }
}
