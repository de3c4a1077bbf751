//! The disk journal: after a kill, everything that anybody was given is there.

use crate::checker::check;
use crate::crashes;
use crate::scratch::Scratch;
use crate::seed::Seed;
use crate::service::kept;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_kills_lose_nothing() {
    let mut seed = Seed::of("a_hundred_kills_lose_nothing");
    let directory = Scratch::new();
    let path = directory.path().join("journal");
    let journal = format!("kind: disk, path: \"{}\", sync: interval", path.display());
    let story = crashes::story(&mut seed, &journal, 100).await;
    check(story, kept).assert_kept();
}
