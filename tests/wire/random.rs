//! Random text that looks enough like an event stream to reach every branch.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use tower_sse::wire::{
    Boundary, Decoder, Frame, Trailer, encode_block, encode_comment, same_payload,
};

const TOKENS: &[&[u8]] = &[
    b"\n",
    b"\n",
    b"\n\n",
    b"\r",
    b"\r\n",
    b"\r\r",
    b":",
    b":",
    b" ",
    b"\0",
    b"data",
    b"data: x",
    b"event",
    b"id",
    b"id: ",
    b"id: 7",
    b"retry",
    b"retry: 5",
    b"12",
    b"x",
    b"\xEF",
    b"\xBB",
    b"\xBF",
    b"\xEF\xBB\xBF",
    b"\xFF",
    b"foo",
];

/// A piece of an event stream, or of something near it.
pub(crate) fn token() -> impl Strategy<Value = &'static [u8]> {
    proptest::sample::select(TOKENS)
}

fn fill(input: &mut Vec<u8>, random: &mut fastrand::Rng) {
    input.clear();
    for _ in 0..random.usize(..20) {
        input.extend_from_slice(TOKENS[random.usize(..TOKENS.len())]);
    }
}

fn write_again(out: &mut BytesMut, frame: &Frame, random: &mut fastrand::Rng) {
    out.clear();
    match frame {
        Frame::Comment(text) => encode_comment(out, text),
        Frame::Block(block) => {
            let trailer = Trailer {
                retry: random.bool().then_some(1),
                id: random.bool().then_some(b"s1.x.1"),
                strip_retry: random.bool(),
            };
            encode_block(out, block, trailer);
            assert!(same_payload(out, block));
        }
    }
}

/// A million inputs, each in two chunks: nothing panics, and what the cut must
/// not change stays as it is.
#[test]
fn a_million_inputs() {
    let mut random = fastrand::Rng::with_seed(0x55E);
    let mut input = Vec::new();
    let mut out = BytesMut::new();
    let mut frames = 0_u64;
    for _ in 0..1_000_000 {
        fill(&mut input, &mut random);
        let (head, tail) = input.split_at(random.usize(..=input.len()));

        let mut decoder = Decoder::new(random.usize(..256));
        let mut boundary = Boundary::default();
        for chunk in [head, tail] {
            boundary.feed(chunk);
            decoder.push(Bytes::copy_from_slice(chunk));
            while let Ok(Some(frame)) = decoder.next_frame() {
                write_again(&mut out, &frame, &mut random);
                frames += 1;
            }
        }
        if boundary.between_blocks() && decoder.next_frame().is_ok() {
            assert!(decoder.is_between_blocks(), "{input:?}");
        }
    }
    assert!(frames > 500_000, "only {frames} frames: poor inputs");
}
