//! One request, from its head to the last byte of its answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use http::{Method, Request, Response, Version};
use http_body::Body;

use super::line::{Line, Outcome, now};
use super::{Register, RouteTaken};
use crate::proxy::forward::Peer;
use crate::resume::{Tally, is_event_stream};

const SSE_RESUME: &str = "sse-resume";

/// Says what came of a request when it is dropped.
#[derive(Debug)]
pub(crate) struct Entry {
    register: Arc<Register>,
    begun: Instant,
    client: Option<SocketAddr>,
    method: Method,
    path: Box<str>,
    protocol: &'static str,
    id: Option<Box<str>>,
    route: RouteTaken,
    tally: Arc<Tally>,
    answer: Option<Answer>,
}

/// What is known when the answer's head is there.
#[derive(Debug)]
struct Answer {
    status: u16,
    resume: Option<Box<str>>,
    stream: bool,
    /// So many bytes, if that is known.
    length: Option<u64>,
    bytes: u64,
    ended: Option<&'static str>,
}

impl Entry {
    /// Begins, and has the others who handle the request add what they know.
    pub(super) fn begin<B>(
        register: Arc<Register>,
        request: &mut Request<B>,
        id: Option<&str>,
    ) -> Self {
        let entry = Self {
            register,
            begun: Instant::now(),
            client: request.extensions().get::<Peer>().map(|peer| peer.addr),
            method: request.method().clone(),
            path: request.uri().path().into(),
            protocol: protocol(request.version()),
            id: id.map(Into::into),
            route: RouteTaken::default(),
            tally: Arc::default(),
            answer: None,
        };
        let extensions = request.extensions_mut();
        extensions.insert(entry.route.clone());
        extensions.insert(Arc::clone(&entry.tally));
        entry
    }

    /// The head is there.
    pub(super) fn answered<B: Body>(&mut self, response: &Response<B>) {
        let body = response.body();
        let resume = response.headers().get(SSE_RESUME);
        let bodiless = self.method == Method::HEAD || body.is_end_stream();
        self.answer = Some(Answer {
            status: response.status().as_u16(),
            resume: resume.and_then(|v| v.to_str().ok()).map(Into::into),
            stream: is_event_stream(response.status(), response.headers()) && !bodiless,
            length: body.size_hint().exact(),
            bytes: 0,
            ended: bodiless.then_some("complete"),
        });
        if self.answer.as_ref().is_some_and(|answer| answer.stream) {
            self.write("start", None);
        }
    }

    /// So many bytes of the body are on their way.
    pub(super) fn passed(&mut self, bytes: usize) {
        if let Some(answer) = &mut self.answer {
            answer.bytes += bytes as u64;
            // Servers do not ask for more than was announced.
            if answer.length == Some(answer.bytes) {
                answer.ended = Some("complete");
            }
        }
    }

    /// The body is over: in order, or cut.
    pub(super) fn ended(&mut self, complete: bool) {
        let otherwise = if complete { "complete" } else { "broken" };
        if let Some(answer) = &mut self.answer {
            answer.ended = Some(self.tally.end().unwrap_or(otherwise));
        }
    }

    /// Whose request it is: the port as well, where that is who connected.
    fn client(&self) -> Option<String> {
        let connected = self.client?;
        let behind = self.route.client();
        let behind = behind.filter(|client| *client != connected.ip().to_canonical());
        Some(behind.map_or_else(|| connected.to_string(), |client| client.to_string()))
    }

    fn write(&self, event: &'static str, outcome: Option<Outcome>) {
        let Some(sink) = self.register.sink.load_full() else {
            return;
        };
        let (answer, client) = (self.answer.as_ref(), self.client());
        let line = Line {
            time: now(),
            event,
            id: self.id.as_deref(),
            client: client.as_deref(),
            method: self.method.as_str(),
            path: &self.path,
            protocol: self.protocol,
            route: self.route.path(),
            status: answer.map(|answer| answer.status),
            resume: answer.and_then(|answer| answer.resume.as_deref()),
            outcome,
        };
        sink.write(line.format(sink.format()));
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let answer = self.answer.as_ref();
        let stream = answer.is_some_and(|answer| answer.stream);
        let count = |count: u64| stream.then_some(count);
        let outcome = Outcome {
            events: count(self.tally.events()),
            gaps: count(self.tally.gaps()),
            bytes: answer.map_or(0, |answer| answer.bytes),
            duration: self.begun.elapsed().as_secs_f64(),
            reason: answer.and_then(|a| a.ended).unwrap_or("client gone"),
        };
        self.write(if stream { "end" } else { "request" }, Some(outcome));
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}
