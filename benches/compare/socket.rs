//! Sockets that the standard library does not make.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};

use mio::net::TcpStream;
use socket2::{Domain, Socket, Type};

/// Connections that may wait to be accepted; peers are given the same.
pub(crate) const BACKLOG: i32 = 4096;

/// A listener on a free port of 127.0.0.1, not blocking.
pub(crate) fn listen() -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&address(Ipv4Addr::LOCALHOST).into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Begins to connect to `to`, from an address that is the `index`th client's
/// own: one address has too few ports for all of them.
pub(crate) fn connect(to: SocketAddr, index: usize) -> io::Result<TcpStream> {
    let [.., high, low] = u32::try_from(index).unwrap_or(0).to_be_bytes();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address(Ipv4Addr::new(127, 1, high, low.max(1))).into())?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => return Err(error),
        _ => {}
    }
    socket.set_tcp_nodelay(true)?;
    Ok(TcpStream::from_std(socket.into()))
}

/// `EINPROGRESS` of Linux, which the standard library has no name for.
const IN_PROGRESS: i32 = 115;

fn address(ip: Ipv4Addr) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(ip, 0))
}

/// A port of 127.0.0.1 that nobody listened on a moment ago.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
