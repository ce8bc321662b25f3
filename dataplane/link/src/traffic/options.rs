//! The command line of `braid-traffic`.

use std::net::SocketAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    UdpSend,
    UdpRecv,
    UdpEcho,
    SynFlood,
    TcpSend,
    TcpRecv,
    TcpSink,
    TcpSource,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub mode: Mode,
    pub to: Option<SocketAddr>,
    pub bind: Option<SocketAddr>,
    pub rate: f64,
    pub seconds: f64,
    pub size: usize,
    pub idle: f64,
    pub echo: bool,
    pub window: Option<u64>,
}

pub const USAGE: &str = "\
usage: braid-traffic MODE [options], the result is one line of JSON on stdout; servers say listening on stderr
  udp-send   numbered datagrams to --to at --rate packets/s for --seconds, --size bytes each;
             --echo also measures what an udp-echo at the other end sends back,
             and with --window no more than so many are without an answer at any time
  udp-recv   counts at --bind until the sender's end, or --idle seconds of silence after the first, or --seconds
  udp-echo   sends back whatever arrives at --bind, until killed
  syn-flood  SYNs to --to at --rate packets/s for --seconds, each from another address of 198.18.0.0/15 (root)
  tcp-send   as much as it can to --to for --seconds          tcp-sink    takes it at --bind, one JSON line per connection
  tcp-recv   takes as much as it can from --to for --seconds  tcp-source  gives it at --bind, one JSON line per connection
options: --to ADDRESS:PORT --bind ADDRESS:PORT --rate 10000 --seconds 10 --size 1000 --idle 2 --echo --json";

/// `words` without the program's name; the error is for the user. udp-recv has no time limit unless told.
pub fn parse(words: &[String]) -> Result<Options, String> {
    let mut words = words.iter();
    let mode = match words.next().map(String::as_str) {
        Some("udp-send") => Mode::UdpSend,
        Some("udp-recv") => Mode::UdpRecv,
        Some("udp-echo") => Mode::UdpEcho,
        Some("syn-flood") => Mode::SynFlood,
        Some("tcp-send") => Mode::TcpSend,
        Some("tcp-recv") => Mode::TcpRecv,
        Some("tcp-sink") => Mode::TcpSink,
        Some("tcp-source") => Mode::TcpSource,
        _ => return Err(USAGE.into()),
    };
    let mut options = Options {
        mode,
        to: None,
        bind: None,
        rate: 10_000.0,
        seconds: if mode == Mode::UdpRecv { 86_400.0 } else { 10.0 },
        size: 1000,
        idle: 2.0,
        echo: false,
        window: None,
    };
    while let Some(key) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{key} needs a value"));
        match key.as_str() {
            "--to" => options.to = Some(address(key, value()?)?),
            "--bind" => options.bind = Some(address(key, value()?)?),
            "--rate" => options.rate = number(key, value()?, 0.001, 10e6)?,
            "--seconds" => options.seconds = number(key, value()?, 0.001, 1e6)?,
            "--idle" => options.idle = number(key, value()?, 0.01, 1e6)?,
            "--size" => options.size = number(key, value()?, 24.0, 65_507.0)? as usize,
            "--window" => options.window = Some(number(key, value()?, 1.0, 1e6)? as u64),
            "--echo" => options.echo = true,
            "--json" => {}
            _ => return Err(format!("{key} is no option\n{USAGE}")),
        }
    }
    match mode {
        Mode::UdpSend | Mode::SynFlood | Mode::TcpSend | Mode::TcpRecv if options.to.is_none() => {
            Err("--to ADDRESS:PORT is needed".into())
        }
        Mode::UdpRecv | Mode::UdpEcho | Mode::TcpSink | Mode::TcpSource if options.bind.is_none() => {
            Err("--bind ADDRESS:PORT is needed".into())
        }
        _ if options.window.is_some() && !options.echo => Err("--window needs --echo".into()),
        _ => Ok(options),
    }
}

fn address(key: &str, text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{key} {text}: write ADDRESS:PORT or [ADDRESS]:PORT"))
}

fn number(key: &str, text: &str, least: f64, most: f64) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        _ => Err(format!("{key} {text}: a number from {least} to {most} is needed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Options, String> {
        parse(&text.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read_or_explained() {
        let options = of("udp-send --to [fd80::1]:9 --rate 5e4 --seconds 3 --size 100 --json --echo").unwrap();
        assert_eq!((options.rate, options.seconds, options.size, options.echo), (5e4, 3.0, 100, true));
        assert_eq!(options.window, None);
        assert_eq!(of("udp-send --to 1.1.1.1:1 --echo --window 8").unwrap().window, Some(8));
        assert!(of("syn-flood").unwrap_err().contains("--to"));
        assert!(of("udp-send").unwrap_err().contains("--to"));
        assert!(of("udp-recv --bind x").unwrap_err().contains("ADDRESS:PORT"));
        assert!(of("udp-send --to 1.1.1.1:1 --size 10").unwrap_err().contains("24"));
        assert!(of("udp-send --to 1.1.1.1:1 --window 8").unwrap_err().contains("--echo"));
        assert!(of("udp-send --to").unwrap_err().contains("value"));
        assert!(of("").unwrap_err().starts_with("usage"));
    }
}
