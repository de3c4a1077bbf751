use bytes::{Bytes, BytesMut};
use tower_sse::wire::{
    Block, Frame, HEARTBEAT, IdField, Trailer, encode_block, encode_comment, encode_event,
    encode_retry, same_payload,
};

use crate::decode::decode_chunks;
use crate::reference::{self, split_field, split_lines};
use crate::seeds::SEEDS;

const TRAILERS: &[Trailer<'static>] = &[
    Trailer {
        retry: None,
        id: None,
        strip_retry: false,
    },
    Trailer {
        retry: None,
        id: None,
        strip_retry: true,
    },
    Trailer {
        retry: None,
        id: Some(b"s1.e.1"),
        strip_retry: false,
    },
    Trailer {
        retry: Some(2500),
        id: Some(b"s1.e.1"),
        strip_retry: true,
    },
    Trailer {
        retry: Some(0),
        id: None,
        strip_retry: false,
    },
    Trailer {
        retry: Some(u64::MAX),
        id: Some(b""),
        strip_retry: false,
    },
    Trailer {
        retry: None,
        id: Some(b" \xE9: "),
        strip_retry: true,
    },
];

fn seed_blocks() -> Vec<(&'static str, Block)> {
    let frames = |seed: &crate::seeds::Seed| decode_chunks([seed.input], usize::MAX / 2).frames;
    SEEDS
        .iter()
        .flat_map(|seed| frames(seed).into_iter().map(|frame| (seed.name, frame)))
        .filter_map(|(name, frame)| match frame {
            Frame::Block(block) => Some((name, block)),
            Frame::Comment(_) => None,
        })
        .collect()
}

fn block(lines: &'static [u8]) -> Block {
    let input = [lines, b"\n"].concat();
    match decode_chunks([&input[..]], 1000).frames.pop() {
        Some(Frame::Block(block)) => block,
        other => panic!("{other:?}"),
    }
}

fn encoded(block: &Block, trailer: Trailer<'_>) -> BytesMut {
    let mut out = BytesMut::from("before");
    encode_block(&mut out, block, trailer);
    assert_eq!(out.split_to(6), "before");
    out
}

fn lines_without(lines: &[u8], names: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut lines = split_lines(lines).0;
    lines.retain(|line| !names.contains(&split_field(line).0));
    lines
}

/// Each block with each trailer, line by line.
#[test]
fn own_lines_then_retry_then_id_then_a_blank_line() {
    for (name, block) in seed_blocks() {
        for trailer in TRAILERS {
            let dropped: &[&[u8]] = if trailer.strip_retry {
                &[b"id", b"retry"]
            } else {
                &[b"id"]
            };
            let mut expected = lines_without(&block.lines, dropped);
            if let Some(millis) = trailer.retry {
                expected.push(format!("retry: {millis}").into_bytes());
            }
            match trailer.id {
                None => {}
                Some(b"") => expected.push(b"id:".to_vec()),
                Some(id) => expected.push([b"id: ", id].concat()),
            }
            if !expected.is_empty() {
                expected.push(Vec::new());
            }
            let out = encoded(&block, *trailer);
            assert!(!out.contains(&b'\r'), "{name} {trailer:?}");
            let found = split_lines(&out);
            assert_eq!(found, (expected, Vec::new()), "{name} {trailer:?}");
        }
    }
}

/// What was written reads as one block that says the same.
#[test]
fn written_and_read_again() {
    for (name, block) in seed_blocks() {
        for trailer in TRAILERS {
            let mut out = BytesMut::from(HEARTBEAT);
            encode_block(&mut out, &block, *trailer);
            let read = decode_chunks([&out[..]], usize::MAX / 2);
            assert!(read.between_blocks && read.error.is_none());
            let again = match &read.frames[1..] {
                [] => {
                    assert_eq!(out, HEARTBEAT);
                    assert!(!block.has_payload());
                    continue;
                }
                [Frame::Block(again)] => again,
                other => panic!("{name}: {other:?}"),
            };
            assert_eq!(
                (again.has_data, again.has_event),
                (block.has_data, block.has_event)
            );
            let id = match trailer.id {
                None => IdField::Absent,
                Some(b"") => IdField::Reset,
                Some(id) => IdField::Set(Bytes::from_static(id)),
            };
            assert_eq!(again.id, id, "{name} {trailer:?}");
            let own = if trailer.strip_retry {
                None
            } else {
                block.retry
            };
            assert_eq!(again.retry, trailer.retry.or(own), "{name} {trailer:?}");
            assert_eq!(
                lines_without(&again.lines, &[b"id", b"retry"]),
                lines_without(&block.lines, &[b"id", b"retry"]),
                "{name} {trailer:?}"
            );
        }
    }
}

/// Ids aside, a browser cannot tell the difference.
#[test]
fn the_same_events_are_dispatched() {
    let seen = |input: &[u8]| -> Vec<_> {
        let events = reference::dispatch(input).into_iter();
        events.map(|event| (event.kind, event.data)).collect()
    };
    for seed in SEEDS {
        let mut out = BytesMut::from(HEARTBEAT);
        for frame in decode_chunks([seed.input], usize::MAX / 2).frames {
            match frame {
                Frame::Comment(text) => encode_comment(&mut out, &text),
                Frame::Block(block) => encode_block(&mut out, &block, TRAILERS[2]),
            }
        }
        assert_eq!(seen(&out), seen(seed.input), "{}", seed.name);
    }
}

#[test]
fn the_same_payload_whatever_the_trailer() {
    let blocks = seed_blocks();
    for (name, one) in &blocks {
        for (other_name, other) in &blocks {
            let same = lines_without(&one.lines, &[b"id", b"retry"])
                == lines_without(&other.lines, &[b"id", b"retry"]);
            for trailer in TRAILERS {
                let out = encoded(one, *trailer);
                assert_eq!(
                    same_payload(&out, other),
                    same,
                    "{name}, {other_name}, {trailer:?}"
                );
            }
        }
    }
}

#[test]
fn what_is_not_the_same_payload() {
    let out = encoded(&block(b"data: a\ndata: b\n"), TRAILERS[2]);
    assert!(same_payload(
        &out,
        &block(b"id: 9\ndata: a\nretry: 1\ndata: b\n")
    ));
    for lines in [
        &b"data: a\n"[..],
        b"data: b\ndata: a\n",
        b"data: a\ndata: b\ndata: c\n",
        b"data: a\ndata: bb\n",
        b"data: a\ndata:b\n",
        b"data: a\ndata: b\nidx: 1\n",
    ] {
        assert!(!same_payload(&out, &block(lines)), "{lines:?}");
    }
}

#[test]
fn an_id_cannot_break_its_line() {
    let trailer = Trailer {
        id: Some(b"1\n\ndata: evil\r\0"),
        ..Trailer::default()
    };
    assert_eq!(
        encoded(&block(b"data: a\n"), trailer),
        "data: a\nid: 1data: evil\n\n"
    );
}

#[test]
fn a_block_of_ids_alone_leaves_nothing() {
    assert_eq!(encoded(&block(b"id: 1\nid\n"), Trailer::default()), "");
    let out = encoded(
        &block(b"id: 1\n"),
        Trailer {
            id: Some(b"2"),
            ..Trailer::default()
        },
    );
    assert_eq!(out, "id: 2\n\n");
}

#[test]
fn comments_are_bare_lines() {
    let written = |text: &[u8]| {
        let mut out = BytesMut::new();
        encode_comment(&mut out, text);
        out
    };
    assert_eq!(written(b""), HEARTBEAT);
    assert_eq!(written(b" sse-resume: gap"), ": sse-resume: gap\n");
    assert_eq!(written(b"\ra\n\ndata: evil\0\r\n"), ":adata: evil\n");
}

#[test]
fn retry_is_a_line() {
    let mut out = BytesMut::new();
    encode_retry(&mut out, 0);
    encode_retry(&mut out, u64::MAX);
    assert_eq!(out, "retry: 0\nretry: 18446744073709551615\n");
}

#[test]
fn events_of_our_own() {
    let written = |event, data, id: Option<&[u8]>| {
        let mut out = BytesMut::new();
        encode_event(&mut out, event, data, id);
        out
    };
    let gap = written("sse-gap", r#"{"reason":"trimmed"}"#, Some(b"s1.e.7"));
    assert_eq!(
        gap,
        "event: sse-gap\ndata: {\"reason\":\"trimmed\"}\nid: s1.e.7\n\n"
    );
    assert_eq!(written("", "", None), "data:\n\n");
    assert_eq!(
        written("a\r\nid: 1\0", " x", Some(b"")),
        "event: aid: 1\ndata:  x\nid:\n\n"
    );
    let lines = written("", "a\r\nb\rc\nd\n\r\n", None);
    assert_eq!(
        lines,
        "data: a\ndata: b\ndata: c\ndata: d\ndata:\ndata:\n\n"
    );
    assert_eq!(reference::dispatch(&lines)[0].data, b"a\nb\nc\nd\n\n");
}
