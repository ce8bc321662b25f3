//! What a packet that is admitted changes of its session beside the numbers.

use crate::options::find_timestamps;
use crate::records::{mark, Session, State};
use crate::segment::options;
use crate::window::at_most;
use braid_packet::{Ip, Tcp};

/// An end that goes through. A reset counts if its number is not before what its sender has sent.
pub(crate) fn note_end(session: &mut Session, whose: u16, tcp: &Tcp, is_next: bool) {
    if tcp.has(Tcp::FIN) {
        session.proxy.marks |= whose;
    } else if is_next {
        session.proxy.marks |= whose | mark::RESET;
    }
}

/// Whoever resets a connection sends no new data on it: that reset was forged or refused. Whether there was one.
pub(crate) fn is_revived(session: &mut Session, whose: u16, tcp: &Tcp) -> bool {
    let revived = session.proxy.has(whose) && tcp.payload > 0 && !tcp.has(Tcp::RST);
    if revived {
        session.proxy.marks &= !(whose | mark::RESET);
    }
    revived
}

/// What acknowledgements of our own, and timestamps that the server does not have, are made from.
pub(crate) fn note_client(session: &mut Session, packet: &[u8], ip: &Ip, tcp: &Tcp) {
    session.client.window = tcp.window;
    if session.client.timestamps && (!session.proxy.timestamps || session.proxy.state != State::Open) {
        if let Some((value, echo)) = find_timestamps(options(packet, ip, tcp)) {
            if session.client.ts_recent == 0 || at_most(session.client.ts_recent, value) {
                session.client.ts_recent = value;
            }
            session.note_seen_by_client(echo);
        }
    }
}

/// The server's last timestamp: what is echoed to it when its connection is spliced.
pub(crate) fn note_server(session: &mut Session, packet: &[u8], ip: &Ip, tcp: &Tcp) {
    if let Some((value, echo)) = find_timestamps(options(packet, ip, tcp)) {
        if session.proxy.ts_recent == 0 || at_most(session.proxy.ts_recent, value) {
            session.proxy.ts_recent = value;
        }
        session.note_seen_by_server(echo);
    }
}
