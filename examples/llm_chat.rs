//! A chat whose answers outlive the page: close the tab in the middle of one,
//! open it again, and the answer is there.
//!
//! ```sh
//! cargo run --example llm_chat      # then open http://127.0.0.1:3000
//! ```
//!
//! The handler streams words and knows of nothing else; what comes back to an
//! answer, or stops it, is answered by the layer.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::Json;
use axum::response::Html;
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post};
use axum::{Router, http::StatusCode};
use futures_util::stream::{self, Stream, StreamExt};
use serde_json::Value;
use tower_sse::SseLayer;
use tower_sse::resume::settings::{NAME_WITHIN, NameSource};
use tower_sse::stream::policy::{Linger, Marker};

/// The time a word takes.
const PACE: Duration = Duration::from_millis(250);

pub(crate) const WORDS: &str = "This is the answer of a model that takes its time. Close this tab now, and \
    open the page again: what was said meanwhile is there, and the rest follows. The model was \
    asked once. Or press Stop: then it stops at once, and nobody pays for words that nobody reads.";

/// Takes `{ "id": …, "question": … }`, streams one JSON string per word, then
/// `[DONE]`.
fn chat(
    pace: Duration,
    question: &Value,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>, StatusCode> {
    let question = question["question"]
        .as_str()
        .ok_or(StatusCode::BAD_REQUEST)?;
    println!("the model is asked: {question}");
    let words = WORDS
        .split_whitespace()
        .map(|word| Value::from(word).to_string());
    let events = words.chain(["[DONE]".to_owned()]);
    Ok(Sse::new(stream::iter(events).then(
        move |data| async move {
            tokio::time::sleep(pace).await;
            Ok(Event::default().data(data))
        },
    )))
}

fn layer() -> SseLayer {
    SseLayer::new()
        // Where a request names its chat, and where that is asked for: GET for
        // the running answer, DELETE to stop it.
        .key_name(NameSource::Json {
            pointer: "/id".into(),
            max: NAME_WITHIN,
        })
        .attach("/chat/{key}/stream")
        // What was begun is wanted, even if nobody is reading just now.
        .linger(Linger::Complete)
        .max_runtime(Duration::from_secs(120))
        // An answer that ends without this was cut, and must not look whole.
        .finish(Marker::Data("[DONE]".into()))
    // Here whoever knows a chat's random id may read it. Where users log in, say
    // by what they are known, and a chat is its user's alone:
    // .principal([Credential::Cookie("session".into())])
}

pub(crate) fn app(pace: Duration) -> Router {
    let chat = move |Json(question): Json<Value>| async move { chat(pace, &question) };
    Router::new()
        .route("/", get(|| async { Html(PAGE) }))
        .route("/chat", post(chat))
        // Around the whole router: the routes of the chats are the layer's own.
        .layer(layer())
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("open http://{}", listener.local_addr()?);
    axum::serve(listener, app(PACE)).await
}

/// The page keeps the chat's id and the question, and no answer.
const PAGE: &str = r#"<!doctype html>
<meta charset="utf-8">
<title>Chat</title>
<style>
  body { font: 1.1rem/1.5 system-ui; max-width: 40rem; margin: 3rem auto; padding: 0 1rem }
  form { display: flex; gap: .5rem } input { flex: 1 } input, button { font: inherit; padding: .4rem }
  #answer { min-height: 8rem } #state { color: gray }
</style>
<h1 id="question">Ask something</h1>
<p id="answer"></p>
<p id="state"></p>
<form><input required placeholder="Why is the sky blue?"><button>Ask</button>
<button type="button" id="stop">Stop</button></form>
<script>
  const $ = (selector) => document.querySelector(selector);
  const say = (state) => { $('#state').textContent = state };
  let chat = JSON.parse(localStorage.getItem('chat'));

  // Shows an answer as it comes. A clean end comes after [DONE] only.
  async function show(response) {
    $('#question').textContent = chat.question;
    $('#answer').textContent = '';
    say('answering');
    try {
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = '';
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return say('done');
        const lines = (text + value).split('\n');
        text = lines.pop();
        for (const line of lines) {
          if (!line.startsWith('data: ') || line === 'data: [DONE]') continue;
          $('#answer').append(JSON.parse(line.slice(6)), ' ');
        }
      }
    } catch {
      say('broken off: stopped, or the connection was lost');
    }
  }

  // A page that comes back has nothing but the chat's id.
  async function attach() {
    const response = await fetch(`/chat/${chat.id}/stream`);
    if (response.status === 200) await show(response);
  }

  $('form').onsubmit = async (event) => {
    event.preventDefault();
    chat = { id: crypto.randomUUID(), question: $('input').value };
    localStorage.setItem('chat', JSON.stringify(chat));
    const body = JSON.stringify(chat);
    const headers = { 'Content-Type': 'application/json' };
    await show(await fetch('/chat', { method: 'POST', headers, body }));
  };
  $('#stop').onclick = () => chat && fetch(`/chat/${chat.id}/stream`, { method: 'DELETE' });
  if (chat) attach();
</script>
"#;
