//! `braid-traffic MODE ...`: numbered packets and bulk streams to measure a network with; `--help` tells all.

use braid_link::traffic::options::{parse, Mode, Options};
use braid_link::traffic::{flood, tcp, udp};
use serde::Serialize;
use std::io::{stderr, stdout, Error, ErrorKind, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let options = match parse(&words) {
        Ok(options) => options,
        Err(message) => {
            let _ = writeln!(stderr(), "{message}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(stderr(), "braid-traffic: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Error> {
    // `parse` makes sure that each mode has the address it needs.
    let missing = || Error::new(ErrorKind::InvalidInput, "an address is missing");
    let (to, bind) = (options.to.ok_or_else(missing), options.bind.ok_or_else(missing));
    match options.mode {
        Mode::UdpSend => print(&udp::send(options, to?)?),
        Mode::UdpRecv => print(&udp::receive(options, bind?, ready)?),
        Mode::UdpEcho => return udp::echo(bind?, ready),
        Mode::SynFlood => print(&flood::send(options, to?)?),
        Mode::TcpSend => print(&tcp::connect(to?, options.seconds, true)?),
        Mode::TcpRecv => print(&tcp::connect(to?, options.seconds, false)?),
        Mode::TcpSink => return tcp::serve(bind?, false, ready, |bulk| print(&bulk)),
        Mode::TcpSource => return tcp::serve(bind?, true, ready, |bulk| print(&bulk)),
    }
    Ok(())
}

/// On stderr, so that whoever started this program knows when to start the other end.
fn ready() {
    let _ = writeln!(stderr(), "listening");
}

fn print(result: &impl Serialize) {
    let text = serde_json::to_string(result).unwrap_or_default();
    let mut out = stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
