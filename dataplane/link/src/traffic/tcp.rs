//! Bulk TCP in either direction.

use crate::io::socket::retransmits;
use serde::Serialize;
use std::io::{Error, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const CHUNK: usize = 256 << 10;

#[derive(Debug, Serialize)]
pub struct Bulk {
    pub bytes: u64,
    pub seconds: f64,
    pub gigabits_per_second: f64,
    /// By this end.
    pub retransmits: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

pub fn connect(to: SocketAddr, seconds: f64, sending: bool) -> Result<Bulk, Error> {
    let stream = TcpStream::connect_timeout(&to, Duration::from_secs(10))?;
    Ok(bulk(stream, Some(Duration::from_secs_f64(seconds)), sending))
}

/// Serves for ever; `ready` is called when clients may connect, `done` gets the result of each connection.
pub fn serve(bind: SocketAddr, sending: bool, ready: fn(), done: fn(Bulk)) -> Result<(), Error> {
    let listener = TcpListener::bind(bind)?;
    ready();
    // A connection that failed before it was accepted is its client's affair.
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || done(bulk(stream, None, sending)));
    }
    Ok(())
}

fn bulk(mut stream: TcpStream, limit: Option<Duration>, sending: bool) -> Bulk {
    let mut chunk = vec![0; CHUNK];
    let began = Instant::now();
    let mut bytes = 0;
    let mut error = None;
    let over = |began: &Instant| limit.is_some_and(|limit| began.elapsed() >= limit);
    // A stalled connection must not keep the measurement beyond its time.
    let timeout = limit.map(|limit| limit.min(Duration::from_secs(5)));
    let _ = stream.set_read_timeout(timeout);
    let _ = stream.set_write_timeout(timeout);
    while !over(&began) {
        let result = if sending { stream.write(&chunk) } else { stream.read(&mut chunk) };
        match result {
            Ok(0) => break,
            Ok(count) => bytes += count as u64,
            Err(problem) => {
                error = Some(problem.to_string());
                break;
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    Bulk {
        bytes,
        seconds,
        gigabits_per_second: bytes as f64 * 8e-9 / seconds,
        retransmits: retransmits(&stream),
        error,
    }
}
