//! The request body an inner service is given.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The client's body, or none when the layer asks the service again.
    ///
    /// Bodies such as `hyper::body::Incoming` cannot be cloned, so a service
    /// that is to be called twice must be ready for a request without one. Only
    /// GET requests are ever repeated so.
    #[derive(Debug)]
    pub struct RequestBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = KindProjection]
    enum Kind<B> {
        Original { #[pin] body: B },
        // What was read of it already, to be read again.
        Read { read: Bytes, rest: Rest<B> },
        Empty,
    }
}

/// What follows the bytes that were read.
#[derive(Debug)]
enum Rest<B> {
    Body(Pin<Box<B>>),
    /// A frame of another kind, such as trailers, then the body.
    Frame(Option<Frame<Bytes>>, Pin<Box<B>>),
    /// Nothing: it was read to its end.
    Nothing,
}

impl<B> RequestBody<B> {
    /// The client's own body.
    pub fn original(body: B) -> Self {
        Self {
            kind: Kind::Original { body },
        }
    }

    /// No body.
    pub fn empty() -> Self {
        Self { kind: Kind::Empty }
    }

    /// The same again, if all of it was read.
    pub(super) fn again(&self) -> Option<Self> {
        let read = match &self.kind {
            Kind::Read {
                read,
                rest: Rest::Nothing,
            } => read.clone(),
            Kind::Empty => return Some(Self::empty()),
            _ => return None,
        };
        let rest = Rest::Nothing;
        Some(Self {
            kind: Kind::Read { read, rest },
        })
    }

    /// What was read of it.
    pub(super) fn prefix(&self) -> &[u8] {
        match &self.kind {
            Kind::Read { read, .. } => read,
            _ => &[],
        }
    }
}

impl<B> RequestBody<B>
where
    B: Body<Data = Bytes>,
{
    /// Reads up to so many bytes, or a little more, which the service reads
    /// again.
    pub(super) async fn read(self, max: usize) -> Result<Self, B::Error> {
        let Kind::Original { body } = self.kind else {
            return Ok(self);
        };
        let mut body = Box::pin(body);
        let mut read = BytesMut::new();
        let rest = loop {
            if body.is_end_stream() {
                break Rest::Nothing;
            }
            if read.len() >= max {
                break Rest::Body(body);
            }
            match poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
                None => break Rest::Nothing,
                Some(Err(error)) => return Err(error),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => read.extend_from_slice(&data),
                    Err(other) => break Rest::Frame(Some(other), body),
                },
            }
        };
        let read = read.freeze();
        Ok(Self {
            kind: Kind::Read { read, rest },
        })
    }
}

impl<B: Body<Data = Bytes>> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProjection::Original { body } => body.poll_frame(cx),
            KindProjection::Read { read, .. } if !read.is_empty() => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(read)))))
            }
            KindProjection::Read { rest, .. } => match rest {
                Rest::Body(body) => body.as_mut().poll_frame(cx),
                Rest::Frame(frame, body) => match frame.take() {
                    Some(frame) => Poll::Ready(Some(Ok(frame))),
                    None => body.as_mut().poll_frame(cx),
                },
                Rest::Nothing => Poll::Ready(None),
            },
            KindProjection::Empty => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Original { body } => body.is_end_stream(),
            Kind::Read { read, rest } => {
                read.is_empty()
                    && match rest {
                        Rest::Body(body) | Rest::Frame(None, body) => body.is_end_stream(),
                        Rest::Frame(Some(_), _) => false,
                        Rest::Nothing => true,
                    }
            }
            Kind::Empty => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        let (read, mut hint) = match &self.kind {
            Kind::Original { body } => return body.size_hint(),
            Kind::Empty => return SizeHint::with_exact(0),
            Kind::Read { read, rest } => match rest {
                Rest::Body(body) | Rest::Frame(_, body) => (read.len(), body.size_hint()),
                Rest::Nothing => (read.len(), SizeHint::with_exact(0)),
            },
        };
        let read = u64::try_from(read).unwrap_or(u64::MAX);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(read));
        }
        hint.set_lower(hint.lower().saturating_add(read));
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http::HeaderMap;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    /// Four frames of data, then trailers.
    fn body() -> impl Body<Data = Bytes, Error = Infallible> {
        let mut trailers = HeaderMap::new();
        trailers.insert("x", "y".parse().unwrap());
        let data = ["ab", "", "cde", "f"].map(|text| Frame::data(Bytes::from(text)));
        let frames = data.into_iter().chain([Frame::trailers(trailers)]);
        StreamBody::new(stream::iter(frames.map(Ok)))
    }

    #[tokio::test]
    async fn what_was_read_is_read_again() {
        for max in 0..9 {
            let read = RequestBody::original(body()).read(max).await.unwrap();
            let prefix = read.prefix().to_vec();
            assert!(prefix.len() >= max.min(6), "{max}: {prefix:?}");
            assert!("abcdef".as_bytes().starts_with(&prefix));
            // Its trailers could not be sent again.
            assert!(read.again().is_none());
            assert!(read.size_hint().lower() >= prefix.len() as u64);
            let all = read.collect().await.unwrap();
            assert_eq!(all.trailers().unwrap()["x"], "y");
            assert_eq!(all.to_bytes(), "abcdef");
        }
    }

    #[tokio::test]
    async fn what_was_read_to_its_end_can_be_had_twice() {
        let full = http_body_util::Full::new(Bytes::from("abc"));
        let read = RequestBody::original(full).read(9).await.unwrap();
        assert_eq!(read.size_hint().exact(), Some(3));
        for _ in 0..2 {
            let again = read.again().unwrap();
            assert_eq!(again.collect().await.unwrap().to_bytes(), "abc");
        }
        let empty = RequestBody::<http_body_util::Full<Bytes>>::empty();
        assert!(empty.again().unwrap().is_end_stream());
    }
}
