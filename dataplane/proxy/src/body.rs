//! Bodies on their way: read in one framing, written in another; chunks are measured and made anew (RFC 9112 7.1).

use crate::head::{decode_trailers, Framing};
use std::io::Write;

/// Bytes of a chunk's line, and of a trailer section.
const MAX_LINE: usize = 4_096;
const MAX_TRAILERS: usize = 16_384;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadBody;

/// Reads a body to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    Length(u64),
    ChunkLine,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    Close,
    Done,
}

/// Writes a body for the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// As it is: its length is known, or it ends with the connection.
    Plain,
    Chunked,
}

impl Writer {
    fn piece(self, data: &[u8], out: &mut Vec<u8>) {
        if self == Writer::Plain {
            out.extend_from_slice(data);
        } else if !data.is_empty() {
            let _ = write!(out, "{:x}\r\n", data.len());
            out.extend_from_slice(data);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// The end of a body, with trailers where the framing has room for them.
    pub fn end(self, trailers: &[u8], out: &mut Vec<u8>) {
        if self == Writer::Chunked {
            out.extend_from_slice(b"0\r\n");
            for (name, value) in decode_trailers(trailers).iter().flat_map(|fields| fields.iter()) {
                out.extend_from_slice(name);
                out.extend_from_slice(b": ");
                out.extend_from_slice(value);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b"\r\n");
        }
    }
}

impl Reader {
    pub fn new(framing: Framing) -> Reader {
        match framing {
            Framing::Length(0) => Reader::Done,
            Framing::Length(length) => Reader::Length(length),
            Framing::Chunked => Reader::ChunkLine,
            Framing::Close => Reader::Close,
        }
    }

    pub fn is_done(self) -> bool {
        self == Reader::Done
    }

    /// Takes what it can of `data` and writes it; how many bytes were taken, and how many of these were content. What is
    /// not taken has to be offered again, with more behind it.
    pub fn read(&mut self, data: &[u8], writer: Writer, out: &mut Vec<u8>) -> Result<(usize, u64), BadBody> {
        let (mut at, mut content) = (0, 0);
        loop {
            let rest = &data[at..];
            match *self {
                Reader::Done => return Ok((at, content)),
                Reader::Close => {
                    writer.piece(rest, out);
                    return Ok((data.len(), content + rest.len() as u64));
                }
                Reader::Length(left) | Reader::Chunk(left) => {
                    let size = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    writer.piece(&rest[..size], out);
                    at += size;
                    content += size as u64;
                    let left = left - size as u64;
                    let chunked = matches!(self, Reader::Chunk(_));
                    *self = match (chunked, left) {
                        (true, 0) => Reader::ChunkEnd,
                        (true, _) => Reader::Chunk(left),
                        (false, 0) => Reader::Done,
                        (false, _) => Reader::Length(left),
                    };
                    if left > 0 {
                        return Ok((at, content));
                    }
                }
                Reader::ChunkEnd => {
                    if !b"\r\n".starts_with(&rest[..rest.len().min(2)]) {
                        return Err(BadBody);
                    }
                    if rest.len() < 2 {
                        return Ok((at, content));
                    }
                    at += 2;
                    *self = Reader::ChunkLine;
                }
                Reader::ChunkLine => {
                    let Some(end) = find(rest, b"\r\n") else {
                        return if rest.len() > MAX_LINE { Err(BadBody) } else { Ok((at, content)) };
                    };
                    let size = chunk_size(&rest[..end]).ok_or(BadBody)?;
                    at += end + 2;
                    *self = if size == 0 { Reader::Trailers } else { Reader::Chunk(size) };
                }
                Reader::Trailers => {
                    let length =
                        if rest.starts_with(b"\r\n") { Some(2) } else { find(rest, b"\r\n\r\n").map(|at| at + 4) };
                    let Some(length) = length else {
                        return if rest.len() > MAX_TRAILERS { Err(BadBody) } else { Ok((at, content)) };
                    };
                    if decode_trailers(&rest[..length]).is_none() {
                        return Err(BadBody);
                    }
                    writer.end(&rest[..length], out);
                    *self = Reader::Done;
                    return Ok((at + length, content));
                }
            }
        }
    }
}

fn find(data: &[u8], wanted: &[u8]) -> Option<usize> {
    data.windows(wanted.len()).position(|window| window == wanted)
}

/// The size that a chunk's line says; what may follow it (RFC 9112 7.1.1) is left out.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let (size, extension) = match line.iter().position(|&byte| byte == b';' || byte == b' ' || byte == b'\t') {
        Some(at) => line.split_at(at),
        None => (line, [].as_slice()),
    };
    let extension = extension.trim_ascii_start();
    let clean = line.iter().all(|&byte| byte == b'\t' || (b' '..0x7f).contains(&byte) || byte >= 0x80);
    if !clean || size.is_empty() || size.len() > 15 || !(extension.is_empty() || extension[0] == b';') {
        return None;
    }
    size.iter().try_fold(0, |value, &digit| Some(value << 4 | u64::from((digit as char).to_digit(16)?)))
}
