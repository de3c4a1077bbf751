//! Clients that are sent away by a drain are told when to come back.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::browser::Browser;
use crate::harness::{LONG, Proxy, answer, config, get, open, request};
use crate::upstream::Upstream;

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";

async fn upstream() -> Upstream {
    Upstream::start(|mut connection| async move {
        let Some((head, _)) = connection.request().await else {
            return;
        };
        connection.send(HEAD).await;
        connection.send("data: 1\n\n").await;
        if head.starts_with("GET") {
            connection.closed().await;
        }
    })
    .await
}

/// What browsers made of a drain, and the text of one.
async fn drained(retry: Option<(Duration, Duration)>) -> (Vec<Browser>, String) {
    let upstream = upstream().await;
    let mut config = config(&[upstream.url()]);
    config.drain.retry = retry;
    let mut proxy = Proxy::start(config).await;
    let mut responses = Vec::new();
    for _ in 0..20 {
        responses.push(open(proxy.addr, get("/events")).await);
    }
    proxy.stop();
    let (mut browsers, mut text) = (Vec::new(), String::new());
    for response in responses {
        let ended = tokio::time::timeout(LONG, answer(response)).await.unwrap();
        let mut browser = Browser::default();
        browser.feed(&ended.body);
        browsers.push(browser);
        ended.text().clone_into(&mut text);
    }
    proxy.stopped().await;
    (browsers, text)
}

#[tokio::test]
async fn each_at_another_time_and_as_the_last_line() {
    let range = (Duration::from_secs(1), Duration::from_secs(5));
    let (browsers, text) = drained(Some(range)).await;
    let mut times = BTreeSet::new();
    for browser in &browsers {
        assert_eq!(browser.retries.len(), 1);
        assert!((1000..=5000).contains(&browser.retries[0]));
        assert_eq!(browser.empties, 0, "no event comes of it");
        times.insert(browser.retries[0]);
    }
    assert!(times.len() > 5, "{times:?}");
    let last = text.lines().next_back().unwrap();
    assert!(last.starts_with("retry: "), "{text}");
}

#[tokio::test]
async fn not_where_nothing_is_said_of_it() {
    let (browsers, _) = drained(None).await;
    assert!(browsers.iter().all(|browser| browser.retries.is_empty()));
}

#[tokio::test]
async fn an_answer_that_ends_by_itself_has_no_such_line() {
    let upstream = upstream().await;
    let mut config = config(&[upstream.url()]);
    config.drain.retry = Some((LONG, LONG));
    let proxy = Proxy::start(config).await;
    let response = open(proxy.addr, request("POST", "/events", "")).await;
    let ended = answer(response).await;
    assert!(!ended.text().contains("retry"), "{}", ended.text());
}
