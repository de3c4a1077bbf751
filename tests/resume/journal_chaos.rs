//! Seeded histories of three processes that share a journal, in which anything
//! fails. Every client sees every event once, in order, because the upstream can
//! resend; and no id ever names two events.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use tower_sse::journal::OnLoss;
use tower_sse::stream::policy::{Ids, Join, Linger, UpstreamResume};
use tower_sse::{Engine, SseLayer};

use crate::support::scripted::Pipe;
use crate::support::shelf::{Desk, Shelf};
use crate::support::{App, Call, Client, Reply, Script, Upstream, event_with_id, quiet, secs, sse};

/// A backend that numbers its events, keeps them all, and goes on after
/// `Last-Event-ID`.
#[derive(Clone, Default)]
struct Origin(Arc<Mutex<Feed>>);

#[derive(Default)]
struct Feed {
    last: usize,
    pipes: Vec<Pipe>,
}

impl Origin {
    fn upstream(&self) -> Upstream {
        let origin = self.clone();
        Upstream::new(move |call: &Call| -> Reply {
            let mut feed = origin.0.lock().unwrap();
            let after = call.last_event_id().parse().unwrap_or(0);
            let (pipe, body) = Script::pipe();
            for n in after + 1..=feed.last {
                pipe.send(event_with_id(n, n));
            }
            feed.pipes.push(pipe);
            sse(body).into()
        })
    }

    fn emit(&self) {
        let mut feed = self.0.lock().unwrap();
        feed.last += 1;
        let text = event_with_id(feed.last, feed.last);
        feed.pipes.iter().for_each(|pipe| pipe.send(text.clone()));
    }

    /// Every connection breaks.
    fn cut(&self) {
        let mut feed = self.0.lock().unwrap();
        feed.pipes.drain(..).for_each(|pipe| pipe.cut());
    }

    fn last(&self) -> usize {
        self.0.lock().unwrap().last
    }
}

#[derive(Clone, Copy, Debug)]
struct Plan {
    shared: bool,
    on_loss: OnLoss,
}

struct World {
    plan: Plan,
    shelf: Shelf,
    upstream: Upstream,
    processes: Vec<(App, Desk)>,
}

impl World {
    fn new(plan: Plan, upstream: Upstream) -> Self {
        let mut world = Self {
            plan,
            shelf: Shelf::default(),
            upstream,
            processes: Vec::new(),
        };
        world.processes = (0..3).map(|_| world.process()).collect();
        world
    }

    fn process(&self) -> (App, Desk) {
        let desk = self.shelf.desk(self.plan.on_loss);
        let engine = Engine::with_journal(1 << 20, Arc::new(desk.clone()));
        let layer = SseLayer::new()
            .resume(UpstreamResume::LastEventId)
            .ids(Ids::Assign)
            .join(Join::Start)
            .linger(Linger::For(secs(3)))
            .engine(engine);
        let layer = if self.plan.shared {
            layer.shared()
        } else {
            layer
        };
        (App::new(&layer, &self.upstream), desk)
    }
}

/// A client that goes on wherever it is sent.
struct Reader {
    client: Client,
    id: String,
    seen: usize,
}

impl Reader {
    async fn go(&mut self, app: &App) {
        self.client = app.get("/e", &self.id).await;
        assert_eq!(self.client.status(), 200);
    }

    /// Takes in what is there. A connection that was cut is replaced.
    async fn read(&mut self, app: &App, named: &mut HashMap<String, String>) {
        let cut = self.client.drain().is_err();
        while let Some(event) = self.client.page.events.pop_front() {
            self.seen += 1;
            assert_eq!(
                event.data,
                self.seen.to_string(),
                "every event, once, in order"
            );
            let before = named.insert(event.id.clone(), event.data.clone());
            assert!(
                before.is_none_or(|before| before == event.data),
                "{} names two",
                event.id
            );
            self.id = event.id;
        }
        if cut {
            self.go(app).await;
        }
    }
}

async fn history(plan: Plan, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let origin = Origin::default();
    let mut world = World::new(plan, origin.upstream());
    let mut named = HashMap::new();
    let mut readers = Vec::new();
    for _ in 0..4 {
        let on = rng.usize(..3);
        let client = world.processes[on].0.get("/e", "").await;
        let id = String::new();
        readers.push((
            on,
            Reader {
                client,
                id,
                seen: 0,
            },
        ));
    }
    for _ in 0..60 {
        let at = rng.usize(..3);
        match rng.u8(..14) {
            0..5 => (0..rng.usize(1..4)).for_each(|_| origin.emit()),
            5 => origin.cut(),
            6 => world.shelf.depose(),
            7 => world.shelf.fail_next(1),
            8 => world.shelf.lose(rng.usize(..3)),
            9 => world.processes[at].1.away(rng.bool()),
            10 => {
                world.processes[at].1.kill();
                world.processes[at] = world.process();
                for (_, reader) in readers.iter_mut().filter(|(on, _)| *on == at) {
                    reader.go(&world.processes[at].0).await;
                }
            }
            11 => tokio::time::sleep(secs(rng.u64(..8))).await,
            _ => {
                let (on, reader) = &mut readers[rng.usize(..4)];
                *on = at;
                reader.go(&world.processes[at].0).await;
            }
        }
        quiet().await;
        for (on, reader) in &mut readers {
            reader.read(&world.processes[*on].0, &mut named).await;
        }
    }
    // In the end all is well, and all have seen everything.
    world.shelf.fail_next(0);
    world
        .processes
        .iter()
        .for_each(|(_, desk)| desk.away(false));
    world.shelf.mend();
    origin.emit();
    for _ in 0..40 {
        tokio::time::sleep(secs(2)).await;
        for (on, reader) in &mut readers {
            reader.read(&world.processes[*on].0, &mut named).await;
        }
    }
    for (on, reader) in &readers {
        assert_eq!(reader.seen, origin.last(), "a reader on {on} stands still");
    }
}

/// `CHAOS_SEED=n cargo test --test resume chaos` repeats one history.
fn histories(plan: Plan) {
    let seeds = match std::env::var("CHAOS_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..150).collect(),
    };
    for seed in seeds {
        println!("{plan:?}, seed {seed}");
        // The jitter of the engine is part of the history.
        fastrand::seed(seed);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.unwrap().block_on(history(plan, seed));
    }
}

#[test]
fn private_streams_that_pause() {
    histories(Plan {
        shared: false,
        on_loss: OnLoss::Pause,
    });
}

#[test]
fn private_streams_that_go_on() {
    histories(Plan {
        shared: false,
        on_loss: OnLoss::Continue,
    });
}

#[test]
fn shared_streams_that_pause() {
    histories(Plan {
        shared: true,
        on_loss: OnLoss::Pause,
    });
}

#[test]
fn shared_streams_that_go_on() {
    histories(Plan {
        shared: true,
        on_loss: OnLoss::Continue,
    });
}
