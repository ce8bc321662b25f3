//! A numbered datagram: magic 4, run 4, number 8, sent 8 (nanoseconds of CLOCK_MONOTONIC, one machine), then the low
//! byte of the number over and over. Big-endian. Number 2^64-1 ends a run; its `sent` field is then the count sent.

pub const HEADER: usize = 24;
const MAGIC: [u8; 4] = *b"BrTr";
const END: u64 = u64::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet {
    Numbered {
        run: u32,
        number: u64,
        sent: u64,
    },
    End {
        run: u32,
        count: u64,
    },
    /// One of ours by its length, but its bytes changed on the way; or not ours.
    Damaged,
}

/// Fills `buffer`, which must have room for the header.
pub fn write_numbered(buffer: &mut [u8], run: u32, number: u64, sent: u64) {
    write_header(buffer, run, number, sent);
    buffer[HEADER..].fill(number as u8);
}

pub fn write_end(buffer: &mut [u8], run: u32, count: u64) {
    write_header(buffer, run, END, count);
    buffer[HEADER..].fill(END as u8);
}

fn write_header(buffer: &mut [u8], run: u32, number: u64, sent: u64) {
    buffer[..4].copy_from_slice(&MAGIC);
    buffer[4..8].copy_from_slice(&run.to_be_bytes());
    buffer[8..16].copy_from_slice(&number.to_be_bytes());
    buffer[16..24].copy_from_slice(&sent.to_be_bytes());
}

pub fn read(datagram: &[u8]) -> Packet {
    let Some((head, fill)) = datagram.split_first_chunk::<HEADER>() else {
        return Packet::Damaged;
    };
    let word = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&head[at..at + 8]);
        u64::from_be_bytes(bytes)
    };
    let (number, sent) = (word(8), word(16));
    if head[..4] != MAGIC || fill.iter().any(|byte| *byte != number as u8) {
        return Packet::Damaged;
    }
    let run = word(0) as u32;
    match number {
        END => Packet::End { run, count: sent },
        _ => Packet::Numbered { run, number, sent },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(run: u32, number in 0..u64::MAX, sent: u64, extra in 0usize..100) {
            let mut buffer = vec![0; HEADER + extra];
            write_numbered(&mut buffer, run, number, sent);
            prop_assert_eq!(read(&buffer), Packet::Numbered { run, number, sent });
            write_end(&mut buffer, run, sent);
            prop_assert_eq!(read(&buffer), Packet::End { run, count: sent });
        }

        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            read(&bytes);
        }

        #[test]
        fn changed_fill_is_damage(number in 0..u64::MAX, at in 0usize..50, bit in 0u8..8) {
            let mut buffer = vec![0; HEADER + 50];
            write_numbered(&mut buffer, 1, number, 0);
            buffer[HEADER + at] ^= 1 << bit;
            prop_assert_eq!(read(&buffer), Packet::Damaged);
        }
    }
}
