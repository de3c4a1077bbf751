//! The example of a chat, in Chromium: a tab closed mid-answer and opened again
//! has the answer, and the stop button stops it.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::harness::chromium;

#[path = "../../examples/llm_chat.rs"]
#[allow(dead_code, reason = "`main` and its pace are for those who run it")]
mod example;

#[tokio::test]
async fn a_tab_closed_mid_answer_and_opened_again_shows_the_answer() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = example::app(Duration::from_millis(50));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let (mut user, _profile) = chromium("llm_chat.mjs", &url);
    let all = example::WORDS
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");

    let closed = user.report("closed").await;
    assert_eq!(closed["state"], "answering");
    let back = user.report("back").await;
    assert_eq!(back["question"], "What about closed tabs?");
    assert_eq!(back["answer"].as_str().unwrap().trim_end(), all);

    // It is as broken off when it is looked at again. (Each time Chromium forgets
    // text of which it learns together with the reset.)
    for report in ["stopped", "reloaded"] {
        let shown = user.report(report).await["answer"].clone();
        let answer = shown.as_str().unwrap().trim_end();
        assert!(
            all.starts_with(answer) && answer.len() < all.len(),
            "{report}: {answer}"
        );
    }
    assert_eq!(user.reports("page-error").len(), 0);
}
