//! Clients that mean harm. Whatever they do, others get every event.

mod crowd;
mod frames;
mod heads;
mod http2;
mod slow;
mod smuggling;

use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::feed::PATIENCE;

/// Longer than a machine takes between two steps of a test, so that nobody
/// honest is met by it.
const LIMIT: Duration = Duration::from_secs(3);

/// Whatever the proxy still says, to the end of the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    // A reset ends it as well.
    let _ = read.expect("an end");
    String::from_utf8_lossy(&rest).into_owned()
}
