//! Ports that can be taken again after a restart.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below those that systems give to outgoing connections: while a server is
/// away, none of the many clients may happen to come from its port.
const FIRST: u16 = 15_000;
const COUNT: u16 = 15_000;

/// A port that is free, and is given to nobody else in this process.
pub(crate) fn free() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = std::process::id().wrapping_mul(97) % u32::from(COUNT);
    for _ in 0..COUNT {
        let next = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let offset = u16::try_from((begin + next) % u32::from(COUNT)).unwrap();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, FIRST + offset)).is_ok() {
            return FIRST + offset;
        }
    }
    panic!("no free port from {FIRST} on");
}
