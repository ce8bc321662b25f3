//! Packets and options as bytes.

use braid_packet::checksum;

/// Length fields and checksums after something was added to the end.
pub fn finish(out: &mut [u8], partial: bool) {
    let v6 = out[0] >> 4 == 6;
    let length = out.len();
    let start = if v6 {
        out[4..6].copy_from_slice(&((length - 40) as u16).to_be_bytes());
        40
    } else {
        out[2..4].copy_from_slice(&(length as u16).to_be_bytes());
        out[10..12].fill(0);
        let sum = !checksum::sum(&out[..20], 0);
        out[10..12].copy_from_slice(&sum.to_be_bytes());
        20
    };
    let (source, destination) = if v6 { (8..24, 24..40) } else { (12..16, 16..20) };
    let pseudo = checksum::pseudo_header(&out[source], &out[destination], 6, length - start);
    out[start + 16..start + 18].copy_from_slice(&pseudo.to_be_bytes());
    if !partial {
        let complete = !checksum::sum(&out[start..], 0);
        out[start + 16..start + 18].copy_from_slice(&complete.to_be_bytes());
    }
}

pub type Options = (Option<u16>, Option<u8>, bool, Option<(u32, u32)>, Vec<(u32, u32)>);

pub fn read(mut options: &[u8]) -> Options {
    let (mut mss, mut scale, mut sack, mut timestamps, mut blocks) = (None, None, false, None, Vec::new());
    let word = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
    while let [kind, rest @ ..] = options {
        if *kind == 1 {
            options = rest;
            continue;
        }
        let (option, rest) = options.split_at(usize::from(options[1]));
        match kind {
            2 => mss = Some(u16::from_be_bytes([option[2], option[3]])),
            3 => scale = Some(option[2]),
            4 => sack = true,
            5 => blocks.extend(option[2..].chunks(8).map(|b| (word(&b[..4]), word(&b[4..])))),
            8 => timestamps = Some((word(&option[2..6]), word(&option[6..]))),
            other => panic!("option {other} was not negotiated"),
        }
        options = rest;
    }
    (mss, scale, sack, timestamps, blocks)
}
