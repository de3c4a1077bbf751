//! The npm `graphql-sse`, an operation per connection: to it an end without
//! `complete` is a broken connection, after which it runs the operation again.

use serde_json::json;

use crate::harness::{Canned, End, Plan, Scripted, node};
use crate::llm::{self, Sdk};
use crate::transcripts::graphql;

const GRAPHQL: Sdk = Sdk {
    run: node,
    script: "answers_graphql_sse.mjs",
    profile: "graphql-sse",
    api: "distinct",
    events: graphql,
};

#[tokio::test]
async fn it_runs_clean_through_heartbeats() {
    llm::runs_clean_through_heartbeats(GRAPHQL).await;
}

#[tokio::test]
async fn an_upstream_cut_anywhere_is_an_error() {
    llm::an_upstream_cut_anywhere_is_an_error(GRAPHQL).await;
}

/// What it does by default, with the proxy or without: right for subscriptions,
/// not for what may run but once.
#[tokio::test]
async fn it_runs_a_broken_operation_again_unless_told_not_to() {
    let half = graphql()[..2].concat();
    let upstream = Canned::start(move |_, _| Plan::Answer(half.clone(), End::Cut)).await;
    let proxy = GRAPHQL.proxy(upstream.url(), "").await;
    for (retries, executions) in [(0, 1), (1, 2)] {
        // It counts from anew after each result; a limit is reached without any.
        let path = format!("retries-{retries}");
        let options = json!({ "retries": retries });
        let mut client = GRAPHQL.start(proxy.url(), &options, &[json!({ "path": path })]);
        if retries == 0 {
            let (_, answer) = llm::answer(&mut client).await;
            assert!(answer.error.is_some(), "{answer:?}");
        } else {
            for _ in 0..4 {
                client.report("delta").await;
            }
        }
        let path = format!("/{path}/graphql");
        assert!(upstream.executions(&path) >= executions);
        assert!(retries > 0 || upstream.executions(&path) == executions);
    }
}

#[tokio::test]
async fn another_credential_gets_an_answer_of_its_own() {
    llm::others_get_an_answer_of_their_own(GRAPHQL).await;
}

/// As its protocol has it; nothing lingers.
#[tokio::test]
async fn to_leave_is_to_complete_the_operation() {
    let backend = Scripted::start().await;
    let proxy = GRAPHQL.proxy(backend.url(), "").await;
    let options = json!({ "retries": 0, "leave": " two" });
    let _client = GRAPHQL.start(proxy.url(), &options, &[json!({ "path": "v1" })]);
    backend.requested(1).await;
    backend.send(&graphql()[..2].concat());
    backend.left().await;
    assert_eq!(backend.requests().len(), 1);
}
