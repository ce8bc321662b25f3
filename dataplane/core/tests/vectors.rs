//! The golden vectors of the wire format, `tests/vectors`. The Python tests check the same files with an implementation of their own.

use braid_core::cookie;
use braid_core::handshake::{derive, mac1_is_good, mac2_is_good, macs, public_key, Handshaker};
use braid_core::hop::HopKey;
use braid_core::probe::{paths, CopyReport, Probe, Report, Run, MOST};
use braid_core::rewrite;
use braid_core::seal::{DirectionKeys, Opener, Sealer, Suite};
use braid_core::shard::{Lanes, Place};
use braid_core::size_probe::{SizeProbe, What};
use braid_core::wire::{Header, Kind, Route, HEADER};
use braid_packet::Time;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

const HOP: &str = include_str!("../../../tests/vectors/hop.txt");
const HANDSHAKE: &str = include_str!("../../../tests/vectors/handshake.txt");
const KINDS: [Kind; 8] = [
    Kind::Initiation,
    Kind::Response,
    Kind::Cookie,
    Kind::Data,
    Kind::DataPartial,
    Kind::Control,
    Kind::Keepalive,
    Kind::Size,
];

/// One block of a file.
struct Case {
    comment: String,
    fields: HashMap<String, String>,
}

impl Case {
    fn text(&self, name: &str) -> &str {
        self.fields.get(name).unwrap_or_else(|| panic!("{}: no {name}", self.comment))
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        let text = self.text(name);
        assert!(text.len() % 2 == 0, "{}: {name}", self.comment);
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    fn array<const N: usize>(&self, name: &str) -> [u8; N] {
        self.bytes(name).try_into().unwrap_or_else(|_| panic!("{}: {name} is not {N} bytes", self.comment))
    }

    fn number(&self, name: &str) -> u64 {
        self.bytes(name).iter().fold(0, |value, &byte| value << 8 | u64::from(byte))
    }

    fn kind(&self) -> Kind {
        KINDS[self.number("kind") as usize - 1]
    }
}

/// The blocks of this case; there must be some.
fn cases(file: &str, case: &str) -> Vec<Case> {
    let mut found = Vec::new();
    for block in file.split("\n\n") {
        let (comments, lines): (Vec<&str>, Vec<&str>) =
            block.lines().filter(|line| !line.is_empty()).partition(|line| line.starts_with('#'));
        let pairs = lines.iter().map(|line| line.split_once(" =").unwrap());
        let fields: HashMap<String, String> =
            pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
        if fields.get("case").is_some_and(|name| name == case) {
            found.push(Case { comment: comments.join(" "), fields });
        }
    }
    assert!(!found.is_empty(), "no {case}");
    found
}

#[test]
fn headers() {
    for case in cases(HOP, "header") {
        let route: Vec<u16> =
            case.bytes("route").chunks(2).map(|pair| u16::from_be_bytes(pair.try_into().unwrap())).collect();
        let header = Header {
            kind: case.kind(),
            path: case.number("path") as u8,
            hop_epoch: case.number("hop_epoch") as u8,
            tagged: case.number("tagged") == 1,
            epoch: case.number("epoch") as u8,
            ttl: case.number("ttl") as u8,
            receiver: case.number("receiver") as u32,
            sequence: case.number("sequence"),
            route: Route::new(&route).unwrap(),
            hop_tag: case.number("hop_tag"),
        };
        let mut encoded = [0; HEADER];
        header.encode(&mut encoded);
        assert_eq!(encoded, case.array("bytes"), "{}", case.comment);
        let datagram = [&encoded[..], &[0; 16]].concat();
        assert_eq!(Header::decode(&datagram), Ok(header), "{}", case.comment);
    }
}

#[test]
fn lanes() {
    for case in cases(HOP, "lane") {
        let mut encoded = [0; HEADER + 16];
        encoded[0] = 0x14;
        encoded[1] = 1;
        encoded[8..16].copy_from_slice(&case.number("sequence").to_be_bytes());
        let header = Header::decode(&encoded).unwrap();
        assert_eq!(u64::from(header.lane()), case.number("lane"), "{}", case.comment);
        assert_eq!(header.position(), case.number("position"), "{}", case.comment);
        let (shards, port) = (case.number("shards") as u8, case.number("port"));
        let place = Place::new((port - 7400) as u8, shards).unwrap();
        assert!(place.carries(header.lane()), "{}", case.comment);
    }
}

#[test]
fn refused_datagrams() {
    for case in cases(HOP, "refused") {
        let refused = Header::decode(&case.bytes("datagram")).unwrap_err();
        assert_eq!(refused.as_str(), case.text("reason"), "{}", case.comment);
    }
}

#[test]
fn probes() {
    for case in cases(HOP, "probe") {
        let mut probe = Probe {
            clock: case.number("clock"),
            echo: case.number("echo"),
            kept: case.number("kept"),
            number: case.number("number") as u32,
            sent: case.number("sent") as u16,
            used: case.number("used") as u16,
            heard: case.number("heard") as u16,
            fresh: case.number("fresh") as u16,
            settled: case.number("settled") as u32,
            ..Probe::default()
        };
        let halves = case.bytes("outcomes");
        for (outcome, half) in probe.outcomes.iter_mut().zip(halves.chunks(2)) {
            *outcome = u16::from_be_bytes(half.try_into().unwrap());
        }
        let words: Vec<u32> =
            case.bytes("reports").chunks(4).map(|word| u32::from_be_bytes(word.try_into().unwrap())).collect();
        for (path, word) in paths(probe.heard).zip(words.chunks(3)) {
            probe.reports[path] = Report { number: word[0], delay: word[1], received: word[2] };
        }
        let mut out = [0; MOST];
        let length = probe.encode(&mut out);
        assert_eq!(out[..length], case.bytes("payload"), "{}", case.comment);
        assert_eq!(Probe::decode(&out[..length]), Some(probe), "{}", case.comment);
    }
    for case in cases(HOP, "probe_refused") {
        assert_eq!(Probe::decode(&case.bytes("payload")), None, "{}", case.comment);
    }
}

#[test]
fn records_of_probes() {
    for case in cases(HOP, "probe_records") {
        let payload = case.bytes("payload");
        let probe = Probe::decode(&payload).unwrap();
        let mut expected = Probe { clock: 0x1c_be99_1a14, number: 1, sent: 1, used: 1, ..Probe::default() };
        expected.ask = case.number("ask") == 1;
        expected.copies = case.bytes("copies").split_first_chunk::<9>().map(|(fixed, runs)| {
            let mut copies = CopyReport { epoch: fixed[0], count: runs.len() / 4, ..CopyReport::default() };
            copies.first = u64::from_be_bytes(fixed[1..].try_into().unwrap());
            for (slot, run) in copies.runs.iter_mut().zip(runs.chunks(4)) {
                let half = |at: usize| u16::from_be_bytes([run[at], run[at + 1]]);
                *slot = Run { packets: half(0), came: half(2) };
            }
            copies
        });
        assert_eq!(probe, expected, "{}", case.comment);
        let mut out = [0; MOST];
        let length = probe.encode(&mut out);
        assert!(case.comment.contains("not known") || out[..length] == payload, "{}", case.comment);
    }
}

#[test]
fn probes_of_size() {
    for case in cases(HOP, "size") {
        let what = [What::Probe, What::Answer][case.number("what") as usize - 1];
        let (path, size, number) =
            (case.number("path") as u8, case.number("size") as u16, case.number("number") as u32);
        let probe = SizeProbe { what, path, size, number };
        let mut out = vec![7; probe.length()];
        probe.encode(&mut out);
        assert_eq!(out, case.bytes("payload"), "{}", case.comment);
        assert_eq!(SizeProbe::decode(&out), Some(probe), "{}", case.comment);
    }
    for case in cases(HOP, "size_refused") {
        assert_eq!(SizeProbe::decode(&case.bytes("payload")), None, "{}", case.comment);
    }
}

#[test]
fn hop_tags() {
    for case in cases(HOP, "tag") {
        let key = HopKey::new(&case.array("key"));
        let signed = case.bytes("datagram");
        assert!(key.verify(&signed, case.number("hop_tag")), "{}", case.comment);
        let mut again = signed.clone();
        again[24..HEADER].fill(0);
        key.sign(&mut again);
        assert_eq!(again, signed, "{}", case.comment);
    }
}

#[test]
fn what_an_intermediate_does_to_a_datagram() {
    for case in cases(HOP, "relay") {
        let mut datagram = case.bytes("incoming");
        let header = Header::decode(&datagram).unwrap();
        assert!(HopKey::new(&case.array("key_in")).verify(&datagram, header.hop_tag), "{}", case.comment);
        let epoch = case.number("hop_epoch_out") as u8;
        rewrite(&mut datagram, header.path, epoch, header.ttl - 1, header.route.rest());
        HopKey::new(&case.array("key_out")).sign(&mut datagram);
        assert_eq!(datagram, case.bytes("outgoing"), "{}", case.comment);
    }
}

#[test]
fn sealed_datagrams() {
    for case in cases(HOP, "sealed") {
        let suite = Suite::decode(case.number("suite") as u8).unwrap();
        let keys = DirectionKeys { aead: case.array("key").into(), salt: case.array("salt"), hop: [0; 16].into() };
        let (sequence, plaintext, expected) =
            (case.number("sequence"), case.bytes("plaintext"), case.bytes("datagram"));
        let mut datagram = [&case.bytes("header")[..], &plaintext, &[0; 16]].concat();
        Sealer::new(suite, &keys, Lanes::ONE).unwrap().seal(&mut datagram, sequence).unwrap();
        assert_eq!(datagram, expected, "{}", case.comment);
        let length = Opener::new(suite, &keys).unwrap().open(&mut datagram, sequence).unwrap();
        assert_eq!(&datagram[HEADER..HEADER + length], &plaintext[..], "{}", case.comment);
    }
}

fn reader(case: &Case) -> Handshaker {
    Handshaker::new(case.array("responder_private"), 31, Box::new(|| 7)).unwrap()
}

#[test]
fn our_responder_reads_the_recorded_initiation() {
    for case in cases(HANDSHAKE, "transcript") {
        let (body, payload) = (case.bytes("initiation"), case.bytes("initiation_payload"));
        let index = u32::from_be_bytes(payload[4..8].try_into().unwrap());
        let mut responder = reader(&case);
        assert_eq!(responder.public(), &case.array::<32>("responder_public"));
        assert!(mac1_is_good(Kind::Initiation, index, &body, responder.public()), "{}", case.comment);
        let read = responder.receive_initiation(&body, Time(0)).unwrap();
        assert_eq!(read.static_key, case.array("initiator_public"), "{}", case.comment);
        assert_eq!((read.adjacent, read.peer), (payload[1] == 1, u16::from_be_bytes([payload[2], payload[3]])));
        assert_eq!(read.certificate, payload[26..], "{}", case.comment);
    }
}

#[test]
fn our_answer_has_the_layout_of_the_recorded_payload() {
    for case in cases(HANDSHAKE, "transcript") {
        let mut responder = reader(&case);
        let id = responder.receive_initiation(&case.bytes("initiation"), Time(0)).unwrap().id;
        let (session, answer) = responder.accept(id, Time(0)).unwrap();
        let sent = case.bytes("initiation_payload");
        assert_eq!(answer.receiver.to_be_bytes(), sent[4..8]);
        assert_eq!((session.remote_index.to_be_bytes().to_vec(), session.remote_epoch), (sent[4..8].to_vec(), sent[8]));
        assert_eq!(session.remote_boot.to_be_bytes(), sent[10..18]);
        assert_eq!(answer.body.len(), case.bytes("response").len());
        assert!(mac1_is_good(Kind::Response, answer.receiver, &answer.body, &case.array("initiator_public")));
    }
}

/// `from` writes what was recorded, `to` reads it.
fn pass_on(case: &Case, name: &str, from: &mut snow::HandshakeState, to: &mut snow::HandshakeState) {
    let (said, recorded) = (case.bytes(&format!("{name}_payload")), case.bytes(name));
    let (noise, _, mac2) = macs(&recorded).unwrap();
    let (mut message, mut payload) = ([0; 1200], [0; 1200]);
    let length = from.write_message(&said, &mut message).unwrap();
    assert_eq!((&message[..length], mac2), (noise, [0; 16]), "{} {name}", case.comment);
    let length = to.read_message(noise, &mut payload).unwrap();
    assert_eq!(payload[..length], said, "{} {name}", case.comment);
}

#[test]
fn handshakes_and_their_keys() {
    for case in cases(HANDSHAKE, "transcript") {
        let noise = |private: &str, ephemeral: &str, remote: Option<[u8; 32]>| {
            let (private, ephemeral) = (case.bytes(private), case.bytes(ephemeral));
            let builder = snow::Builder::new("Noise_IK_25519_ChaChaPoly_BLAKE2s".parse().unwrap())
                .prologue(b"braid 1")
                .and_then(|b| b.local_private_key(&private))
                .unwrap()
                .fixed_ephemeral_key_for_testing_only(&ephemeral);
            match remote {
                Some(key) => builder.remote_public_key(&key).and_then(snow::Builder::build_initiator),
                None => builder.build_responder(),
            }
            .unwrap()
        };
        let mut a = noise("initiator_private", "initiator_ephemeral", Some(case.array("responder_public")));
        let mut b = noise("responder_private", "responder_ephemeral", None);
        pass_on(&case, "initiation", &mut a, &mut b);
        pass_on(&case, "response", &mut b, &mut a);
        let (from_initiator, from_responder) = a.dangerously_get_raw_split();
        for (name, secret) in [("initiator", from_initiator), ("responder", from_responder)] {
            assert_eq!(secret, case.array(&format!("{name}_secret")), "{}", case.comment);
            let keys = derive(&secret).unwrap();
            assert_eq!(*keys.aead, case.array(&format!("{name}_aead")), "{}", case.comment);
            assert_eq!(keys.salt, case.array(&format!("{name}_salt")), "{}", case.comment);
            assert_eq!(*keys.hop, case.array(&format!("{name}_hop")), "{}", case.comment);
            assert_eq!(
                public_key(&case.array(&format!("{name}_private"))),
                Some(case.array(&format!("{name}_public")))
            );
        }
    }
}

#[test]
fn macs_of_handshake_messages() {
    for case in cases(HANDSHAKE, "mac1") {
        let (kind, receiver) = (case.kind(), case.number("receiver") as u32);
        let mut body = [case.bytes("message"), case.bytes("mac1"), vec![0; 16]].concat();
        assert!(mac1_is_good(kind, receiver, &body, &case.array("recipient")), "{}", case.comment);
        let at = body.len() - 17;
        body[at] ^= 1;
        assert!(!mac1_is_good(kind, receiver, &body, &case.array("recipient")), "{}", case.comment);
    }
    for case in cases(HANDSHAKE, "mac2") {
        let body = [case.bytes("covered"), case.bytes("mac2")].concat();
        assert!(mac2_is_good(&body, &case.array("cookie")), "{}", case.comment);
    }
}

#[test]
fn cookies() {
    for case in cases(HANDSHAKE, "cookie") {
        let octets = case.bytes("address");
        let address: IpAddr = match <[u8; 4]>::try_from(&octets[..]) {
            Ok(four) => four.into(),
            Err(_) => case.array::<16>("address").into(),
        };
        let from = SocketAddr::new(address, case.number("port") as u16);
        let secret = cookie::Secret::new(case.array("secret"));
        assert_eq!(secret.cookie(&from), case.array("cookie"), "{}", case.comment);
    }
    for case in cases(HANDSHAKE, "cookie_message") {
        let (responder, mac1, cookie) = (case.array("responder"), case.array("mac1"), case.array("cookie"));
        let body = cookie::seal(&cookie, &responder, &mac1, case.array("nonce")).unwrap();
        assert_eq!(body.to_vec(), case.bytes("body"), "{}", case.comment);
        assert_eq!(cookie::open(&body, &responder, &mac1), Some(cookie), "{}", case.comment);
    }
}
