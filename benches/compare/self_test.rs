//! Checks of the checks, at the start of every run: a benchmark without a
//! harness has no `#[test]`s, and one that overlooks a lost event is worthless.

use std::io;

use crate::check::Check;
use crate::event::{SIZE, Shape, Writer};
use crate::report::figures::{Series, median};
use crate::response::Response;
use crate::result::{Run, Sample};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Panics if anything that must be noticed is not.
pub(crate) fn run() {
    for shape in [Shape::Plain, Shape::Numbered, Shape::Json] {
        split_anywhere(shape);
        assert_eq!(delivered(shape, &[7, 8, 9]).ok(), Some(3));
        for broken in [[1, 3, 4], [1, 1, 2], [2, 1, 3], [1, 2, 2]] {
            assert!(delivered(shape, &broken).is_err(), "{broken:?} went by");
        }
    }
    damage_is_noticed();
    arithmetic();
}

fn arithmetic() {
    assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    assert_eq!(median(Vec::new()), None);
    let sample = |peer: &str, round, cost| Sample {
        scenario: "s".to_owned(),
        peer: peer.to_owned(),
        round,
        cpu_us_per_event: Some(cost),
        ..Sample::default()
    };
    // Twice as dear in every round, however dear that round was.
    let dear = [1.0, 50.0, 4.0].into_iter().enumerate();
    let samples =
        dear.flat_map(|(round, cost)| [sample("a", round, 2.0 * cost), sample("b", round, cost)]);
    let run = Run {
        floor_ns: vec![500.0, 25_000.0, 2_000.0],
        samples: samples.collect(),
        ..Run::default()
    };
    let series = Series::new(&run, "s", "a");
    assert_eq!(series.median(|sample| sample.cpu_us_per_event), Some(8.0));
    assert_eq!(
        series.ratio_to("b", |sample| sample.cpu_us_per_event),
        Some(2.0)
    );
    assert_eq!(series.ratio_to("c", |sample| sample.cpu_us_per_event), None);
    assert_eq!(series.floors(), Some(4.0));
}

/// A response with these events, each in a chunk of its own, with a comment
/// between them as proxies write.
fn response(shape: Shape, numbers: &[u64]) -> Vec<u8> {
    let writer = Writer::new(shape);
    let mut bytes = HEAD.to_vec();
    for &number in numbers {
        writer.chunk(number, 1, 5, &mut bytes);
        bytes.extend_from_slice(b"3;x=y\r\n:\n\n\r\n");
    }
    bytes
}

fn delivered(shape: Shape, numbers: &[u64]) -> io::Result<usize> {
    read(shape, [response(shape, numbers).as_slice()])
}

fn read<'a>(shape: Shape, pieces: impl IntoIterator<Item = &'a [u8]>) -> io::Result<usize> {
    let mut response = Response::new();
    let mut check = Check::new(shape);
    let mut events = 0;
    for piece in pieces {
        response.feed(piece, |body| {
            check.feed(body, |time| {
                assert_eq!(time, 5, "the origin's time");
                events += 1;
            })
        })?;
    }
    Ok(events)
}

fn split_anywhere(shape: Shape) {
    let bytes = response(shape, &[1, 2]);
    for at in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(at);
        assert_eq!(read(shape, [head, tail]).ok(), Some(2), "split at {at}");
    }
    assert_eq!(
        read(shape, bytes.chunks(1)).ok(),
        Some(2),
        "every byte alone"
    );
}

fn damage_is_noticed() {
    let shape = Shape::Plain;
    let whole = response(shape, &[1, 2]);
    let first = HEAD.len() + "c8\r\n".len();
    let mut digit = whole.clone();
    digit[first + "data: ".len()] = b'x';
    let mut chunk = whole.clone();
    chunk[first + SIZE] = b'x';
    let mut refused = whole.clone();
    refused[9] = b'5';
    for damaged in [digit, chunk, refused] {
        assert!(read(shape, [damaged.as_slice()]).is_err());
    }
    let mut short = Vec::from(HEAD);
    short.extend_from_slice(b"9\r\ndata: 1\n\n\r\n");
    assert!(read(shape, [short.as_slice()]).is_err(), "a short event");
}
