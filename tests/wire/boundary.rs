use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use tower_sse::wire::{Boundary, Frame, HEARTBEAT, LeadingBom};

use crate::random::token;
use crate::reference::{self, split_lines};
use crate::seeds::SEEDS;

fn between(bytes: &[u8]) -> bool {
    let mut boundary = Boundary::default();
    boundary.feed(bytes);
    boundary.between_blocks()
}

/// All that any client can make of a stream: blocks, and blank lines.
fn meaning(input: &[u8]) -> (Vec<Frame>, Vec<reference::Event>, usize) {
    let mut frames = reference::decode(input, usize::MAX / 2).frames;
    frames.retain(|frame| *frame != Frame::Comment(Bytes::new()));
    let blank_lines = reference::blank_lines(input);
    (frames, reference::dispatch(input), blank_lines)
}

/// Puts a heartbeat at each place that is said to be between blocks.
fn inject_everywhere(input: &[u8]) -> Result<(), String> {
    for at in 0..=input.len() {
        let (head, tail) = input.split_at(at);
        if !between(head) {
            continue;
        }
        let tail = match at {
            0 => strip_bom([tail]),
            _ => tail.to_vec(),
        };
        let injected = [head, HEARTBEAT, &tail].concat();
        if meaning(&injected) != meaning(input) {
            return Err(format!("{at}: {injected:?}"));
        }
    }
    Ok(())
}

fn strip_bom<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bom = LeadingBom::default();
    chunks
        .into_iter()
        .flat_map(|chunk| bom.strip(Bytes::copy_from_slice(chunk)))
        .collect()
}

#[test]
fn a_heartbeat_changes_nothing() {
    for seed in SEEDS {
        inject_everywhere(seed.input).unwrap_or_else(|at| panic!("{} at {at}", seed.name));
    }
}

/// Careful, but not more careful than it says.
#[test]
fn true_after_each_block() {
    for seed in SEEDS {
        for end in 0..=seed.input.len() {
            let prefix = &seed.input[..end];
            let (lines, rest) = split_lines(prefix);
            let blank = lines.iter().rposition(Vec::is_empty);
            let tail = &lines[blank.map_or(0, |at| at + 1)..];
            let expected = rest.is_empty()
                && tail.iter().all(|line| line[0] == b':')
                && !prefix.ends_with(b"\r");
            assert_eq!(between(prefix), expected, "{} up to {end}", seed.name);
        }
    }
}

#[test]
fn the_same_for_every_split() {
    for seed in SEEDS {
        let mut boundary = Boundary::default();
        for (end, byte) in seed.input.chunks(1).enumerate() {
            boundary.feed(byte);
            boundary.feed(b"");
            let whole = between(&seed.input[..=end]);
            assert_eq!(
                boundary.between_blocks(),
                whole,
                "{} up to {end}",
                seed.name
            );
        }
    }
}

#[test]
fn never_within_a_crlf() {
    assert!(between(b""));
    assert!(between(b"data: x\r\n\r\n"));
    assert!(!between(b"data: x\r\n\r"));
    assert!(!between(b"data: x\r\r"));
    assert!(between(b"data: x\r\r\n"));
    assert!(between(b"data: x\n\n:\r\n"));
    assert!(!between(b"data: x\n\n:\r"));
}

#[test]
fn a_leading_bom_is_taken_off_once() {
    for seed in SEEDS {
        let expected = reference::strip_bom(seed.input);
        for at in 0..=seed.input.len() {
            let (head, tail) = seed.input.split_at(at);
            if matches!(seed.input, b"\xEF" | b"\xEF\xBB") {
                continue;
            }
            assert_eq!(strip_bom([head, tail]), expected, "{} at {at}", seed.name);
        }
        assert_eq!(strip_bom(seed.input.chunks(1)), expected, "{}", seed.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_heartbeat_changes_nothing_anywhere(tokens in vec(token(), 0..30)) {
        prop_assert_eq!(inject_everywhere(&tokens.concat()), Ok(()));
    }
}
