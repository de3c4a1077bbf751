//! The `sse-proxy` binary.
fn main() {}
