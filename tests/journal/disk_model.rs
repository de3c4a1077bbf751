//! Any order of calls and ends, against plain lists.

use proptest::prelude::*;
use tower_sse::journal::disk::Sync;

use crate::support::{runtime, settings};
use crate::world::{End, World};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn what_was_appended_is_found(
        seed in any::<u64>(),
        steps in prop::collection::vec(any::<u8>(), 1..150),
        ends in prop::collection::vec(prop::bool::ANY, 1..5),
        sync in prop::sample::select(vec![Sync::Always, Sync::Never]),
    ) {
        // Segments of a few records, so that they come and go.
        let mut settings = settings(sync);
        settings.segment_bytes = 1 << 10;
        runtime().block_on(async {
            let mut world = World::new(seed, settings);
            for kill in ends {
                for step in &steps {
                    world.step(*step).await;
                }
                world.restart(if kill { End::Kill } else { End::Close }).await;
            }
        });
    }
}
