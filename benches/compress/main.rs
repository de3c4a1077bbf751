//! What compressed streams cost: `cargo bench --features gzip --bench compress`.
//!
//! One thread serves clients over loopback sockets, which another thread reads
//! dry; each is a stream of the layer's, shared by all. Three ways beside each
//! other: `plain`, `shared` (compressed once for all) and `encoder` (a gzip
//! encoder for each client, which is tower-http's layer around ours). Reported
//! are the serving thread's processor time, `send` included, the bytes a client
//! is sent, and the time from an event's arrival to its write to each client.
//!
//! Rounds take turns, and ratios are of one round: a busy machine then slows all
//! three alike.

#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a measurement that fails has nothing to clean up, and is rounded"
)]

mod events;
mod serving;
mod table;

use events::Shape;
use serving::{Crowd, Way};
use table::{Sample, print, print_memory};

const ROUNDS: usize = 5;
const CLIENTS: usize = 300;
const DELIVERIES: usize = 100;
const RETURNING: usize = 100;
const BACKLOG: usize = 4 << 20;

fn main() {
    // `cargo test --benches` only wants to know that it starts.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    // The first round pays for what the process needs anyway.
    live(Way::Plain, Shape::Small);
    for shape in Shape::ALL {
        let rounds: Vec<_> = (0..ROUNDS)
            .map(|_| Way::ALL.map(|way| live(way, shape)))
            .collect();
        print(&format!("{CLIENTS} clients, {}", shape.name()), &rounds);
        if let Shape::Small = shape {
            print_memory(&rounds);
        }
    }
    let rounds: Vec<_> = (0..3).map(|_| Way::ALL.map(replay)).collect();
    print(
        &format!("{RETURNING} clients return, 4 MiB behind"),
        &rounds,
    );
}

/// Events as they come, to all.
fn live(way: Way, shape: Shape) -> Sample {
    serving::run(async move {
        let mut crowd = Crowd::new(way);
        crowd.join(CLIENTS);
        crowd.settled().await;
        // The first ones pay for what all others use too.
        for number in 0..10 {
            crowd.deliver(shape, number).await;
        }
        crowd.begin();
        for number in 10..10 + DELIVERIES {
            crowd.deliver(shape, number).await;
        }
        crowd.sample(CLIENTS * DELIVERIES)
    })
}

/// What is retained, to all who return at once.
fn replay(way: Way) -> Sample {
    serving::run(async move {
        let mut crowd = Crowd::new(way);
        crowd.join(1);
        let mut number = 0;
        while crowd.published() < BACKLOG {
            crowd.deliver(Shape::Batch, number).await;
            number += 1;
        }
        crowd.begin();
        crowd.join(RETURNING);
        crowd.settled().await;
        crowd.sample(RETURNING)
    })
}
