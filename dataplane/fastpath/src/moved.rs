//! Connections that another gateway of the region takes over: what it has to know of one, as bytes. Both translate for a while;
//! what is told again is merged.
//!
//! ```text
//! client: ISN 4 | cookie 4 | ts_recent 4 | ts_echo 4 | sender 16 | window 2 | mss 1 | scale 1 (255 without) | flags 1
//! server: ISN 4 | shift 4 | ts_shift 4 | ts_recent 4 | sender 16 | mss 2 | scale 1 | told 1 | marks 2 | flags 1
//! sender = end 4 | limit 4 | window 4 | acknowledged 4
//! ```
//!
//! Flags: 1 timestamps, 2 SACK. Where the server has no timestamps `ts_shift` is told with this gateway's clock added.

use crate::cookie::Checked;
use crate::fast_path::parse;
use crate::records::{clock, mark, ClientSession, ProxySession, Session, State, OUR_WINDOW};
use crate::stranger::ends;
use crate::window::{later, Sender};
use crate::FastPath;
use braid_packet::{FlowId, Rest, Tcp, Time};

const TIMESTAMPS: u8 = 1;
const SACK: u8 = 2;
const NO_SCALE: u8 = u8::MAX;
/// Milliseconds by which our own timestamps go on ahead at the other gateway: they must not go back, and a record waits.
const AHEAD: u32 = 1000;

impl FastPath {
    /// While it is set, other gateways see packets of the same connections, and windows are not judged.
    pub fn set_loose(&mut self, loose: bool) {
        self.loose = loose;
    }

    /// Whether all there is of a connection is its record.
    pub fn may_move(&self, flow: FlowId) -> bool {
        self.table.get(flow).is_some_and(|session| session.proxy.state == State::Open)
    }

    /// Whether a client's packet, of no flow, brings back a cookie.
    pub fn brings_cookie(&self, packet: &[u8]) -> bool {
        let Ok((ip, tcp)) = parse(packet) else { return false };
        let checked = self.keys.check(&ends(&ip, &tcp), tcp.sequence, tcp.acknowledgement, u32::from(OUR_WINDOW));
        tcp.has(Tcp::ACK) && !tcp.has(Tcp::RST) && matches!(checked, Checked::Valid(_))
    }

    /// Appends the record of a connection. False if it cannot move now.
    pub fn write_session(&self, flow: FlowId, now: Time, out: &mut Vec<u8>) -> bool {
        let Some(session) = self.table.get(flow).filter(|_| self.may_move(flow)) else { return false };
        let Session { client, proxy, .. } = session;
        for number in [client.rcv_isn, client.snd_isn, client.ts_recent, client.ts_echo] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        write_sender(&client.sender, out);
        out.extend_from_slice(&client.window.to_be_bytes());
        out.extend_from_slice(&[client.mss, client.scale.unwrap_or(NO_SCALE), flags(client.timestamps, client.sack)]);
        let ts_shift = if proxy.timestamps { proxy.ts_shift } else { proxy.ts_shift.wrapping_add(clock(now)) };
        for number in [proxy.server_isn, proxy.shift, ts_shift, proxy.ts_recent] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        write_sender(&proxy.sender, out);
        out.extend_from_slice(&proxy.mss.to_be_bytes());
        out.extend_from_slice(&[proxy.scale.unwrap_or(NO_SCALE), proxy.told]);
        out.extend_from_slice(&proxy.marks.to_be_bytes());
        out.push(flags(proxy.timestamps, proxy.sack));
        true
    }

    /// Makes or completes the record of a connection that another gateway had. None for anything that no `write_session` has
    /// made. `younger`: it has seen the last packet.
    pub fn take_session(&mut self, flow: FlowId, rest: &mut Rest<'_>, younger: bool, now: Time) -> Option<()> {
        let mut told = read(flow, rest)?;
        if !told.proxy.timestamps {
            told.proxy.ts_shift = told.proxy.ts_shift.wrapping_sub(clock(now)).wrapping_add(AHEAD);
        }
        match self.table.get_mut(flow) {
            None => self.table.insert(told),
            Some(known) => merge(known, &told, younger),
        }
        Some(())
    }
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
    known.proxy.marks |= told.proxy.marks;
    if younger {
        known.client.window = told.client.window;
    }
}

fn flags(timestamps: bool, sack: bool) -> u8 {
    (if timestamps { TIMESTAMPS } else { 0 }) | (if sack { SACK } else { 0 })
}

fn write_sender(sender: &Sender, out: &mut Vec<u8>) {
    for number in [sender.end, sender.limit, sender.window, sender.acknowledged] {
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn read_sender(rest: &mut Rest<'_>) -> Option<Sender> {
    let [end, limit, window, acknowledged] =
        [rest.take()?, rest.take()?, rest.take()?, rest.take()?].map(u32::from_be_bytes);
    Some(Sender { end, limit, window, acknowledged })
}

fn read(flow: FlowId, rest: &mut Rest<'_>) -> Option<Session> {
    let scale = |scale: u8| match scale {
        NO_SCALE => Some(None),
        scale => (scale <= crate::cookie::MOST_SCALE).then_some(Some(scale)),
    };
    let [rcv_isn, snd_isn, ts_recent, ts_echo] =
        [rest.take()?, rest.take()?, rest.take()?, rest.take()?].map(u32::from_be_bytes);
    let sender = read_sender(rest)?;
    let window = u16::from_be_bytes(rest.take()?);
    let [mss, client_scale, bits] = rest.take()?;
    let client = ClientSession {
        rcv_isn,
        snd_isn,
        ts_recent,
        ts_echo,
        sender,
        window,
        mss: mss & 7,
        // What is open needs it no more.
        told: u16::MAX,
        scale: scale(client_scale)?,
        timestamps: bits & TIMESTAMPS != 0,
        sack: bits & SACK != 0,
    };
    let [server_isn, shift, ts_shift, ts_recent] =
        [rest.take()?, rest.take()?, rest.take()?, rest.take()?].map(u32::from_be_bytes);
    let sender = read_sender(rest)?;
    let mss = u16::from_be_bytes(rest.take()?);
    let [server_scale, told] = rest.take()?;
    let marks = u16::from_be_bytes(rest.take()?);
    let [bits] = rest.take()?;
    if marks & !(mark::ENDS | mark::RESET) != 0 || told > crate::cookie::MOST_SCALE {
        return None;
    }
    let proxy = ProxySession {
        server_isn,
        shift,
        ts_shift,
        ts_recent,
        sender,
        mss,
        scale: scale(server_scale)?,
        told,
        marks,
        timestamps: bits & TIMESTAMPS != 0,
        sack: bits & SACK != 0,
        ..ProxySession::new(State::Open)
    };
    Some(Session { flow, client, proxy })
}
