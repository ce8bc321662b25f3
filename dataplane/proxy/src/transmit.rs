//! The client transmit buffer of a relayed connection: what goes to the server, kept until it need not be sent again.

#[derive(Debug)]
pub struct Transmit {
    packets: Vec<u8>,
    sent: usize,
    whole: bool,
    limit: usize,
}

impl Transmit {
    pub fn new(limit: usize) -> Transmit {
        Transmit { packets: Vec::new(), sent: 0, whole: true, limit }
    }

    /// Bytes that no server has had.
    pub fn waiting(&self) -> &[u8] {
        &self.packets[self.sent..]
    }

    pub fn is_full(&self) -> bool {
        self.packets.len() - self.sent >= self.limit
    }

    pub fn store(&mut self) -> &mut Vec<u8> {
        &mut self.packets
    }

    /// The server has `count` bytes more. Beyond the limit nothing is kept.
    pub fn advance(&mut self, count: usize) {
        self.sent += count;
        if !self.whole || self.sent > self.limit {
            self.commit();
            self.whole = false;
        }
    }

    /// Whether all that was sent is still here.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Take back what was sent, for another server; false when it is no longer all here.
    pub fn rewind(&mut self) -> bool {
        if self.whole {
            self.sent = 0;
        }
        self.whole
    }

    /// What was sent need not be repeated: the server has begun to answer.
    pub fn commit(&mut self) {
        self.packets.drain(..self.sent);
        self.sent = 0;
        self.whole = true;
    }

    /// Before another request: what no server is to have is forgotten.
    pub fn clear(&mut self) {
        self.packets.clear();
        self.sent = 0;
        self.whole = true;
    }
}
