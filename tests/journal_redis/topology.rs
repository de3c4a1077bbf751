//! More than one server: Sentinel, and Redis Cluster.

use redis::aio::MultiplexedConnection;
use tower_sse::journal::redis::{Redis, Topology};
use tower_sse::journal::{Journal, News};

use super::*;

async fn info(redis: &mut MultiplexedConnection, section: &str) -> String {
    let mut info = redis::cmd("INFO");
    info.arg(section)
        .query_async(redis)
        .await
        // A replica that loads what it was sent answers nothing else.
        .unwrap_or_default()
}

#[tokio::test]
async fn streams_go_on_when_a_sentinel_promotes_another_server() {
    let mut master = Server::start().await;
    let port = master.port().to_string();
    let replica = Server::with(&["--replicaof", "127.0.0.1", &port]).await;
    let redis = replica.connection().await;
    eventually("the replica follows", || {
        let mut redis = redis.clone();
        async move {
            info(&mut redis, "replication")
                .await
                .contains("master_link_status:up")
        }
    })
    .await;
    let sentinel = Server::sentinel(&[
        format!("sentinel monitor streams 127.0.0.1 {port} 1"),
        "sentinel down-after-milliseconds streams 1000".to_owned(),
        "sentinel failover-timeout streams 20000".to_owned(),
    ])
    .await;
    let watch = sentinel.connection().await;
    eventually("the sentinel knows the replica", || {
        let mut watch = watch.clone();
        async move {
            info(&mut watch, "sentinel")
                .await
                .contains("status=ok,address=")
                && info(&mut watch, "sentinel").await.contains("slaves=1")
        }
    })
    .await;

    let mut watched = settings(sentinel.url());
    watched.topology = Topology::Sentinel {
        service: "streams".to_owned(),
    };
    let journal = Redis::connect(watched).unwrap();
    let mut owner = begin(&journal, &name("s")).await;
    keep(&mut owner, record(1, 3)).await;
    let mut at_master = master.connection().await;
    // Redis waits for what was written on this connection, and before.
    redis::cmd("SET")
        .arg("mark")
        .arg(1)
        .exec_async(&mut at_master)
        .await
        .unwrap();
    let copies: u64 = redis::cmd("WAIT")
        .arg(1)
        .arg(0)
        .query_async(&mut at_master)
        .await
        .unwrap();
    assert_eq!(copies, 1);

    master.kill();
    keep_at_last(&mut owner, record(4, 4)).await;
    assert_eq!(
        find(&journal, &name("s")).await.unwrap().records,
        [record(1, 3), record(4, 4)]
    );
    let mut redis = replica.connection().await;
    assert!(
        info(&mut redis, "replication")
            .await
            .contains("role:master")
    );
}

/// Three masters that share all slots.
async fn cluster() -> Vec<Server> {
    let mut nodes = Vec::new();
    let mut buses = Vec::new();
    for _ in 0..3 {
        let bus = free_port().to_string();
        nodes.push(Server::with(&["--cluster-enabled", "yes", "--cluster-port", &bus]).await);
        buses.push(bus);
    }
    let bounds = [0, 5461, 10923, 16384];
    let mut first = nodes[0].connection().await;
    for (at, node) in nodes.iter().enumerate() {
        let mut redis = node.connection().await;
        redis::cmd("CLUSTER")
            .arg("ADDSLOTSRANGE")
            .arg(bounds[at])
            .arg(bounds[at + 1] - 1)
            .exec_async(&mut redis)
            .await
            .unwrap();
        redis::cmd("CLUSTER")
            .arg("MEET")
            .arg("127.0.0.1")
            .arg(node.port())
            .arg(&buses[at])
            .exec_async(&mut first)
            .await
            .unwrap();
    }
    for node in &nodes {
        let redis = node.connection().await;
        eventually("the cluster is whole", || {
            let mut redis = redis.clone();
            async move {
                let state: String = redis::cmd("CLUSTER")
                    .arg("INFO")
                    .query_async(&mut redis)
                    .await
                    .unwrap();
                state.contains("cluster_state:ok") && state.contains("cluster_known_nodes:3")
            }
        })
        .await;
    }
    nodes
}

#[tokio::test]
async fn streams_are_spread_over_a_cluster() {
    let nodes = cluster().await;
    let mut spread = settings(nodes[0].url());
    spread.topology = Topology::Cluster;
    let [here, there] = [(); 2].map(|()| Redis::connect(spread.clone()).unwrap());
    let mut owners = Vec::new();
    let mut followers = Vec::new();
    for n in 0..12 {
        let stream = name(&format!("stream {n}"));
        let mut owner = begin(&here, &stream).await;
        keep(&mut owner, record(1, 3)).await;
        let alias = name(&format!("alias {n}"));
        let given = there.alias(&alias, &stream, RETAIN, None).unwrap();
        assert_eq!(within("alias", given).await.unwrap(), None);
        let (records, follower) = join(&there, &stream).await;
        assert_eq!(records, [record(1, 3)]);
        owners.push(owner);
        followers.push(follower);
    }
    for owner in &mut owners {
        until(owner, &News::Readers(true)).await;
        keep(owner, record(4, 4)).await;
    }
    for follower in &mut followers {
        assert_eq!(next_record(follower).await, record(4, 4));
    }
    drop(owners);
    for follower in &mut followers {
        let owned = News::Owned {
            continuous: true,
            last: 4,
        };
        assert_eq!(news(follower).await, owned);
        keep(follower, record(5, 5)).await;
    }
    for node in &nodes {
        let mut redis = node.connection().await;
        let keys: u64 = redis::cmd("DBSIZE").query_async(&mut redis).await.unwrap();
        assert!(keys > 0, "every node has its share");
    }
}
