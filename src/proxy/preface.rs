//! The PROXY protocol: what a balancer says before its client does.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Time for the header, which comes with the first packet.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The signature of version 2, and where its length stands.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const FIXED: usize = 16;

/// What version 2 may bring beside addresses; senders need a few hundred bytes.
const MOST_V2: usize = 4096;

/// The longest line of version 1, its end included (§2.1).
const MOST_V1: usize = 107;

/// Why a connection does not begin.
#[derive(Debug)]
pub(crate) enum Broken {
    Timeout,
    Io(io::Error),
    Malformed,
}

/// Reads the header and no byte more. The address is the client's, or `None`
/// where the balancer speaks for itself.
pub(crate) async fn read<I: AsyncRead + Unpin>(io: &mut I) -> Result<Option<SocketAddr>, Broken> {
    let header = tokio::time::timeout(TIMEOUT, header(io));
    let header = header.await.map_err(|_| Broken::Timeout)??;
    let config = ParseConfig {
        include_tlvs: false,
        ..ParseConfig::default()
    };
    let (parsed, length) = ProxyHeader::parse(&header, config).map_err(|_| Broken::Malformed)?;
    if length != header.len() {
        return Err(Broken::Malformed);
    }
    Ok(parsed.proxied_address().map(|address| address.source))
}

async fn header<I: AsyncRead + Unpin>(io: &mut I) -> Result<Vec<u8>, Broken> {
    // Both versions have as much.
    let mut header = vec![0; SIGNATURE.len()];
    io.read_exact(&mut header).await.map_err(Broken::Io)?;
    if header == SIGNATURE {
        rest_of_v2(io, &mut header).await?;
    } else if header.starts_with(b"PROXY ") {
        rest_of_v1(io, &mut header).await?;
    } else {
        return Err(Broken::Malformed);
    }
    Ok(header)
}

async fn rest_of_v2<I: AsyncRead + Unpin>(io: &mut I, header: &mut Vec<u8>) -> Result<(), Broken> {
    let mut fixed = [0; FIXED - SIGNATURE.len()];
    io.read_exact(&mut fixed).await.map_err(Broken::Io)?;
    header.extend_from_slice(&fixed);
    let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    if length > MOST_V2 {
        return Err(Broken::Malformed);
    }
    header.resize(FIXED + length, 0);
    let rest = io.read_exact(&mut header[FIXED..]).await;
    rest.map(drop).map_err(Broken::Io)
}

/// By the byte: what follows the line is not the header's, and it is short.
async fn rest_of_v1<I: AsyncRead + Unpin>(io: &mut I, header: &mut Vec<u8>) -> Result<(), Broken> {
    while !header.ends_with(b"\r\n") {
        if header.len() >= MOST_V1 {
            return Err(Broken::Malformed);
        }
        header.push(io.read_u8().await.map_err(Broken::Io)?);
    }
    Ok(())
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => write!(f, "it did not come within {TIMEOUT:?}"),
            Self::Io(error) => write!(f, "{error}"),
            Self::Malformed => f.write_str("there is none, or it is malformed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proxy_header::ProxiedAddress;

    use super::*;

    fn addresses() -> ProxyHeader<'static> {
        ProxyHeader::with_address(ProxiedAddress::stream(
            "192.0.2.9:4711".parse().unwrap(),
            "10.0.0.1:443".parse().unwrap(),
        ))
    }

    fn v1() -> Vec<u8> {
        let mut bytes = Vec::new();
        addresses().encode_v1(&mut bytes).unwrap();
        bytes
    }

    fn v2(header: &ProxyHeader<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        header.encode_v2(&mut bytes).unwrap();
        bytes
    }

    /// What is read of these bytes, and how many are left.
    async fn reading(bytes: &[u8]) -> (Result<Option<SocketAddr>, Broken>, usize) {
        let mut rest = bytes;
        let read = read(&mut rest).await;
        (read, rest.len())
    }

    #[tokio::test]
    async fn either_version_is_read_and_no_byte_more() {
        for header in [v1(), v2(&addresses())] {
            let (read, left) = reading(&[&header[..], b"GET /"].concat()).await;
            assert_eq!(read.unwrap(), "192.0.2.9:4711".parse().ok());
            assert_eq!(left, 5);
        }
    }

    #[tokio::test]
    async fn a_balancer_may_speak_for_itself() {
        for header in [
            b"PROXY UNKNOWN\r\n".to_vec(),
            v2(&ProxyHeader::with_local()),
        ] {
            assert_eq!(reading(&header).await.0.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let mut large = v2(&addresses());
        large[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
        large.resize(70_000, 0);
        let endless = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 10_000]].concat();
        for bytes in [
            &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            b"PROXY TCP4 999.0.2.1 10.0.0.1 1 2\r\n",
            b"PROXY TCP4\r\n\r\n",
            b"PROXY ",
            b"",
            &large,
            &endless,
        ] {
            assert!(reading(bytes).await.0.is_err(), "{}", bytes.escape_ascii());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_not_waited_out() {
        let (mut ours, _theirs) = tokio::io::duplex(64);
        assert!(matches!(read(&mut ours).await, Err(Broken::Timeout)));
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes: Vec<u8>, signed: bool, short in 0u16..100) {
            let mut all = if signed { SIGNATURE.to_vec() } else { b"PROXY ".to_vec() };
            if signed {
                all.extend([bytes.len().to_le_bytes()[0], 0x11]);
                all.extend(short.to_be_bytes());
            }
            all.extend(bytes);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let _ = runtime.unwrap().block_on(reading(&all));
        }
    }
}
