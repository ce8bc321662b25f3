//! `braid-link --socket PATH`: the lab's link emulator. Runs in the namespace that holds the links' ends, obeys JSON
//! lines on a Unix socket (see `protocol`) until it is killed. One thread carries frames, one listens.

use braid_link::emulator::{Emulator, Request};
use braid_link::io::poll::Wake;
use braid_link::protocol::Answer;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;
use std::sync::mpsc::{channel, Sender};
use std::sync::Arc;
use std::time::Duration;

const LONGEST_COMMAND: u64 = 64 << 10;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [option, path] = arguments.as_slice() else {
        return fail("usage: braid-link --socket PATH", 2);
    };
    if option != "--socket" {
        return fail("usage: braid-link --socket PATH", 2);
    }
    match run(path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("braid-link: {error}"), 1),
    }
}

fn fail(message: &str, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{message}");
    ExitCode::from(code)
}

fn run(path: &str) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    let wake = Arc::new(Wake::new()?);
    let (requests, inbox) = channel();
    let waker = Arc::clone(&wake);
    std::thread::spawn(move || listen(&listener, &requests, &waker));
    Emulator::run(&inbox, &wake)
}

/// Serves one client after the other; a silent one is left after two seconds.
fn listen(listener: &UnixListener, requests: &Sender<Request>, wake: &Wake) {
    for stream in listener.incoming().flatten() {
        let _ = serve(&stream, requests, wake);
    }
}

fn serve(stream: &UnixStream, requests: &Sender<Request>, wake: &Wake) -> Result<(), Error> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.set_write_timeout(Some(Duration::from_secs(2)))?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.by_ref().take(LONGEST_COMMAND).read_line(&mut line)? == 0 {
            return Ok(());
        }
        let answer = match serde_json::from_str(&line) {
            Err(error) => Answer::refused(error.to_string()),
            Ok(command) => {
                let (sender, answers) = channel();
                if requests.send((command, sender)).is_err() {
                    return Ok(());
                }
                wake.wake();
                answers.recv().unwrap_or_else(|_| Answer::refused("the emulator ended".into()))
            }
        };
        let mut text = serde_json::to_string(&answer)?;
        text.push('\n');
        let mut writer = stream;
        writer.write_all(text.as_bytes())?;
    }
}
