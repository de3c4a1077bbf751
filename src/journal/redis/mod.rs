//! The journal in Redis: any replica of a service can resume any client.
//!
//! Redis or Valkey, 6.2 or later, on one server, watched by Sentinels, or as a
//! Cluster. [`Redis::connect`] returns at once; connections are made, and made
//! again, in the background.
//!
//! # What is where
//!
//! A stream has two keys, whose hash tag keeps them on one node of a cluster
//! (`sse` is the [prefix](RedisSettings::prefix)):
//!
//! | key | what |
//! |---|---|
//! | `{sse:<name>}:meta` | a hash: head, retention, owner, token, end of the lease, last block, branch |
//! | `{sse:<name>}:log` | a Redis Stream of records; an entry's id is `<last block>-<n>` |
//! | `{sse:alias:<name>}` | the stream that has this other name |
//!
//! Names are hashed before they come here, and heads hold no credentials. All
//! keys expire by themselves, the retention after the last sign of an owner.
//! `meta` is also the channel on which followers hear that something happened;
//! `{sse:process:<random>}` is one per process, for what its owners are to hear.
//! Everything is changed by Lua scripts, each of which touches one stream.
//!
//! # Who owns a stream
//!
//! One replica at a time holds its *lease*: it appends, and has the upstream
//! connection. It renews five times per [lease](RedisSettings::lease), and Redis
//! lets go of it after three fifths of one without a sign. A follower with
//! readers tries in that moment, so that a dead owner is replaced within a lease.
//! An owner that ends in order hands over at once.
//!
//! * The scripts compare owner and token with every write: one that slept past
//!   its lease is refused by Redis, whatever it believes.
//! * The owner counts the same time by its own clock, from *before* it asked and
//!   to a twentieth of a lease earlier, and is told [`News::Disowned`] then. So at
//!   most one upstream connection is open, provided that no process is stopped
//!   with its connection open, and that no two clocks differ in *speed* by more
//!   than that twentieth. What their hands say does not matter.
//! * An append that was not answered is sent again, under the same number: it is
//!   kept once.
//!
//! # How followers read
//!
//! Not by `XREAD BLOCK`: that holds a connection, cannot be told of another
//! stream meanwhile, and takes only keys of one slot. One connection per process
//! subscribes to all its streams' channels; what is published there says only
//! *that* something happened. Records are fetched on the one connection on which
//! everything is asked, at most a quarter of a mebibyte (and one record) at a
//! time, and none before the stream took the last ones. What was not heard is
//! noticed after a reconnect, and at the follower's next look: five times per
//! lease, or once where it has no readers.
//!
//! # What is promised, and what is not
//!
//! * No id names two events. A new owner goes on under the old epoch only if this
//!   server, by its `run_id`, has been up since everything it has was appended.
//!   After a restart or a failover the log continues under a new epoch, even if
//!   nothing was lost: that cannot be told. (The *same* owner, still in its lease,
//!   compares what it knows and goes on.)
//! * What was published and Redis lost is given to it again, by an owner that
//!   still has it. Nobody else can: Redis acknowledges before it replicates or
//!   writes to disk. A replica that has read what was lost and replaced is told
//!   [`News::Diverged`].
//! * While Redis is away nothing is published ([`OnLoss::Pause`]): appends wait.
//!   With [`OnLoss::Continue`] each process goes on alone, with an upstream
//!   connection of its own, and what it publishes is known to nobody else.
//! * A server that lost *who owns* a stream lets another replica have it while
//!   the first one is still connected upstream, until that asks next: a fifth of
//!   a lease.
//! * `maxmemory-policy` should be `noeviction`. Keys that are evicted are lost
//!   like after a restart.
//! * Values that others write under these keys are errors, and no more; but
//!   whoever may write there can make up events. Give each service a user.
//!
//! # Rights
//!
//! For `ACL SETUSER`, beside a password:
//!
//! ```text
//! ~{sse:* &{sse:* +eval +evalsha +ping +subscribe +unsubscribe +publish +time +info
//! +hmget +hset +hincrby +pexpire +del +get +set +xadd +xtrim +xrange +xrevrange
//! ```
//!
//! and `+select` for another database, `+role` behind Sentinels, `+cluster` in a
//! cluster. Without `+info` all works, but no new owner can prove continuity.
//!
//! # Shown by
//!
//! `tests/journal_redis` runs this against real servers that are stopped,
//! killed and cut off. The protocol itself is explored in `model`: for three
//! replicas with real leases, every order of steps within its bounds.
//!
//! [`News::Disowned`]: super::News::Disowned
//! [`News::Diverged`]: super::News::Diverged
//! [`OnLoss::Pause`]: super::OnLoss::Pause
//! [`OnLoss::Continue`]: super::OnLoss::Continue

mod client;
mod journal;
mod keeper;
mod keys;
mod lease;
mod lock;
#[cfg(test)]
mod model;
mod place;
mod replica;
mod scripts;
mod settings;
mod tail;

pub use self::journal::Redis;
pub use self::settings::{RedisSettings, Topology};
