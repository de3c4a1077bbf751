//! gzip in pieces that many clients share (RFC 1951, RFC 1952).
//!
//! A piece is compressed once, with no reference to what came before it, and
//! ends on a byte: it means the same wherever it stands. What a client gets is
//! one gzip member of such pieces, and of short ones of its own that are stored
//! as they are:
//!
//! ```text
//! header │ own: ":\n" │ shared piece │ shared piece │ own: ":\n" │ end, CRC, length
//! ```
//!
//! Of a client there is only a checksum to remember. Each piece can be decoded
//! whole as soon as it is there, and without the end a member is visibly cut.

use std::cell::RefCell;

use bytes::{BufMut, Bytes, BytesMut};
use flate2::{Compress, Compression, Crc, FlushCompress};

use super::HEARTBEAT;

/// Deflate, no flags, no time, no file system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// A final block without anything in it.
const LAST_BLOCK: [u8; 2] = [0x03, 0x00];

/// The most a stored block holds, and what it has before that.
const STORED: usize = 0xffff;
const STORED_HEAD: usize = 5;

/// Own bytes of up to this length are stored: there is nothing in them to gain.
const SHORT: usize = 64;

/// A thread's room for compressed bytes is kept up to this size.
const KEPT: usize = 256 << 10;

/// [`HEARTBEAT`], stored.
const STORED_HEARTBEAT: &[u8] = &[0, 2, 0, 0xfd, 0xff, b':', b'\n'];

/// One client's gzip member, as far as it goes.
///
/// ```
/// use tower_sse::wire::HEARTBEAT;
/// use tower_sse::wire::gzip::{Member, pack};
///
/// let blocks = b"data: for all of them\n\n";
/// let packed = pack(blocks);
///
/// let mut member = Member::default();
/// let mut sent = Vec::new();
/// sent.extend(member.own(HEARTBEAT));
/// sent.extend(member.shared(b"retry: 2000\n", blocks, &packed));
/// sent.extend(member.end());
/// ```
#[derive(Debug, Default)]
pub struct Member {
    crc: Crc,
    begun: bool,
}

impl Member {
    /// Bytes that are this client's alone.
    pub fn own(&mut self, plain: &[u8]) -> Bytes {
        if self.begun && plain == HEARTBEAT {
            self.crc.update(plain);
            return Bytes::from_static(STORED_HEARTBEAT);
        }
        let mut out = BytesMut::new();
        self.begin(&mut out);
        self.put_own(plain, &mut out);
        out.freeze()
    }

    /// A piece for all, of which `packed` must be what [`pack`] made, and before
    /// it what is this client's alone. Without that, and but for the first time,
    /// the same bytes are returned, not a copy.
    ///
    /// The checksum is taken anew for each client: up to some KiB that is faster
    /// than to combine it with the piece's, and above, either is little beside
    /// sending them.
    pub fn shared(&mut self, own: &[u8], plain: &[u8], packed: &Bytes) -> Bytes {
        if self.begun && own.is_empty() {
            self.crc.update(plain);
            return packed.clone();
        }
        let mut out = BytesMut::new();
        self.begin(&mut out);
        self.put_own(own, &mut out);
        self.crc.update(plain);
        out.put_slice(packed);
        out.freeze()
    }

    /// What says that nothing is missing.
    pub fn end(mut self) -> Bytes {
        let mut out = BytesMut::new();
        self.begin(&mut out);
        out.put_slice(&LAST_BLOCK);
        out.put_u32_le(self.crc.sum());
        out.put_u32_le(self.crc.amount());
        out.freeze()
    }

    fn begin(&mut self, out: &mut BytesMut) {
        if !std::mem::replace(&mut self.begun, true) {
            out.put_slice(&HEADER);
        }
    }

    fn put_own(&mut self, plain: &[u8], out: &mut BytesMut) {
        self.crc.update(plain);
        if plain.len() <= SHORT {
            store(plain, out);
        } else {
            out.put_slice(&pack(plain));
        }
    }
}

/// Compresses a piece. If it gets no smaller by that, it is stored.
pub fn pack(plain: &[u8]) -> Bytes {
    let stored = plain.len() + plain.len().div_ceil(STORED) * STORED_HEAD;
    let packed = DEFLATE.with_borrow_mut(|deflate| {
        let packed = deflate.run(plain).filter(|packed| packed.len() < stored);
        // In an allocation of its own size: it may be kept for long.
        packed.map(Bytes::copy_from_slice)
    });
    packed.unwrap_or_else(|| {
        let mut out = BytesMut::with_capacity(stored);
        store(plain, &mut out);
        out.freeze()
    })
}

fn store(plain: &[u8], out: &mut BytesMut) {
    for part in plain.chunks(STORED) {
        let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
        out.put_u8(0);
        out.put_u16_le(length);
        out.put_u16_le(!length);
        out.put_slice(part);
    }
}

thread_local! {
    // 256 KiB and more, so there is one for a thread, not one for a client.
    static DEFLATE: RefCell<Deflate> = RefCell::new(Deflate {
        state: Compress::new(Compression::default(), false),
        out: Vec::new(),
    });
}

struct Deflate {
    state: Compress,
    out: Vec<u8>,
}

impl Deflate {
    /// Compresses from a fresh state to a byte's end; `None` if it fails, for
    /// which there is no reason.
    fn run(&mut self, plain: &[u8]) -> Option<&[u8]> {
        self.state.reset();
        if self.out.capacity() > KEPT {
            self.out = Vec::new();
        }
        self.out.clear();
        self.out.reserve(SHORT + plain.len());
        loop {
            let taken = usize::try_from(self.state.total_in()).ok()?;
            let left = plain.get(taken..)?;
            self.state
                .compress_vec(left, &mut self.out, FlushCompress::Sync)
                .ok()?;
            // It has said everything once it leaves room.
            let all = usize::try_from(self.state.total_in()).ok()? == plain.len();
            if all && self.out.len() < self.out.capacity() {
                return Some(&self.out);
            }
            self.out.reserve(SHORT + plain.len() / 2);
        }
    }
}
