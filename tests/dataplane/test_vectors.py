"""The golden vectors against a second implementation; dataplane/core/tests/vectors.rs checks them with the first."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tests.dataplane.probe import Probe, Report, SizeProbe, decode_probe, decode_size_probe
from tests.dataplane.reference import (
    HEADER,
    INITIATION,
    NO_MAC,
    RESPONSE,
    Header,
    InitiationPayload,
    Noise,
    Refused,
    ResponsePayload,
    decode,
    derive,
    hop_tag,
    mac,
    mac1,
    open_,
    open_cookie,
    port_of,
    public,
    seal,
    seal_cookie,
    siphash,
    tagged,
    with_macs,
)
from tests.dataplane.vectors import Case, cases


def each(file: str, case: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases(file, case), ids=str)


def test_siphash_is_that_of_its_authors() -> None:
    """Appendix A of the SipHash paper."""
    assert siphash(bytes(range(16)), bytes(range(15))) == 0xA129CA6149BE45E5


@each("hop.txt", "header")
def test_header(case: Case) -> None:
    header = Header(
        case.number("kind"),
        case.number("path"),
        case.number("hop_epoch"),
        bool(case.number("tagged")),
        case.number("epoch"),
        case.number("ttl"),
        case.number("receiver"),
        case.number("sequence"),
        tuple(number for (number,) in struct.iter_unpack(">H", case["route"])),
        case.number("hop_tag"),
    )
    assert header.encode() == case["bytes"]
    assert decode(case["bytes"] + bytes(16)) == header


@each("hop.txt", "lane")
def test_lane(case: Case) -> None:
    header = Header(4, sequence=case.number("sequence"))
    assert (header.lane, header.position) == (case.number("lane"), case.number("position"))
    assert port_of(7400, case.number("shards"), header.lane) == case.number("port")


@each("hop.txt", "refused")
def test_refused(case: Case) -> None:
    with pytest.raises(Refused) as refused:
        decode(case["datagram"])
    assert refused.value.reason == case.fields["reason"]


@each("hop.txt", "tag")
def test_hop_tag(case: Case) -> None:
    datagram = case["datagram"]
    assert hop_tag(case["key"], datagram) == decode(datagram).hop_tag == case.number("hop_tag")


@each("hop.txt", "relay")
def test_relay(case: Case) -> None:
    incoming = case["incoming"]
    header = decode(incoming)
    assert hop_tag(case["key_in"], incoming) == header.hop_tag
    rewritten = replace(header, hop_epoch=case.number("hop_epoch_out"), ttl=header.ttl - 1, route=header.route[1:])
    assert tagged(case["key_out"], rewritten, incoming[HEADER:]) == case["outgoing"]


@each("hop.txt", "sealed")
def test_sealed(case: Case) -> None:
    suite, header = case.number("suite"), decode(case["header"] + bytes(16))
    assert header.sequence == case.number("sequence")
    assert case["header"] + seal(suite, case["key"], case["salt"], header, case["plaintext"]) == case["datagram"]
    assert open_(suite, case["key"], case["salt"], case["datagram"]) == case["plaintext"]
    hop_part_changed = replace(header, path=header.path ^ 1, ttl=1, route=(9,), hop_tag=1).encode()
    assert open_(suite, case["key"], case["salt"], hop_part_changed + case["datagram"][HEADER:]) == case["plaintext"]
    for forged in (replace(header, receiver=header.receiver ^ 1), replace(header, sequence=header.sequence ^ 1)):
        with pytest.raises(InvalidTag):
            open_(suite, case["key"], case["salt"], forged.encode() + case["datagram"][HEADER:])


@each("hop.txt", "probe")
def test_probe(case: Case) -> None:
    ids = [path for path in range(16) if case.number("heard") >> path & 1]
    reports = tuple(
        (path, Report(*struct.unpack_from(">III", case["reports"], 12 * at))) for at, path in enumerate(ids)
    )
    probe = Probe(
        *(case.number(name) for name in ("clock", "echo", "kept", "number", "sent", "used", "fresh", "settled")),
        outcomes=struct.unpack(">8H", case["outcomes"]),
        reports=reports,
    )
    assert probe.encode() == case["payload"]
    assert decode_probe(case["payload"]) == probe


@each("hop.txt", "probe_records")
def test_records_of_probes(case: Case) -> None:
    probe = decode_probe(case["payload"])
    assert probe is not None
    assert (probe.ask, probe.copies.encode() if probe.copies else b"") == (case.number("ask") == 1, case["copies"])
    again = probe.encode()
    assert again == case["payload"] or (len(again) < len(case["payload"]) and decode_probe(again) == probe)


@each("hop.txt", "probe_refused")
def test_probe_refused(case: Case) -> None:
    assert decode_probe(case["payload"]) is None


@each("hop.txt", "size")
def test_size_probe(case: Case) -> None:
    probe = SizeProbe(*(case.number(name) for name in ("what", "path", "size", "number")))
    assert probe.encode() == case["payload"]
    assert decode_size_probe(case["payload"]) == probe


@each("hop.txt", "size_refused")
def test_size_probe_refused(case: Case) -> None:
    assert decode_size_probe(case["payload"]) is None


@each("handshake.txt", "initiation_payload")
def test_initiation_payload(case: Case) -> None:
    number, index, epoch, suite, boot, counter = (
        case.number(name) for name in ("number", "index", "epoch", "suite", "boot", "counter")
    )
    adjacent = bool(case.number("adjacent"))
    payload = InitiationPayload(adjacent, number, index, epoch, suite, boot, counter, case["certificate"])
    assert payload.encode() == case["payload"]
    assert InitiationPayload.decode(case["payload"]) == payload


@each("handshake.txt", "response_payload")
def test_response_payload(case: Case) -> None:
    payload = ResponsePayload(*(case.number(name) for name in ("index", "epoch", "suite", "boot")))
    assert payload.encode() == case["payload"]
    assert ResponsePayload.decode(case["payload"]) == payload


@each("handshake.txt", "transcript")
def test_transcript(case: Case) -> None:
    def key(name: str) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(case[name])

    assert public(key("initiator_private")) == case["initiator_public"]
    a = Noise(key("initiator_private"), case["responder_public"], key("initiator_ephemeral"))
    b = Noise(key("responder_private"), case["responder_public"], key("responder_ephemeral"))
    index = InitiationPayload.decode(case["initiation_payload"]).index
    first = a.write_initiation(case["initiation_payload"])
    assert with_macs(case["responder_public"], INITIATION, index, first) == case["initiation"]
    assert b.read_initiation(first) == case["initiation_payload"]
    assert b.remote_static == case["initiator_public"]
    second = b.write_response(case["response_payload"])
    assert with_macs(case["initiator_public"], RESPONSE, index, second) == case["response"]
    assert a.read_response(second) == case["response_payload"]
    assert a.split() == b.split() == (case["initiator_secret"], case["responder_secret"])
    for name in ("initiator", "responder"):
        keys = derive(case[f"{name}_secret"])
        assert (keys.aead, keys.salt, keys.hop) == tuple(case[f"{name}_{part}"] for part in ("aead", "salt", "hop"))


@each("handshake.txt", "mac1")
def test_mac1(case: Case) -> None:
    assert mac1(case["recipient"], case.number("kind"), case.number("receiver"), case["message"]) == case["mac1"]


@each("handshake.txt", "mac2")
def test_mac2(case: Case) -> None:
    assert mac(case["cookie"], case["covered"]) == case["mac2"] != NO_MAC


@each("handshake.txt", "cookie")
def test_cookie(case: Case) -> None:
    assert mac(case["secret"], case["address"] + case["port"]) == case["cookie"]


@each("handshake.txt", "cookie_message")
def test_cookie_message(case: Case) -> None:
    body = seal_cookie(case["responder"], case["mac1"], case["nonce"], case["cookie"])
    assert body == case["body"]
    assert open_cookie(case["responder"], case["mac1"], body) == case["cookie"]
