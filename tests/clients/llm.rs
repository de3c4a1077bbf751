//! What has to hold for every client of a language model, asked of each in its
//! own file.
//!
//! The script of a client is given a URL, options, and cases. It asks once per
//! case, with the case's path below the URL, `key` as `Idempotency-Key`, and the
//! credential `as`; and reports the text of the answer and the error, if any.

use serde_json::{Value, json};

use crate::harness::{Canned, End, Plan, Process, Proxy, Relay, Scripted};
use crate::transcripts::{ANSWER, offsets};

/// A client and the protocol it speaks.
#[derive(Clone, Copy)]
pub(crate) struct Sdk {
    pub(crate) run: fn(script: &str, arguments: &[&str]) -> Process,
    pub(crate) script: &'static str,
    pub(crate) profile: &'static str,
    /// Of the ways to ask that its script knows.
    pub(crate) api: &'static str,
    pub(crate) events: fn() -> Vec<String>,
}

/// What came of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) error: Option<String>,
}

impl Answer {
    fn is_whole(&self) -> bool {
        self.error.is_none() && self.text == ANSWER
    }
}

impl Sdk {
    pub(crate) fn start(&self, url: &str, options: &Value, cases: &[Value]) -> Process {
        let mut options = options.clone();
        options["api"] = self.api.into();
        let mut arguments = vec![url.to_owned(), options.to_string()];
        arguments.extend(cases.iter().map(Value::to_string));
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        (self.run)(self.script, &arguments)
    }

    /// Asks for all of them, one after the other.
    pub(crate) async fn ask(&self, url: &str, retries: usize, cases: &[Value]) -> Vec<Answer> {
        let mut client = self.start(url, &json!({ "retries": retries }), cases);
        let mut answers = Vec::new();
        for case in cases {
            let answer = answer(&mut client).await;
            assert_eq!(answer.0, case["path"]);
            answers.push(answer.1);
        }
        answers
    }

    /// A proxy with the protocol's profile, and more settings if need be.
    pub(crate) async fn proxy(&self, upstream: &str, more: &str) -> Proxy {
        let sse = format!("profile: {}, {more}", self.profile);
        Proxy::start(upstream, sse.trim_end_matches(", ")).await
    }
}

/// The next case's path and answer.
pub(crate) async fn answer(client: &mut Process) -> (Value, Answer) {
    let report = client.report("answer").await;
    let answer = Answer {
        text: report["text"].as_str().unwrap().to_owned(),
        error: report["error"].as_str().map(str::to_owned),
    };
    (report["path"].clone(), answer)
}

/// A heartbeat before each event, and one before the end.
pub(crate) async fn runs_clean_through_heartbeats(sdk: Sdk) {
    let backend = Scripted::start().await;
    let proxy = sdk.proxy(backend.url(), "heartbeat: 100ms").await;
    let relay = Relay::to(proxy.url()).await;
    let case = json!({ "path": "v1" });
    let mut client = sdk.start(relay.url(), &json!({ "retries": 0 }), &[case]);
    backend.requested(1).await;
    let events = (sdk.events)();
    let (last, others) = events.split_last().unwrap();
    for event in others {
        relay.heartbeats(1).await;
        backend.send(event);
    }
    relay.heartbeats(1).await;
    backend.send(last);
    backend.finish();
    let (_, answer) = answer(&mut client).await;
    assert!(answer.is_whole(), "{answer:?}");
    assert_eq!(backend.requests().len(), 1);
    // Or nothing was put to the test.
    let sent = relay.sent_to_clients();
    assert_eq!(sent.matches("id: s1.").count(), events.len(), "{sent}");
}

/// Cut or ended too early, at any event and within any: an error. After the last
/// event: none. Executed once in any case.
pub(crate) async fn an_upstream_cut_anywhere_is_an_error(sdk: Sdk) {
    let text = (sdk.events)().concat();
    let mut cases = Vec::new();
    for offset in offsets(&(sdk.events)()) {
        cases.extend([(offset, End::Clean), (offset, End::Cut)]);
    }
    let plans = cases.clone();
    let all = text.clone();
    let upstream = Canned::start(move |asked, _| match number(&asked.path) {
        None => Plan::Refuse,
        Some(case) => {
            let (offset, end) = plans[case];
            Plan::Answer(all[..offset].to_owned(), end)
        }
    })
    .await;
    let proxy = sdk.proxy(upstream.url(), "").await;
    let mut paths = vec!["refused".to_owned()];
    paths.extend((0..cases.len()).map(|case| format!("case-{case}")));
    let asked: Vec<_> = paths.iter().map(|path| json!({ "path": path })).collect();
    let mut answers = sdk.ask(proxy.url(), 0, &asked).await;
    let refused = answers.remove(0);
    assert!(refused.error.is_some(), "{refused:?}");
    for ((offset, end), answer) in cases.iter().zip(&answers) {
        let case = format!("{offset} of {} bytes, {end:?}: {answer:?}", text.len());
        if *offset == text.len() {
            assert!(answer.is_whole(), "{case}");
        } else {
            assert!(answer.error.is_some(), "{case}");
            assert!(ANSWER.starts_with(&answer.text), "{case}");
        }
    }
    assert_eq!(upstream.asked().len(), paths.len(), "each executed once");
}

/// What the client makes, without the proxy, of an answer of which the first
/// half of the events came, and whose connection then ended in order.
pub(crate) async fn without_the_proxy_an_early_end(sdk: Sdk) -> Answer {
    let events = (sdk.events)();
    let half = events[..events.len() / 2].concat();
    let upstream = Canned::start(move |_, _| Plan::Answer(half.clone(), End::Clean)).await;
    let mut answers = sdk.ask(upstream.url(), 0, &[json!({ "path": "v1" })]).await;
    answers.remove(0)
}

/// The client's connection is reset in the head of the answer, after every event
/// and within each. Whatever the client does then: it has the whole answer or an
/// error, and the model ran once. Says for how many it had the whole answer.
///
/// The requests have an `Idempotency-Key`, and the route knows them by it.
pub(crate) async fn a_client_cut_anywhere(sdk: Sdk, retries: usize) -> (usize, usize) {
    let text = (sdk.events)().concat();
    let upstream = Canned::start(move |_, _| Plan::Answer(text.clone(), End::Clean)).await;
    let proxy = sdk.proxy(upstream.url(), BY_KEY).await;
    let relay = Relay::to(proxy.url()).await;
    let case = |path: &str| json!({ "path": path, "key": path });
    let whole = sdk.ask(relay.url(), retries, &[case("whole")]).await;
    assert!(whole[0].is_whole(), "{whole:?}");
    let cuts = cuts(&relay.sent_to_clients());
    let cases: Vec<_> = cuts.iter().map(|cut| case(&format!("cut-{cut}"))).collect();
    let answers = sdk.ask(relay.url(), retries, &cases).await;
    for (case, answer) in cases.iter().zip(&answers) {
        let case = format!("{case}: {answer:?}");
        assert!(answer.is_whole() || answer.error.is_some(), "{case}");
        assert!(ANSWER.starts_with(&answer.text), "{case}");
    }
    assert_eq!(
        upstream.asked().len(),
        1 + cases.len(),
        "each executed once"
    );
    let whole = answers.iter().filter(|answer| answer.is_whole()).count();
    (whole, cases.len())
}

/// Where to cut an answer like this one: at its beginning, in its head, after
/// it, after each line of its body and in the middle of each.
fn cuts(answer: &str) -> Vec<usize> {
    let head = answer.find("\r\n\r\n").unwrap() + 4;
    let mut cuts = vec![0, head / 2, head];
    let mut end = head;
    for line in answer[head..].split_inclusive('\n') {
        cuts.extend([end + line.len() / 2, end + line.len()]);
        end += line.len();
    }
    cuts.dedup();
    cuts
}

/// Where the application names its requests.
pub(crate) const BY_KEY: &str = "key: { headers: [idempotency-key] }";

/// The same name and the same request, from somebody else: an answer of its own.
pub(crate) async fn others_get_an_answer_of_their_own(sdk: Sdk) {
    let whole = (sdk.events)().concat();
    // Each answer says which of the requests it is for.
    let upstream = Canned::start(move |_, before| {
        let text = whole.replace("one", &format!("secret {before}"));
        Plan::Answer(text, End::Clean)
    })
    .await;
    let proxy = sdk.proxy(upstream.url(), BY_KEY).await;
    let case = |who: &str| json!({ "path": "v1", "key": "same", "as": who });
    let cases = [case("alice"), case("alice"), case("bob"), case("alice")];
    let answers = sdk.ask(proxy.url(), 0, &cases).await;
    let texts: Vec<_> = answers.iter().map(|answer| answer.text.as_str()).collect();
    let (a, b) = ("secret 0 two three", "secret 1 two three");
    assert_eq!(texts, [a, a, b, a]);
    assert_eq!(upstream.asked().len(), 2);
}

fn number(path: &str) -> Option<usize> {
    let (_, rest) = path.split_once("case-")?;
    rest.split('/').next()?.parse().ok()
}
