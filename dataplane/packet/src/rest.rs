/// Bytes that are read from the front, by whoever decodes a record.
#[derive(Clone, Copy, Debug)]
pub struct Rest<'a>(pub &'a [u8]);

impl<'a> Rest<'a> {
    /// None if there are fewer.
    pub fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    /// So many bytes; None if there are fewer.
    pub fn split(&mut self, length: usize) -> Option<Rest<'a>> {
        let (front, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(Rest(front))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
