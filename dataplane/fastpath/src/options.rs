//! TCP options: those of a SYN read and written, those of other segments found.

use braid_packet::MOST_OPTIONS;

const END: u8 = 0;
pub(crate) const NOP: u8 = 1;
const MSS: u8 = 2;
const SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
pub(crate) const SACK: u8 = 5;
pub(crate) const TIMESTAMPS: u8 = 8;
/// Of the timestamps option, and of it with the two NOPs in front.
pub(crate) const TIMESTAMPS_LEN: usize = 10;
pub(crate) const TIMESTAMPS_ROOM: usize = 12;

/// What a SYN or SYN-ACK offers, or ours is to offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    pub mss: Option<u16>,
    pub scale: Option<u8>,
    pub sack: bool,
    /// Value and echo reply.
    pub timestamps: Option<(u32, u32)>,
}

impl Offer {
    /// Unknown options are passed over. None if a length lies.
    pub fn read(options: &[u8]) -> Option<Offer> {
        let mut offer = Offer::default();
        for option in Walk(options) {
            match option? {
                [MSS, 4, high, low] => offer.mss = Some(u16::from_be_bytes([*high, *low])),
                [SCALE, 3, scale] => offer.scale = Some(*scale),
                [SACK_PERMITTED, 2] => offer.sack = true,
                option => offer.timestamps = timestamps(option).or(offer.timestamps),
            }
        }
        Some(offer)
    }

    /// The bytes and how many they are, padded to words.
    pub(crate) fn write(&self) -> ([u8; MOST_OPTIONS], usize) {
        let mut out = [NOP; MOST_OPTIONS];
        let mut used = 0;
        let mut put = |bytes: &[u8]| {
            out[used..used + bytes.len()].copy_from_slice(bytes);
            used += bytes.len();
        };
        if let Some(mss) = self.mss {
            let [high, low] = mss.to_be_bytes();
            put(&[MSS, 4, high, low]);
        }
        match (self.sack, self.timestamps.is_some()) {
            (true, true) => put(&[SACK_PERMITTED, 2]),
            (true, false) => put(&[NOP, NOP, SACK_PERMITTED, 2]),
            (false, true) => put(&[NOP, NOP]),
            (false, false) => {}
        }
        if let Some((value, echo)) = self.timestamps {
            put(&timestamps_option(value, echo)[2..]);
        }
        if let Some(scale) = self.scale {
            put(&[NOP, SCALE, 3, scale]);
        }
        (out, used)
    }
}

/// The option with two NOPs in front, as most senders write it.
pub(crate) fn timestamps_option(value: u32, echo: u32) -> [u8; TIMESTAMPS_ROOM] {
    let mut out = [NOP; TIMESTAMPS_ROOM];
    out[2] = TIMESTAMPS;
    out[3] = TIMESTAMPS_LEN as u8;
    out[4..8].copy_from_slice(&value.to_be_bytes());
    out[8..].copy_from_slice(&echo.to_be_bytes());
    out
}

/// Value and echo reply, if that is what the option is.
pub(crate) fn timestamps(option: &[u8]) -> Option<(u32, u32)> {
    match option {
        [TIMESTAMPS, 10, v0, v1, v2, v3, e0, e1, e2, e3] => {
            Some((u32::from_be_bytes([*v0, *v1, *v2, *v3]), u32::from_be_bytes([*e0, *e1, *e2, *e3])))
        }
        _ => None,
    }
}

/// Timestamps among the options; None also if a length lies.
pub(crate) fn find_timestamps(options: &[u8]) -> Option<(u32, u32)> {
    Walk(options).map_while(|option| option).find_map(timestamps)
}

/// Each option but NOPs up to the end of the list; ends with None where a length lies.
pub(crate) struct Walk<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Walk<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        while let [NOP, rest @ ..] = self.0 {
            self.0 = rest;
        }
        let (&kind, rest) = self.0.split_first()?;
        if kind == END {
            return None;
        }
        let length = rest.first().map_or(0, |&length| usize::from(length));
        if length < 2 || length > self.0.len() {
            self.0 = &[];
            return Some(None);
        }
        let (option, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(Some(option))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            mss: Option<u16>, scale in proptest::option::of(0u8..=14), sack: bool, timestamps: Option<(u32, u32)>
        ) {
            let offer = Offer { mss, scale, sack, timestamps };
            let (bytes, length) = offer.write();
            prop_assert_eq!(length % 4, 0);
            prop_assert_eq!(Offer::read(&bytes[..length]), Some(offer));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Offer::read(&bytes);
            let _ = find_timestamps(&bytes);
        }
    }

    #[test]
    fn lying_lengths_are_refused() {
        for options in [&[2][..], &[2, 0], &[2, 1], &[8, 10, 0, 0], &[1, 1, 5, 40, 0]] {
            assert_eq!(Offer::read(options), None, "{options:?}");
        }
        assert_eq!(Offer::read(&[1, 1, 0, 2, 0]), Some(Offer::default()), "behind the end anything may stand");
        assert_eq!(Offer::read(&[30, 4, 9, 9, 3, 3, 7, 1]).unwrap().scale, Some(7), "unknown ones are passed over");
        assert_eq!(Offer::read(&[2, 3, 9]), Some(Offer::default()), "a known kind of a wrong length is unknown");
    }
}
