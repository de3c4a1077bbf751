//! `useChat` of Vercel's AI SDK in Chromium, whose page asks for the running
//! answer of its chat when it is loaded: the proxy has it, and the application
//! keeps no streams.

use serde_json::{Value, json};

use crate::harness::{Canned, End, Plan, Process, Proxy, Relay, Scratch, Scripted, chromium};
use crate::transcripts::{ANSWER, offsets, ui_messages};

const CHATS: &str = "profile: vercel-ai, heartbeat: 100ms, key: { json: /id }, \
                     attach: \"/api/chat/{key}/stream\"";

/// Heartbeats between all events; then a page that is loaded again after each
/// event, in one chat each.
#[tokio::test]
async fn a_page_loaded_again_mid_answer_gets_all_of_it() {
    let backend = Scripted::start().await;
    let proxy = Proxy::start(backend.url(), CHATS).await;
    let relay = Relay::to(proxy.url()).await;
    let mut page = Page::start(relay.url()).await;
    let events = ui_messages(Some("m1"));
    for loaded_after in 0..events.len() {
        let id = format!("chat-{loaded_after}");
        let running = page.open(json!({ "id": id })).await;
        assert_eq!(running, 204, "there is nothing yet");
        page.ask().await;
        backend.requested(loaded_after + 1).await;
        for (number, event) in events.iter().enumerate() {
            relay.heartbeats(1).await;
            if number == loaded_after && number > 0 {
                assert_eq!(page.open(json!({ "id": id })).await, 200);
            }
            backend.send(event);
        }
        backend.finish();
        assert_eq!(page.end().await, ("ready".into(), vec![ANSWER.into()]));
    }
    let posts = vec!["POST /api/chat"; events.len()];
    assert_eq!(backend.requests(), posts, "each executed once");
    page.close().await;
}

/// What the hook does by itself when a page is visible again.
#[tokio::test]
async fn an_answer_whose_connection_was_lost_goes_on_with_no_word_twice() {
    let backend = Scripted::start().await;
    let proxy = Proxy::start(backend.url(), CHATS).await;
    let relay = Relay::to(proxy.url()).await;
    let mut page = Page::start(relay.url()).await;
    let mut asked = 0;
    for message in [Some("m1"), None] {
        let events = ui_messages(message);
        for cut_after in 0..events.len() {
            let id = format!("chat-{asked}");
            page.open(json!({ "id": id })).await;
            page.ask().await;
            asked += 1;
            backend.requested(asked).await;
            backend.send(&events[..cut_after].concat());
            // Its answer has begun, and whatever was sent has passed.
            relay.heartbeats(2).await;
            relay.cut();
            assert_eq!(page.end().await.0, "error");
            page.tell("resume", json!({})).await;
            backend.send(&events[cut_after..].concat());
            backend.finish();
            assert_eq!(page.end().await, ("ready".into(), vec![ANSWER.into()]));
        }
    }
    assert_eq!(backend.requests().len(), asked, "each executed once");
    page.close().await;
}

#[tokio::test]
async fn an_upstream_cut_anywhere_is_an_error() {
    let events = ui_messages(Some("m1"));
    let text = events.concat();
    let mut cases = Vec::new();
    for offset in offsets(&events) {
        cases.extend([(offset, End::Clean), (offset, End::Cut)]);
    }
    let plans = cases.clone();
    let all = text.clone();
    let upstream = Canned::start(move |asked, _| {
        let body: Value = serde_json::from_str(&asked.body).unwrap();
        match body["id"].as_str().unwrap().parse::<usize>() {
            Err(_) => Plan::Refuse,
            Ok(case) => Plan::Answer(all[..plans[case].0].to_owned(), plans[case].1),
        }
    })
    .await;
    let proxy = Proxy::start(upstream.url(), CHATS).await;
    let mut page = Page::start(proxy.url()).await;
    page.open(json!({ "id": "refused" })).await;
    page.ask().await;
    assert_eq!(page.end().await.0, "error");
    for (case, (offset, end)) in cases.iter().enumerate() {
        let id = case.to_string();
        page.open(json!({ "id": id })).await;
        page.ask().await;
        let (status, answers) = page.end().await;
        let case = format!("{offset} of {} bytes, {end:?}: {answers:?}", text.len());
        if *offset == text.len() {
            assert_eq!(
                (status.as_str(), answers),
                ("ready", vec![ANSWER.into()]),
                "{case}"
            );
        } else {
            assert_eq!(status, "error", "{case}");
        }
    }
    assert_eq!(
        upstream.asked().len(),
        1 + cases.len(),
        "each executed once"
    );
    page.close().await;
}

/// Which is why answers are aborted that lack their last event.
#[tokio::test]
async fn without_the_proxy_it_takes_an_early_end_for_success() {
    let half = ui_messages(Some("m1"))[..4].concat();
    let upstream = Canned::start(move |_, _| Plan::Answer(half.clone(), End::Clean)).await;
    let mut page = Page::start(upstream.url()).await;
    page.open(json!({ "id": "1", "alone": "" })).await;
    page.ask().await;
    assert_eq!(page.end().await, ("ready".into(), vec!["one".into()]));
    page.close().await;
}

/// A page whose application stores its messages has the answer already. It is
/// replayed all the same while it is retained, and told from another by its id
/// only.
#[tokio::test]
async fn an_application_that_stores_answers_retains_none() {
    for (message, settings, replayed, shown) in [
        (Some("m1"), String::from(CHATS), 200, 1),
        (None, String::from(CHATS), 200, 2),
        (Some("m1"), format!("{CHATS}, retain: 0s"), 204, 1),
        (None, format!("{CHATS}, retain: 0s"), 204, 1),
    ] {
        let text = ui_messages(message).concat();
        let upstream = Canned::start(move |_, _| Plan::Answer(text.clone(), End::Clean)).await;
        let proxy = Proxy::start(upstream.url(), &settings).await;
        let mut page = Page::start(proxy.url()).await;
        page.open(json!({ "id": "1" })).await;
        page.ask().await;
        assert_eq!(page.end().await.1, [ANSWER]);
        let part = |text: &str| json!([{ "type": "text", "text": text }]);
        let stored = json!([
            { "id": "q1", "role": "user", "parts": part("count") },
            { "id": message.unwrap_or("as-stored"), "role": "assistant", "parts": part(ANSWER) },
        ]);
        let answered = page.open(json!({ "id": "1", "stored": stored })).await;
        let case = format!("{message:?}, {settings}");
        assert_eq!(answered, replayed, "{case}");
        let answers = match answered.as_u64().unwrap() {
            200 => page.end().await.1,
            _ => page.answers(),
        };
        assert_eq!(answers, vec![ANSWER; shown], "{case}");
        page.close().await;
    }
}

#[tokio::test]
async fn a_stop_button_ends_the_upstream_and_others_have_none() {
    let backend = Scripted::start().await;
    let proxy = Proxy::start(backend.url(), CHATS).await;
    let mut page = Page::start(proxy.url()).await;
    page.open(json!({ "id": "1", "as": "alice" })).await;
    page.ask().await;
    backend.requested(1).await;
    backend.send(&ui_messages(Some("m1"))[..4].concat());
    page.shows("one").await;

    // Another knows the chat's id, but not whose it is.
    assert_eq!(page.open(json!({ "id": "1", "as": "bob" })).await, 204);
    page.tell("stop", json!({})).await;
    assert_eq!(page.process.report("stopped").await["status"], 404);

    assert_eq!(page.open(json!({ "id": "1", "as": "alice" })).await, 200);
    page.shows("one").await;
    page.tell("stop", json!({})).await;
    let stopped = page.process.report("stopped").await;
    assert_eq!(stopped["status"], 204);
    assert_eq!(
        stopped["chat"], "ready",
        "a page that stopped sees no error"
    );
    backend.left().await;

    // It was not completed, for those who come later. (How much they are shown is
    // up to Chromium, which forgets text of which it learns together with the
    // reset.)
    assert_eq!(page.open(json!({ "id": "1", "as": "alice" })).await, 200);
    assert_eq!(page.end().await.0, "error");
    assert_eq!(backend.requests(), ["POST /api/chat"]);
    page.close().await;
}

/// A page with one chat.
struct Page {
    process: Process,
    /// How many states, and ends of requests, it had reported when it was last
    /// told something.
    before: (usize, usize),
    _profile: Scratch,
}

impl Page {
    async fn start(origin: &str) -> Self {
        let (mut process, profile) = chromium("use_chat.mjs", origin);
        process.report("ready").await;
        Self {
            process,
            before: (0, 0),
            _profile: profile,
        }
    }

    async fn tell(&mut self, command: &str, argument: Value) {
        self.process.tell(json!([command, argument])).await;
        self.before = self.count();
    }

    /// Loads the page, for the first time or again, and says how its request for
    /// the running answer was answered.
    async fn open(&mut self, query: Value) -> Value {
        self.tell("open", query).await;
        self.process.report("left").await;
        self.before = self.count();
        self.process.report("opened").await["attach"].clone()
    }

    async fn ask(&mut self) {
        self.tell("send", json!({ "text": "count" })).await;
    }

    /// Waits until the only answer that is shown is this text.
    async fn shows(&mut self, text: &str) {
        while self.answers() != [text] {
            self.process.report("state").await;
        }
    }

    /// How its request came to its end, and all answers that it then has.
    async fn end(&mut self) -> (String, Vec<String>) {
        loop {
            if let Some(end) = self.process.reports("end").get(self.before.1) {
                return (end["status"].as_str().unwrap().to_owned(), answers(end));
            }
            self.process.report("end").await;
        }
    }

    fn count(&self) -> (usize, usize) {
        let count = |event| self.process.reports(event).len();
        (count("state"), count("end"))
    }

    /// All answers that it shows.
    fn answers(&self) -> Vec<String> {
        let states = self.process.reports("state");
        states[self.before.0..]
            .last()
            .map(answers)
            .unwrap_or_default()
    }

    async fn close(self) {
        self.process.close().await;
    }
}

fn answers(report: &Value) -> Vec<String> {
    let answers = report["answers"].as_array().unwrap();
    let text = |answer: &Value| answer.as_str().unwrap().to_owned();
    answers.iter().map(text).collect()
}
