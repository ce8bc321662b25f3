//! Connections that another gateway of the region takes over: what it has to know of one, as bytes. Both translate for a while;
//! what is told again is merged.
//!
//! ```text
//! client: ISN 4 | cookie 4 | ts_recent 4 | ts_echo 4 | sender 16 | window 2 | mss 1 | scale 1 (255 without) | flags 1
//! server: ISN 4 | shift 4 | ts_shift 4 | ts_recent 4 | sender 16 | mss 2 | scale 1 | told 1 | marks 2 | flags 1
//! spliced: client_shift 4 | client_ts_shift 4 | until 4 | promise 12 for the client, promise 12 for the server
//! spliced or waiting: told 2
//! sender = end 4 | limit 4 | window 4 | acknowledged 4; promise = next 4 | edge 4 | promised 4
//! ```
//!
//! Flags: 1 timestamps, 2 SACK; of the server also 4 spliced, 8 and 16 the promises that are there, 32 waiting. Where the server has no
//! timestamps `ts_shift` is told with this gateway's clock added.

use crate::cookie::{Checked, Ends};
use crate::debt::{Debt, Promise};
use crate::owed::key;
use crate::records::{clock, mark, ClientSession, ProxySession, Session, State, OUR_WINDOW};
use crate::segment::parse;
use crate::verdict::Side;
use crate::window::{later, Sender};
use crate::FastPath;
use braid_packet::{FlowId, Rest, Tcp, Time};

const TIMESTAMPS: u8 = 1;
const SACK: u8 = 2;
const SPLICED: u8 = 4;
const PROMISES: [(Side, u8); 2] = [(Side::Client, 8), (Side::Server, 16)];
const WAITING: u8 = 32;
const NO_SCALE: u8 = u8::MAX;
/// Milliseconds by which our own timestamps go on ahead at the other gateway: they must not go back, and a record waits.
pub(crate) const AHEAD: u32 = 1000;
/// What is told of the marks of a connection.
const MARKS: u16 = mark::ENDS | mark::RESET | mark::SERVED | mark::AGAIN;

/// What was told of a connection: its numbers are those of the gateway that told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldSession {
    pub(crate) client: ClientSession,
    pub(crate) proxy: ProxySession,
    promises: [Option<Promise>; 2],
}

impl ToldSession {
    /// None for anything that no `write_session` has made.
    pub fn read(rest: &mut Rest<'_>) -> Option<ToldSession> {
        let scale = |scale: u8| match scale {
            NO_SCALE => Some(None),
            scale => (scale <= crate::cookie::MOST_SCALE).then_some(Some(scale)),
        };
        let [rcv_isn, snd_isn, ts_recent, ts_echo] = read_numbers(rest)?;
        let sender = read_sender(rest)?;
        let window = u16::from_be_bytes(rest.take()?);
        let [mss, client_scale, bits] = rest.take()?;
        let mut client = ClientSession {
            rcv_isn,
            snd_isn,
            ts_recent,
            ts_echo,
            sender,
            window,
            mss: mss & 7,
            // What is open, and never was a stack's, needs it no more.
            told: u16::MAX,
            scale: scale(client_scale)?,
            timestamps: bits & TIMESTAMPS != 0,
            sack: bits & SACK != 0,
        };
        let [server_isn, shift, ts_shift, ts_recent] = read_numbers(rest)?;
        let sender = read_sender(rest)?;
        let mss = u16::from_be_bytes(rest.take()?);
        let [server_scale, told] = rest.take()?;
        let marks = u16::from_be_bytes(rest.take()?);
        let [bits] = rest.take()?;
        let state = match (bits & SPLICED != 0, bits & WAITING != 0) {
            (true, true) => return None,
            (true, false) => State::Spliced,
            (false, true) => State::Waiting,
            (false, false) => State::Open,
        };
        let is_spliced = state == State::Spliced;
        let allowed = if is_spliced { MARKS } else { mark::ENDS | mark::RESET };
        if marks & !allowed != 0 || is_spliced != (marks & mark::SERVED != 0) || told > crate::cookie::MOST_SCALE {
            return None;
        }
        let [client_shift, client_ts_shift, until] = if is_spliced { read_numbers(rest)? } else { [0; 3] };
        let mut promises = [None; 2];
        for (promise, _) in promises.iter_mut().zip(PROMISES).filter(|(_, (_, bit))| bits & *bit != 0) {
            if !is_spliced {
                return None;
            }
            let [next, edge, promised] = read_numbers(rest)?;
            *promise = Some(Promise { next, edge, promised });
        }
        if state != State::Open {
            client.told = u16::from_be_bytes(rest.take()?);
        }
        let proxy = ProxySession {
            server_isn,
            shift,
            ts_shift,
            client_shift,
            client_ts_shift,
            until,
            ts_recent,
            sender,
            mss,
            scale: scale(server_scale)?,
            told,
            marks: marks | mark::SHARED,
            timestamps: bits & TIMESTAMPS != 0,
            sack: bits & SACK != 0,
            ..ProxySession::new(state)
        };
        Some(ToldSession { client, proxy, promises })
    }
}

impl FastPath {
    /// While it is set, other gateways see packets of the same connections, and windows are not judged.
    pub fn set_loose(&mut self, loose: bool) {
        self.loose = loose;
    }

    /// Whether a client's packet, of no flow, brings back a cookie.
    pub fn brings_cookie(&self, packet: &[u8]) -> bool {
        let Ok((ip, tcp)) = parse(packet) else { return false };
        let checked =
            self.keys.check(&Ends::from_client(&ip, &tcp), tcp.sequence, tcp.acknowledgement, u32::from(OUR_WINDOW));
        tcp.has(Tcp::ACK) && !tcp.has(Tcp::RST) && matches!(checked, Checked::Valid(_))
    }

    /// Appends the record of a connection, which is shared from now on; of one that the control side was asked about what it
    /// was before. False if a stack has it, or its server has yet to answer.
    pub fn write_session(&mut self, flow: FlowId, now: Time, out: &mut Vec<u8>) -> bool {
        let Some(session) = self.table.get_mut(flow) else { return false };
        let asked = match session.proxy.state {
            State::Open | State::Spliced | State::Waiting => false,
            State::Asking(_) => true,
            State::Opening(_) | State::Normal | State::Held => return false,
        };
        let is_spliced = session.proxy.has(mark::SERVED);
        session.proxy.marks |= mark::SHARED | mark::GIVEN;
        let Session { client, proxy, .. } = session;
        write_numbers([client.rcv_isn, client.snd_isn, client.ts_recent, client.ts_echo], out);
        write_sender(&client.sender, out);
        out.extend_from_slice(&client.window.to_be_bytes());
        out.extend_from_slice(&[client.mss, client.scale.unwrap_or(NO_SCALE), flags(client.timestamps, client.sack)]);
        let ts_shift = if proxy.timestamps { proxy.ts_shift } else { proxy.ts_shift.wrapping_add(clock(now)) };
        write_numbers([proxy.server_isn, proxy.shift, ts_shift, proxy.ts_recent], out);
        write_sender(&proxy.sender, out);
        out.extend_from_slice(&proxy.mss.to_be_bytes());
        out.extend_from_slice(&[proxy.scale.unwrap_or(NO_SCALE), proxy.told]);
        let again = if asked && is_spliced { mark::AGAIN } else { 0 };
        out.extend_from_slice(&(proxy.marks & MARKS | again).to_be_bytes());
        let bits = flags(proxy.timestamps, proxy.sack);
        if !is_spliced {
            let is_open = proxy.state == State::Open;
            out.push(if is_open { bits } else { bits | WAITING });
            if !is_open {
                out.extend_from_slice(&client.told.to_be_bytes());
            }
            return true;
        }
        let promises = PROMISES.map(|(to, bit)| {
            let promise = self.owed.debts.get(&key(flow, to)).and_then(Debt::promise);
            (promise, if promise.is_some() { bit } else { 0 })
        });
        out.push(promises.iter().fold(bits | SPLICED, |bits, (_, bit)| bits | bit));
        write_numbers([proxy.client_shift, proxy.client_ts_shift, proxy.until], out);
        for Promise { next, edge, promised } in promises.into_iter().filter_map(|(promise, _)| promise) {
            write_numbers([next, edge, promised], out);
        }
        out.extend_from_slice(&client.told.to_be_bytes());
        true
    }

    /// Makes or completes the record of a connection that another gateway had; `ends` are its. Where the two differ, what was
    /// told counts if it is `younger`. Not for one that is `further` here.
    pub fn take_session(&mut self, flow: FlowId, ends: &Ends, told: ToldSession, younger: bool, now: Time) {
        let ToldSession { client, proxy, promises } = told;
        let mut session = Session { flow, client, proxy };
        if !session.proxy.timestamps {
            session.proxy.ts_shift = session.proxy.ts_shift.wrapping_sub(clock(now)).wrapping_add(AHEAD);
        }
        match self.table.get_mut(flow) {
            Some(known) if is_same(known, &client, &proxy) => {
                merge(known, &session, younger);
                known.proxy.marks = known.proxy.marks & !mark::GIVEN | mark::SHARED;
                self.meet(flow, promises);
            }
            Some(_) if !younger => {}
            _ => {
                self.forget(flow);
                self.table.insert(session);
                for ((to, _), promise) in PROMISES.into_iter().zip(promises) {
                    let Some(promise) = promise else { continue };
                    let size = self.segment_size(&session, to, ends);
                    self.owed.add(flow, to, Debt::of(promise, size, now));
                    self.settle(flow, to);
                }
            }
        }
    }

    /// A promise that one of the two gateways has seen kept is kept.
    fn meet(&mut self, flow: FlowId, promises: [Option<Promise>; 2]) {
        for ((to, _), promise) in PROMISES.into_iter().zip(promises) {
            let Some(debt) = self.owed.debts.get_mut(&key(flow, to)) else { continue };
            let done = Promise { next: debt.end(), edge: debt.promised(), promised: debt.promised() };
            debt.meet(&promise.unwrap_or(done));
            self.settle(flow, to);
        }
    }
}

/// Whether both gateways translate it alike.
pub(crate) fn is_same(known: &Session, client: &ClientSession, proxy: &ProxySession) -> bool {
    let what = |client: &ClientSession, proxy: &ProxySession| {
        let ProxySession { state, shift, client_shift, server_isn, until, .. } = *proxy;
        (state, shift, client_shift, server_isn, until, client.rcv_isn, client.snd_isn)
    };
    what(&known.client, &known.proxy) == what(client, proxy)
}

fn merge(known: &mut Session, told: &Session, younger: bool) {
    let sender = |ours: &mut Sender, theirs: &Sender| {
        ours.end = later(ours.end, theirs.end);
        ours.limit = later(ours.limit, theirs.limit);
        ours.window = ours.window.max(theirs.window);
        ours.acknowledged = later(ours.acknowledged, theirs.acknowledged);
    };
    sender(&mut known.client.sender, &told.client.sender);
    sender(&mut known.proxy.sender, &told.proxy.sender);
    known.client.ts_recent = later(known.client.ts_recent, told.client.ts_recent);
    known.proxy.ts_recent = match known.proxy.ts_recent {
        0 => told.proxy.ts_recent,
        recent => later(recent, told.proxy.ts_recent),
    };
    known.proxy.marks |= told.proxy.marks;
    let behind = known.proxy.ts_shift.wrapping_add(AHEAD);
    if !known.proxy.timestamps && later(behind, told.proxy.ts_shift) != behind {
        known.proxy.ts_shift = told.proxy.ts_shift;
    }
    if younger {
        known.client.window = told.client.window;
    }
}

fn flags(timestamps: bool, sack: bool) -> u8 {
    (if timestamps { TIMESTAMPS } else { 0 }) | (if sack { SACK } else { 0 })
}

fn write_numbers<const N: usize>(numbers: [u32; N], out: &mut Vec<u8>) {
    for number in numbers {
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn write_sender(sender: &Sender, out: &mut Vec<u8>) {
    write_numbers([sender.end, sender.limit, sender.window, sender.acknowledged], out);
}

fn read_numbers<const N: usize>(rest: &mut Rest<'_>) -> Option<[u32; N]> {
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = u32::from_be_bytes(rest.take()?);
    }
    Some(numbers)
}

fn read_sender(rest: &mut Rest<'_>) -> Option<Sender> {
    let [end, limit, window, acknowledged] = read_numbers(rest)?;
    Some(Sender { end, limit, window, acknowledged })
}
