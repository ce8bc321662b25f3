//! What a gateway says to offer a connection to a content proxy: `TRANSFER_REQUEST`, whose picture is in `braid/transfer.py`. The
//! edge hears `STEER` (`steering.rs`).

const VERSION: u8 = 1;
const REQUEST: u8 = 16;
const MOST_CONTENT: usize = 1024;
/// Bytes of a message, and of what is in it beside the content and the record.
const MOST_WHOLE: usize = 17_000;
const HEAD: usize = 40;

#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    pub id: [u8; 16],
    /// Milliseconds from now on in which an answer is of use.
    pub deadline: u16,
    /// Of the frozen socket: what it sends and what the server expects next.
    pub next: (u32, u32),
    /// Initial numbers of the client and of our side.
    pub initial: (u32, u32),
    /// The key of what the client asks for.
    pub content: &'a [u8],
    pub record: &'a [u8],
}

impl Offer<'_> {
    /// None: it is too large, and the origin serves it.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let length = HEAD + self.content.len() + self.record.len();
        if self.content.is_empty() || self.content.len() > MOST_CONTENT || length > MOST_WHOLE {
            return None;
        }
        let mut out = Vec::with_capacity(length);
        out.extend([VERSION, REQUEST]);
        out.extend((length as u16).to_be_bytes());
        out.extend(self.id);
        out.extend(self.deadline.to_be_bytes());
        let numbers = [self.next.0, self.next.1, self.initial.0, self.initial.1];
        numbers.iter().for_each(|number| out.extend(number.to_be_bytes()));
        out.extend((self.content.len() as u16).to_be_bytes());
        out.extend_from_slice(self.content);
        out.extend_from_slice(self.record);
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asked::Asked;

    #[test]
    fn it_has_the_picture_that_proxies_know() {
        let text = include_str!("../../../tests/vectors/transfer.txt");
        let line = text.lines().find_map(|line| line.strip_prefix("request_of_a_connection: ")).unwrap();
        let digits: Vec<u8> = line.bytes().filter(|byte| *byte != b' ').collect();
        let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
        let golden: Vec<u8> = digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect();
        let asked = Asked::decode(&golden).unwrap();
        let offer = Offer {
            id: asked.id,
            deadline: 100,
            next: (0x0102_0304, 0x0a0b_0c0a),
            initial: (7, 8),
            content: asked.content,
            record: &golden[HEAD + asked.content.len()..],
        };
        assert_eq!(offer.encode(), Some(golden.clone()));
        let long = vec![0; MOST_WHOLE - HEAD];
        assert_eq!(
            Offer { record: &long[1..], content: b"x", ..offer }.encode().map(|all| all.len()),
            Some(MOST_WHOLE)
        );
        assert_eq!(Offer { record: &long, content: b"x", ..offer }.encode(), None);
        assert_eq!(Offer { content: b"", ..offer }.encode(), None);
        assert_eq!(Offer { content: &long[..MOST_CONTENT + 1], ..offer }.encode(), None);
    }
}
