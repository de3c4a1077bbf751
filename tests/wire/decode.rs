use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use tower_sse::wire::{Decoder, EventTooLarge, Frame, IdField};

use crate::random::token;
use crate::reference::{self, Decoded};
use crate::seeds::SEEDS;

const NO_LIMIT: usize = usize::MAX / 2;

/// Pushes chunk by chunk and drains in between, as callers do.
pub(crate) fn decode_chunks<'a>(
    chunks: impl IntoIterator<Item = &'a [u8]>,
    limit: usize,
) -> Decoded {
    let mut decoder = Decoder::new(limit);
    let mut out = Decoded::default();
    for chunk in chunks {
        decoder.push(Bytes::copy_from_slice(chunk));
        drain(&mut decoder, &mut out);
    }
    out.between_blocks = decoder.is_between_blocks();
    out
}

fn drain(decoder: &mut Decoder, out: &mut Decoded) {
    loop {
        match decoder.next_frame() {
            Ok(Some(frame)) => out.frames.push(frame),
            Ok(None) => return,
            Err(error) => {
                out.error = Some(error);
                return;
            }
        }
    }
}

fn cut(input: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (input.len() + 1)).collect();
    cuts.sort_unstable();
    cuts.push(input.len());
    let mut start = 0;
    cuts.iter()
        .map(|&end| input[std::mem::replace(&mut start, end)..end].to_vec())
        .collect()
}

fn first_block(input: &'static [u8]) -> tower_sse::wire::Block {
    match decode_chunks([input], NO_LIMIT).frames.remove(0) {
        Frame::Block(block) => block,
        Frame::Comment(text) => panic!("a comment: {text:?}"),
    }
}

#[test]
fn reference_dispatches_what_the_seeds_say() {
    for seed in SEEDS {
        let found = reference::dispatch(seed.input);
        let found: Vec<_> = found
            .iter()
            .map(|event| (&event.kind[..], &event.data[..], &event.last_id[..]))
            .collect();
        let expected: Vec<_> = seed
            .events
            .iter()
            .map(|(kind, data, id)| (kind.as_bytes(), data.as_bytes(), id.as_bytes()))
            .collect();
        assert_eq!(found, expected, "{}", seed.name);
    }
}

#[test]
fn blocks_dispatch_what_the_seeds_say() {
    for seed in SEEDS {
        let mut again = Vec::from(*b":\n");
        for frame in decode_chunks([seed.input], NO_LIMIT).frames {
            if let Frame::Block(block) = frame {
                again.extend_from_slice(&block.lines);
                again.push(b'\n');
            }
        }
        let expected = reference::dispatch(seed.input);
        assert_eq!(reference::dispatch(&again), expected, "{}", seed.name);
    }
}

#[test]
fn every_two_way_split() {
    for seed in SEEDS {
        let expected = reference::decode(seed.input, NO_LIMIT);
        for at in 0..=seed.input.len() {
            let (head, tail) = seed.input.split_at(at);
            let found = decode_chunks([head, tail], NO_LIMIT);
            assert_eq!(found, expected, "{} at {at}", seed.name);
        }
    }
}

#[test]
fn every_three_way_split_of_short_seeds() {
    for seed in SEEDS.iter().filter(|seed| seed.input.len() <= 48) {
        let expected = reference::decode(seed.input, NO_LIMIT);
        for first in 0..=seed.input.len() {
            for second in first..=seed.input.len() {
                let input = seed.input;
                let chunks = [&input[..first], &input[first..second], &input[second..]];
                let found = decode_chunks(chunks, NO_LIMIT);
                assert_eq!(found, expected, "{} at {first}, {second}", seed.name);
            }
        }
    }
}

#[test]
fn byte_by_byte() {
    for seed in SEEDS {
        let expected = reference::decode(seed.input, NO_LIMIT);
        let bytes = seed.input.chunks(1);
        assert_eq!(decode_chunks(bytes, NO_LIMIT), expected, "{}", seed.name);

        let with_empty_chunks = seed.input.chunks(1).flat_map(|byte| [byte, &[]]);
        let found = decode_chunks(with_empty_chunks, NO_LIMIT);
        assert_eq!(found, expected, "{}, empty chunks", seed.name);
    }
}

#[test]
fn chunks_may_queue() {
    for seed in SEEDS {
        let expected = reference::decode(seed.input, NO_LIMIT);
        let mut decoder = Decoder::new(NO_LIMIT);
        let mut found = Decoded::default();
        for chunk in seed.input.chunks(2) {
            decoder.push(Bytes::copy_from_slice(chunk));
        }
        drain(&mut decoder, &mut found);
        found.between_blocks = decoder.is_between_blocks();
        assert_eq!(found, expected, "{}", seed.name);
    }
}

#[test]
fn every_prefix_knows_whether_it_is_between_blocks() {
    for seed in SEEDS {
        for end in 0..=seed.input.len() {
            let prefix = &seed.input[..end];
            let expected = reference::decode(prefix, NO_LIMIT);
            let found = decode_chunks([prefix], NO_LIMIT);
            assert_eq!(found, expected, "{} up to {end}", seed.name);
        }
    }
}

#[test]
fn every_limit_under_every_split() {
    for seed in SEEDS {
        for limit in 0..=seed.input.len().min(40) {
            let expected = reference::decode(seed.input, limit);
            for at in 0..=seed.input.len() {
                let (head, tail) = seed.input.split_at(at);
                let found = decode_chunks([head, tail], limit);
                assert_eq!(found, expected, "{}, {limit}, at {at}", seed.name);
            }
            let found = decode_chunks(seed.input.chunks(1), limit);
            assert_eq!(found, expected, "{}, {limit}, bytes", seed.name);
        }
    }
}

#[test]
fn a_block_may_be_as_large_as_the_limit() {
    let input = b"data: 1\r\n: a long comment\r\nid: 2\r\n\r\n";
    let size = b"data: 1\nid: 2\n".len();
    let fits = decode_chunks([&input[..]], size.max(15));
    assert_eq!((fits.frames.len(), fits.error), (2, None));
    let exceeds = decode_chunks([&b"data: 1\nid: 2\n"[..]], size - 1);
    let error = Some(EventTooLarge { limit: size - 1 });
    assert_eq!((exceeds.frames.len(), exceeds.error), (0, error));
}

#[test]
fn a_line_without_end_is_caught() {
    for first in [&b"data: "[..], b":"] {
        let limit = 10_000;
        let mut decoder = Decoder::new(limit);
        decoder.push(Bytes::copy_from_slice(first));
        let mut pushed = 0;
        while decoder.next_frame() == Ok(None) {
            assert!(pushed <= limit, "still going after {pushed} bytes");
            decoder.push(Bytes::from_static(&[b'x'; 100]));
            pushed += 100;
        }
        assert!(pushed >= limit - 100, "failed after {pushed} bytes");
    }
}

#[test]
fn an_error_is_final() {
    let error = Err(EventTooLarge { limit: 9 });
    let mut decoder = Decoder::new(9);
    decoder.push(Bytes::from_static(b"data: x\n\ndata: long\n\ndata: y\n\n"));
    assert!(matches!(decoder.next_frame(), Ok(Some(Frame::Block(_)))));
    assert_eq!(decoder.next_frame(), error);
    let late = Bytes::from(b"\n\ndata: z\n\n".to_vec());
    decoder.push(late.clone());
    assert!(late.is_unique(), "kept, though it will never be read");
    assert_eq!(decoder.next_frame(), error);
    assert!(!decoder.is_between_blocks());

    let message = EventTooLarge { limit: 9 }.to_string();
    assert!(message.contains("9 bytes") && message.contains("max_event_bytes"));
}

#[test]
fn a_cr_ends_the_line_at_once() {
    let mut decoder = Decoder::new(NO_LIMIT);
    decoder.push(Bytes::from_static(b"data: x\r\n\r"));
    assert!(matches!(decoder.next_frame(), Ok(Some(Frame::Block(_)))));
    decoder.push(Bytes::from_static(b"\n:c\r"));
    let comment = Frame::Comment(Bytes::from_static(b"c"));
    assert_eq!(decoder.next_frame(), Ok(Some(comment)));
}

#[test]
fn lines_in_one_chunk_are_not_copied() {
    let chunk = Bytes::from_static(b":c\nevent: e\ndata: x\nid: 1\n\n");
    let mut decoder = Decoder::new(NO_LIMIT);
    decoder.push(chunk.clone());
    let mut out = Decoded::default();
    drain(&mut decoder, &mut out);
    let [Frame::Comment(comment), Frame::Block(block)] = &out.frames[..] else {
        panic!("{out:?}");
    };
    let IdField::Set(id) = &block.id else {
        panic!("{block:?}");
    };
    for part in [comment, &block.lines, id] {
        assert!(chunk.as_ptr_range().contains(&part.as_ptr()), "{part:?}");
    }
}

/// An unfinished block must not keep a large chunk alive.
#[test]
fn a_chunk_is_let_go_when_read() {
    let chunk = Bytes::from(b"data: x\n\ndata: y\nda".to_vec());
    let mut decoder = Decoder::new(NO_LIMIT);
    decoder.push(chunk.clone());
    drain(&mut decoder, &mut Decoded::default());
    assert!(chunk.is_unique());
}

#[test]
fn fields_as_spelled_out() {
    let block = first_block(b"id: 1\nretry: 7\nid: a\0\nretry: x\nfoo\n\n");
    assert_eq!(block.lines, "id: 1\nretry: 7\nid: a\0\nretry: x\nfoo\n");
    assert!(!block.has_data && !block.has_event && !block.has_payload());
    assert_eq!(block.id, IdField::Set(Bytes::from_static(b"1")));
    assert_eq!(block.retry, Some(7));

    let block = first_block(b"event\rid\r\nretry: 99999999999999999999\n\n");
    assert_eq!(block.lines, "event\nid\nretry: 99999999999999999999\n");
    assert!(!block.has_data && block.has_event && block.has_payload());
    assert_eq!(block.id, IdField::Reset);
    assert_eq!(block.retry, Some(u64::MAX));

    let block = first_block(b"data\n\n");
    assert!(block.has_data && !block.has_event && block.has_payload());
    assert_eq!((block.id, block.retry), (IdField::Absent, None));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_input_in_any_chunks(
        tokens in vec(token(), 0..60),
        cuts in vec(any::<usize>(), 0..12),
        limit in prop_oneof![Just(NO_LIMIT), 0..60_usize],
    ) {
        let input = tokens.concat();
        let chunks = cut(&input, &cuts);
        let found = decode_chunks(chunks.iter().map(Vec::as_slice), limit);
        prop_assert_eq!(found, reference::decode(&input, limit));
    }
}
