//! Real clients and real backends around the real binary.
//!
//! Everything else in `tests/` checks the promises against our own reading of
//! the standard; here Chromium, curl, clients in Node and Python, and the
//! frameworks people write backends with, check that reading. `tests/run`
//! installs them and runs this; afterwards `cargo test --all-features --test
//! clients` is enough.
//!
//! The programs in `scripts/` print one JSON object per line, and tests wait
//! for what they print, never for time to pass: a wait that ends in a timeout
//! is a failure, and shows all that was seen.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

#[path = "../support/authority.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod authority;
#[path = "../support/browser.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod browser_model;
#[path = "../support/gunzip.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod gunzip;
mod harness;
#[path = "../support/patience.rs"]
mod patience;
#[path = "../support/pebble.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod pebble;

mod access;
mod anthropic;
mod backends;
mod browser;
mod compress;
mod curl;
mod documentation;
mod eventsource;
mod fetch_event_source;
mod graphql_sse;
mod llm;
mod llm_chat;
mod mcp;
mod openai;
mod transcripts;
mod use_chat;
mod walk;
