//! How far a connection has come while another node has it.

use braid_packet::Tcp;

/// How far a connection has come that another node has, as its edge saw it pass: whoever goes on when that node is gone goes
/// on from there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The owner has sent the client something.
    pub spoken: bool,
    /// The client has everything before.
    pub client: Option<u32>,
    /// The owner has everything before, and has told the client so.
    pub owner: Option<u32>,
}

/// Segments overtake each other.
pub(crate) fn advance(number: &mut Option<u32>, tcp: &Tcp) {
    let later = |before: u32| (tcp.acknowledgement.wrapping_sub(before) as i32) > 0;
    if tcp.has(Tcp::ACK) && !tcp.has(Tcp::RST) && number.is_none_or(later) {
        *number = Some(tcp.acknowledgement);
    }
}
