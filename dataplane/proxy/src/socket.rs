//! A non-blocking TCP socket and what the kernel has said of it (edge-triggered, so it says each thing once).

use mio::event::Event;
use mio::net::TcpStream;
use std::io::{self, Read, Write};

#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) stream: TcpStream,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The peer has sent its FIN, or broke the connection; bytes may lie before it.
    ended: bool,
}

#[derive(Debug)]
pub(crate) enum Got {
    Data(usize),
    End,
    Nothing,
    Broken,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Socket {
        Socket { stream, readable: false, writable: false, ended: false }
    }

    pub(crate) fn note(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.writable |= event.is_writable() || event.is_error();
        self.ended |= event.is_read_closed() || event.is_error();
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Got {
        loop {
            return match (&self.stream).read(buffer) {
                Ok(0) => {
                    self.readable = false;
                    Got::End
                }
                Ok(count) => {
                    // Less than there was room for: the kernel will tell when there is more, unless it told of the end.
                    self.readable = count == buffer.len() || self.ended;
                    Got::Data(count)
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    Got::Nothing
                }
                Err(_) => {
                    self.readable = false;
                    Got::Broken
                }
            };
        }
    }

    /// How many bytes the kernel took; 0 when it takes none now.
    pub(crate) fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        loop {
            return match (&self.stream).write(data) {
                Ok(count) => {
                    self.writable = count == data.len();
                    Ok(count)
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writable = false;
                    Ok(0)
                }
                Err(error) => Err(error),
            };
        }
    }
}
