//! Taking chunked bodies apart (RFC 9112 §7.1).

use std::fmt;

/// Extensions and trailers are nothing to us, and are borne up to this size.
const MOST_IGNORED: usize = 16 * 1024;

/// Where in a chunked body the next byte lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunks {
    at: At,
    ignored: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In a chunk's size, of which so many digits were read.
    Size {
        size: u64,
        digits: u8,
    },
    /// Between its size and the end of that line.
    Extension {
        size: u64,
    },
    /// Before the LF that ends that line.
    SizeEnd {
        size: u64,
    },
    /// In a chunk, so many bytes before its end.
    Data {
        left: u64,
    },
    /// Before the CR, and the LF, that end a chunk.
    DataEnd,
    DataEndLf,
    /// At the beginning of a line after the last chunk, inside of one, and
    /// before the LF that ends it.
    Trailers,
    Trailer,
    TrailerEnd,
    /// Before the LF that ends the body.
    End,
    Over,
    /// After what is no chunked body.
    Bad(ChunkError),
}

/// What is not a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkError(&'static str);

impl Chunks {
    pub(super) fn new() -> Self {
        Self {
            at: SIZE,
            ignored: 0,
        }
    }

    /// Whether the body is complete. What follows it is not looked at.
    pub(super) fn is_over(&self) -> bool {
        self.at == At::Over
    }

    /// Why the body cannot be read any further.
    pub(super) fn error(&self) -> Option<ChunkError> {
        match self.at {
            At::Bad(error) => Some(error),
            _ => None,
        }
    }

    /// Moves the content of the chunks in `bytes` to its front, and counts it.
    /// What precedes an error is content as well: see [`error`](Self::error).
    pub(super) fn decode(&mut self, bytes: &mut [u8]) -> usize {
        let (mut from, mut to) = (0, 0);
        while from < bytes.len() && !self.is_over() && self.error().is_none() {
            if let At::Data { left } = self.at {
                let here = bytes.len() - from;
                let count = usize::try_from(left).map_or(here, |left| left.min(here));
                bytes.copy_within(from..from + count, to);
                from += count;
                to += count;
                self.at = match left - count as u64 {
                    0 => At::DataEnd,
                    left => At::Data { left },
                };
            } else {
                self.at = self.step(bytes[from]).unwrap_or_else(At::Bad);
                from += 1;
            }
        }
        to
    }

    /// One byte of framing.
    fn step(&mut self, byte: u8) -> Result<At, ChunkError> {
        match (self.at, byte) {
            (At::Size { size, digits }, _) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                let size = size.checked_mul(16).ok_or(TOO_LARGE)?;
                Ok(At::Size {
                    size: size + u64::from(digit),
                    digits: digits.saturating_add(1),
                })
            }
            (At::Size { digits: 0, .. }, _) => Err(ChunkError("a chunk without a size")),
            (At::Size { size, .. } | At::Extension { size }, b'\r') => Ok(At::SizeEnd { size }),
            (At::Size { size, .. }, b';' | b' ' | b'\t') => Ok(At::Extension { size }),
            (At::Size { .. }, _) => Err(ChunkError("a chunk's size is no number")),
            // Some read a bare LF as the end of the line: who is right decides
            // where the next response begins.
            (At::Extension { .. } | At::Trailer, b'\n') => Err(ChunkError("a bare LF")),
            (At::Extension { .. }, _) => self.ignore(self.at),
            (At::SizeEnd { size: 0 } | At::TrailerEnd, b'\n') => Ok(At::Trailers),
            (At::SizeEnd { size }, b'\n') => {
                // Per chunk: a stream may last for days.
                self.ignored = 0;
                Ok(At::Data { left: size })
            }
            (At::DataEnd, b'\r') => Ok(At::DataEndLf),
            (At::DataEndLf, b'\n') => Ok(SIZE),
            (At::DataEnd | At::DataEndLf, _) => Err(ChunkError("a chunk is longer than its size")),
            (At::Trailers, b'\r') => Ok(At::End),
            (At::Trailer, b'\r') => Ok(At::TrailerEnd),
            (At::Trailers | At::Trailer, _) => self.ignore(At::Trailer),
            (At::End, b'\n') => Ok(At::Over),
            (At::SizeEnd { .. } | At::End | At::TrailerEnd, _) => {
                Err(ChunkError("a CR without its LF"))
            }
            (At::Data { .. } | At::Over | At::Bad(_), _) => Ok(self.at),
        }
    }

    fn ignore(&mut self, next: At) -> Result<At, ChunkError> {
        self.ignored += 1;
        if self.ignored > MOST_IGNORED {
            return Err(ChunkError("too many chunk extensions or trailers"));
        }
        Ok(next)
    }
}

const SIZE: At = At::Size { size: 0, digits: 0 };

const TOO_LARGE: ChunkError = ChunkError("a chunk's size is out of all bounds");

impl fmt::Display for ChunkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for ChunkError {}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Decodes in these pieces.
    fn decode<'a>(
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(Vec<u8>, bool), ChunkError> {
        let (mut chunks, mut all) = (Chunks::new(), Vec::new());
        for piece in pieces {
            let mut piece = piece.to_vec();
            let count = chunks.decode(&mut piece);
            all.extend_from_slice(&piece[..count]);
        }
        match chunks.error() {
            Some(error) => Err(error),
            None => Ok((all, chunks.is_over())),
        }
    }

    fn chunk() -> impl Strategy<Value = (Vec<u8>, String)> {
        let extension = prop_oneof![Just(""), Just(";a=b"), Just(" "), Just(";q=\"; \"")];
        (vec(any::<u8>(), 1..40), extension.prop_map(str::to_owned))
    }

    proptest! {
        #[test]
        fn any_split_gives_the_content(
            chunks in vec(chunk(), 0..10),
            upper in any::<bool>(),
            trailers in 0..3_usize,
            cuts in vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let (mut wire, mut content) = (Vec::new(), Vec::new());
            for (data, extension) in &chunks {
                let size = if upper {
                    format!("{:02X}", data.len())
                } else {
                    format!("{:x}", data.len())
                };
                wire.extend_from_slice(format!("{size}{extension}\r\n").as_bytes());
                wire.extend_from_slice(data);
                wire.extend_from_slice(b"\r\n");
                content.extend_from_slice(data);
            }
            wire.extend_from_slice(b"0\r\n");
            wire.extend_from_slice(&b"x-trailer: 1\r\n".repeat(trailers));
            wire.extend_from_slice(b"\r\n");
            let complete = wire.len();
            wire.extend_from_slice(b"HTTP/1.1 and so on");

            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(wire.len())).collect();
            cuts.sort_unstable();
            let starts = std::iter::once(0).chain(cuts.iter().copied());
            let ends = cuts.iter().copied().chain([wire.len()]);
            let pieces: Vec<_> = starts.zip(ends).map(|(from, to)| &wire[from..to]).collect();
            prop_assert_eq!(decode(pieces).unwrap(), (content, true));
            prop_assert!(!decode([&wire[..complete - 1]]).unwrap().1);
        }

        #[test]
        fn nothing_makes_it_panic(bytes in vec(any::<u8>(), 0..200)) {
            let _ = decode(bytes.chunks(7));
        }
    }

    #[test]
    fn what_precedes_an_error_is_content() {
        let (mut chunks, mut bytes) = (Chunks::new(), *b"3\r\nabc\r\n2\r\nde\r\nx");
        let count = chunks.decode(&mut bytes);
        assert_eq!(&bytes[..count], b"abcde");
        assert!(chunks.error().is_some());
        assert_eq!(chunks.decode(&mut b"1\r\na".to_vec()), 0);
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        let long = format!("1;{}\r\n", "x".repeat(MOST_IGNORED + 1));
        let endless = format!("0\r\n{}", "a: b\r\n".repeat(MOST_IGNORED));
        for bytes in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "1g\r\n",
            "1\na",
            "1;e\na",
            "1\rx",
            "1\r\nab\r\n",
            "1\r\na\rb",
            "10000000000000000\r\n",
            "0\r\n\rx",
            "0\r\na: b\n\r\n",
            "0\r\na: b\rx",
            long.as_str(),
            endless.as_str(),
        ] {
            assert!(decode([bytes.as_bytes()]).is_err(), "{bytes:.20}");
        }
    }
}
