//! What an end has, wants and is able to do.

#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub v6: bool,
    pub timestamps: bool,
    pub sack: bool,
    pub scale: Option<u8>,
    /// Largest packet on its own link.
    pub mtu: u16,
    pub window: u32,
    /// Bytes to send.
    pub bytes: usize,
    /// Segments in one super-packet, for a server.
    pub burst: usize,
    /// Bytes per segment, if less than the peer allows.
    pub segment: usize,
}

/// An end that has all options, and so many bytes to send.
pub fn usual(v6: bool, bytes: usize) -> Setting {
    Setting { v6, timestamps: true, sack: true, scale: Some(7), mtu: 1500, window: 20_000, bytes, burst: 1, segment: 0 }
}
