//! Header fields from one side's terms to the other's, in place, once per (super-)packet.

use crate::options::{timestamps, Walk, NOP, SACK, TIMESTAMPS};
use crate::records::Session;
use crate::Reason;
use braid_packet::checksum::{self, Change};
use braid_packet::{Ip, Tcp};

const SEQUENCE: usize = 4;
const ACKNOWLEDGEMENT: usize = 8;
const FLAGS: usize = 13;
const WINDOW: usize = 14;
const CHECKSUM: usize = 16;
const OPTIONS: usize = 20;

/// What becomes of the options.
struct Rules {
    /// Added to timestamps and to their echoes; None blanks both.
    timestamps: Option<(u32, u32)>,
    /// Added to both edges of SACK blocks; None blanks them.
    sack: Option<u32>,
}

/// Where a segment stands for the other side, and what it says to it of what that one sends, in that one's terms.
pub(crate) struct Terms {
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: u32,
    pub(crate) window: u16,
    /// Whether its blocks mean anything there.
    pub(crate) sack: bool,
}

impl Terms {
    /// Of a client's segment.
    pub(crate) fn for_server(session: &Session, tcp: &Tcp) -> Terms {
        let shift = if tcp.has(Tcp::ACK) { session.proxy.shift } else { 0 };
        Terms {
            sequence: tcp.sequence.wrapping_add(session.proxy.client_shift),
            acknowledgement: tcp.acknowledgement.wrapping_add(shift),
            window: session.window_for_server(tcp.window),
            sack: session.client.sack && session.proxy.sack,
        }
    }

    /// Of a server's segment.
    pub(crate) fn for_client(session: &Session, tcp: &Tcp) -> Terms {
        let shift = if tcp.has(Tcp::ACK) { session.proxy.client_shift } else { 0 };
        Terms {
            sequence: tcp.sequence.wrapping_sub(session.proxy.shift),
            acknowledgement: tcp.acknowledgement.wrapping_sub(shift),
            window: session.window_for_client(tcp.window),
            sack: session.client.sack && session.proxy.sack,
        }
    }
}

/// Takes the FIN off a segment.
pub(crate) fn without_end(packet: &mut [u8], ip: &Ip, tcp: &Tcp, partial: bool) -> Tcp {
    let flags = tcp.flags & !Tcp::FIN;
    let at = ip.header_len;
    if let Some(header) = packet.get_mut(at..at + OPTIONS) {
        let checksum = u16::from_be_bytes([header[CHECKSUM], header[CHECKSUM + 1]]);
        let (old, new) = ([header[FLAGS - 1], header[FLAGS]], [header[FLAGS - 1], header[FLAGS] & !Tcp::FIN]);
        header[FLAGS] = new[1];
        if !partial {
            let checksum = checksum::update(checksum, &old, &new);
            header[CHECKSUM..CHECKSUM + 2].copy_from_slice(&checksum.to_be_bytes());
        }
    }
    Tcp { flags, ..*tcp }
}

/// A client's segment for the server.
pub(crate) fn to_server(
    session: &Session,
    packet: &mut [u8],
    ip: &Ip,
    tcp: &Tcp,
    partial: bool,
    terms: &Terms,
) -> Result<(), Reason> {
    let proxy = &session.proxy;
    let rules = Rules {
        timestamps: proxy.timestamps.then_some((proxy.client_ts_shift, proxy.ts_shift.wrapping_neg())),
        sack: terms.sack.then_some(proxy.shift),
    };
    rewrite(packet, ip, tcp, partial, terms, &rules)
}

/// A server's segment for the client. Where only the client has timestamps they are still missing.
pub(crate) fn to_client(
    session: &Session,
    packet: &mut [u8],
    ip: &Ip,
    tcp: &Tcp,
    partial: bool,
    terms: &Terms,
) -> Result<(), Reason> {
    let proxy = &session.proxy;
    let rules = Rules {
        timestamps: proxy.timestamps.then_some((proxy.ts_shift, proxy.client_ts_shift.wrapping_neg())),
        sack: terms.sack.then_some(proxy.client_shift.wrapping_neg()),
    };
    rewrite(packet, ip, tcp, partial, terms, &rules)
}

fn rewrite(packet: &mut [u8], ip: &Ip, tcp: &Tcp, partial: bool, terms: &Terms, rules: &Rules) -> Result<(), Reason> {
    let &Terms { sequence, acknowledgement, window, .. } = terms;
    let header = packet.get_mut(ip.header_len..ip.header_len + tcp.header_len).ok_or(Reason::Options)?;
    let (fixed, options) = header.split_at_mut(OPTIONS);
    let mut old = [0; braid_packet::MOST_OPTIONS];
    let length = options.len().min(old.len());
    old[..length].copy_from_slice(options);
    rewrite_options(options, rules)?;
    let change = Change::of(tcp.sequence.to_be_bytes(), sequence.to_be_bytes())
        .and(Change::of(tcp.acknowledgement.to_be_bytes(), acknowledgement.to_be_bytes()))
        .and(Change::of(tcp.window.to_be_bytes(), window.to_be_bytes()));
    fixed[SEQUENCE..SEQUENCE + 4].copy_from_slice(&sequence.to_be_bytes());
    fixed[ACKNOWLEDGEMENT..ACKNOWLEDGEMENT + 4].copy_from_slice(&acknowledgement.to_be_bytes());
    fixed[WINDOW..WINDOW + 2].copy_from_slice(&window.to_be_bytes());
    if !partial {
        let field = u16::from_be_bytes([fixed[CHECKSUM], fixed[CHECKSUM + 1]]);
        let updated = checksum::update(change.of_checksum(field), &old[..length], options);
        fixed[CHECKSUM..CHECKSUM + 2].copy_from_slice(&updated.to_be_bytes());
    }
    Ok(())
}

/// Nothing is changed where a length lies.
fn rewrite_options(options: &mut [u8], rules: &Rules) -> Result<(), Reason> {
    // The usual case: timestamps alone.
    if let ([NOP, NOP, TIMESTAMPS, 10, ..], 12) = (&*options, options.len()) {
        rewrite_option(&mut options[2..], rules);
        return Ok(());
    }
    if Walk(options).any(|option| option.is_none()) {
        return Err(Reason::Options);
    }
    let mut at = 0;
    while at < options.len() {
        let length = match options[at] {
            0 => break,
            NOP => 1,
            _ => {
                let length = options.get(at + 1).map_or(0, |&length| usize::from(length));
                let Some(option) = options.get_mut(at..at + length) else { break };
                rewrite_option(option, rules);
                length.max(1)
            }
        };
        at += length;
    }
    Ok(())
}

/// What is not negotiated becomes NOPs.
fn rewrite_option(option: &mut [u8], rules: &Rules) {
    match (option.first(), rules.timestamps, rules.sack) {
        (Some(&TIMESTAMPS), Some((to_value, to_echo)), _) => {
            if let Some((value, echo)) = timestamps(option) {
                option[2..6].copy_from_slice(&value.wrapping_add(to_value).to_be_bytes());
                option[6..10].copy_from_slice(&echo.wrapping_add(to_echo).to_be_bytes());
                return;
            }
        }
        (Some(&SACK), _, Some(shift)) if option.len() % 8 == 2 => {
            for edge in option[2..].chunks_exact_mut(4) {
                let moved = u32::from_be_bytes([edge[0], edge[1], edge[2], edge[3]]).wrapping_add(shift);
                edge.copy_from_slice(&moved.to_be_bytes());
            }
            return;
        }
        _ => {}
    }
    option.fill(NOP);
}
