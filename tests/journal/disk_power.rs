//! Histories in which the power goes and processes are killed, at any call to
//! the disk. `SEED=… cargo test` replays the one that failed.

use std::time::Duration;

use tower_sse::journal::disk::Sync;

use crate::support::{runtime, settings};
use crate::world::{End, World};

/// Each with a seed of its own, or only the one that is asked for.
pub(crate) fn each_seed(count: u64, history: impl Fn(u64)) {
    if let Some(seed) = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        return history(seed);
    }
    for seed in 0..count {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| history(seed)));
        if let Err(panic) = done {
            eprintln!("SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

fn histories(sync: Sync) {
    each_seed(300, |seed| runtime().block_on(history(seed, sync)));
}

async fn history(seed: u64, sync: Sync) {
    let mut settings = settings(sync);
    settings.segment_bytes = 1 << 10;
    let mut world = World::new(seed, settings);
    for _ in 0..world.rng.u8(1..6) {
        let fuse = world.rng.u64(..200);
        let end = match world.rng.u8(..8) {
            0 => End::Close,
            1..=3 => End::Kill,
            _ => End::Power,
        };
        if end != End::Close && world.rng.bool() {
            world.machine.set_fuse(fuse);
        }
        for _ in 0..world.rng.u8(..80) {
            let step = world.rng.u8(..);
            world.step(step).await;
        }
        world.restart(end).await;
    }
}

#[test]
fn with_always_nothing_acknowledged_is_lost() {
    histories(Sync::Always);
}

#[test]
fn with_an_interval_nothing_is_lost_unnoticed() {
    histories(Sync::Interval(Duration::from_secs(1)));
}

#[test]
fn without_syncs_nothing_is_lost_unnoticed() {
    histories(Sync::Never);
}
