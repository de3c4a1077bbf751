//! What can go wrong.

use super::server::{Answer, Request};
use super::world::World;
use super::{REPLICAS, Rules};

/// What becomes of a request.
#[derive(Clone, Copy)]
struct Fate {
    executed: bool,
    answered: bool,
    /// It, or a copy of it, may be executed at any later time.
    late: bool,
}

const FATES: [Fate; 5] = [
    Fate {
        executed: true,
        answered: true,
        late: false,
    },
    Fate {
        executed: true,
        answered: false,
        late: false,
    },
    Fate {
        executed: true,
        answered: false,
        late: true,
    },
    Fate {
        executed: false,
        answered: false,
        late: true,
    },
    Fate {
        executed: false,
        answered: false,
        late: false,
    },
];

impl World {
    pub(super) fn push_mishaps(&self, rules: &Rules, next: &mut Vec<Self>) {
        let mut push = |act: &dyn Fn(&mut Self)| {
            next.push(self.after(|world| {
                world.mishaps += 1;
                act(world);
            }));
        };
        for at in 0..REPLICAS {
            if self.replicas[at].acts() {
                push(&|world| world.replicas[at].awake = false);
                self.push_fates(rules, at, &mut push);
            }
        }
        push(&|world| world.server.restart());
        push(&|world| world.lossy |= world.server.lose_tail());
    }

    /// A request, its answer or both are late or lost; an owner lets go.
    fn push_fates(&self, rules: &Rules, at: usize, push: &mut impl FnMut(&dyn Fn(&mut Self))) {
        let replica = &self.replicas[at];
        let request = replica.request(rules.at(self.time));
        let block = replica.block(self.event(rules));
        for fate in FATES {
            if let Some(request) = &request {
                push(&|world| {
                    let answer = world.send(rules, request, fate);
                    world.replicas[at].asked = Some(world.asked(request.clone(), answer));
                });
            }
            if let Some(block) = block {
                push(&|world| {
                    let request = world.append(at, block);
                    let answer = world.send(rules, &request, fate);
                    world.replicas[at].append = Some(world.asked(request, answer));
                });
            }
        }
        if replica.owned && replica.append.is_none() {
            push(&|world| {
                let owner = world.replicas[at].owner();
                let now = rules.at(world.time);
                world.replicas[at].lease.released(now);
                world.replicas[at].owned = false;
                world.execute(rules, &Request::Release { owner });
            });
        }
    }

    fn send(&mut self, rules: &Rules, request: &Request, fate: Fate) -> Option<Answer> {
        let answer = fate.executed.then(|| self.execute(rules, request));
        if fate.late {
            self.late.push(request.clone());
        }
        answer.filter(|_| fate.answered)
    }
}
