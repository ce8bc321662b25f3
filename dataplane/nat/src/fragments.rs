pub(crate) use braid_packet::Datagram;

/// Flow of a datagram, and the identification its fragments get: those of two clients behind one address
/// must not be equal (RFC 6864 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) index: u32,
    pub(crate) serial: u32,
    pub(crate) id: u32,
}

pub(crate) type Fragments = braid_packet::Fragments<Known>;
