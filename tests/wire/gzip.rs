//! gzip in shared pieces, read by a decoder that knows nothing of them.

use proptest::collection::vec;
use proptest::prelude::*;
use tower_sse::wire::HEARTBEAT;
use tower_sse::wire::gzip::{Member, pack};

#[path = "../support/gunzip.rs"]
mod gunzip;
use gunzip::Gunzip;

/// One thing that a client is sent.
#[derive(Clone, Debug)]
enum Step {
    Beat,
    Own(Vec<u8>),
    /// A piece of those that exist, and what is the client's alone before it.
    Shared(usize, Vec<u8>),
}

/// Text that repeats itself, noise that does not, and the lengths at which a
/// stored block is full.
fn plain() -> impl Strategy<Value = Vec<u8>> {
    let noise = |len: usize| {
        let mut random = fastrand::Rng::with_seed(len as u64);
        std::iter::repeat_with(|| random.u8(..)).take(len).collect()
    };
    prop_oneof![
        8 => "(data: [a-c]{0,9}\n){0,30}\n".prop_map(String::into_bytes),
        2 => vec(any::<u8>(), 0..300),
        1 => (65_530..65_540usize).prop_map(noise),
        1 => (60_000..200_000usize).prop_map(|len| vec![b'x'; len]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Beat),
        "(retry: [0-9]{1,5}\n)?(:[a-z]{0,90}\n)?".prop_map(|own| Step::Own(own.into_bytes())),
        (any::<usize>(), "(retry: [0-9]{1,5}\n)?")
            .prop_map(|(at, own)| Step::Shared(at, own.into_bytes())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any pieces in any order, with anything between them: after each step all
    /// of what was sent can be read.
    #[test]
    fn each_prefix_can_be_read(
        pieces in vec(plain(), 1..6),
        steps in vec(step(), 0..20),
        whole in any::<bool>(),
    ) {
        let packed: Vec<_> = pieces.iter().map(|piece| pack(piece)).collect();
        let (mut member, mut sent) = (Member::default(), Vec::new());
        let mut gunzip = Gunzip::new();
        for step in steps {
            let bytes = match step {
                Step::Beat => {
                    sent.extend_from_slice(HEARTBEAT);
                    member.own(HEARTBEAT)
                }
                Step::Own(own) => {
                    sent.extend_from_slice(&own);
                    member.own(&own)
                }
                Step::Shared(at, own) => {
                    let at = at % pieces.len();
                    sent.extend_from_slice(&own);
                    sent.extend_from_slice(&pieces[at]);
                    member.shared(&own, &pieces[at], &packed[at])
                }
            };
            prop_assert_eq!(gunzip.feed(&bytes), &sent[..]);
        }
        if whole {
            gunzip.feed(&member.end());
            prop_assert_eq!(gunzip.finish(), Some(sent));
        } else {
            prop_assert_eq!(gunzip.finish(), None);
        }
    }
}

#[test]
fn a_piece_is_the_same_bytes_for_all() {
    let piece = b"data: the same\n\n".repeat(9);
    let packed = pack(&piece);
    let (mut one, mut other) = (Member::default(), Member::default());
    one.own(HEARTBEAT);
    other.own(b": hello\n");
    let (one, other) = (
        one.shared(b"", &piece, &packed),
        other.shared(b"", &piece, &packed),
    );
    assert_eq!(one.as_ptr(), packed.as_ptr());
    assert_eq!(other.as_ptr(), packed.as_ptr());
}

#[test]
fn what_gets_no_smaller_grows_by_a_block_head_only() {
    for len in [0, 1, 20, 300, 65_535, 65_536, 200_000] {
        let mut random = fastrand::Rng::with_seed(7);
        let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(len).collect();
        let most = len + 5 * len.div_ceil(65_535);
        assert!(pack(&noise).len() <= most, "{len}");
    }
    let text = b"data: {\"kind\":\"tick\"}\n\n".repeat(1000);
    assert!(pack(&text).len() * 50 < text.len());
}

#[test]
fn heartbeats_cost_seven_bytes_and_no_memory() {
    let mut member = Member::default();
    member.own(HEARTBEAT);
    let (one, other) = (member.own(HEARTBEAT), member.own(HEARTBEAT));
    assert_eq!(one.len(), 7);
    assert_eq!(one.as_ptr(), other.as_ptr());
}
