"""A node that exists in Python only: it holds good credentials and can sign whatever it likes.

It is what a compromised neighbour is, and a second implementation for the Rust core to talk to. No sockets here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tests.dataplane.probe import Probe
from tests.dataplane.reference import (
    AES_256_GCM,
    HEADER,
    INITIATION,
    KEEPALIVE,
    RESPONSE,
    DirectionKeys,
    Header,
    InitiationPayload,
    Noise,
    Refused,
    ResponsePayload,
    decode,
    derive,
    hop_tag,
    mac1,
    open_,
    public,
    seal,
    tagged,
    with_macs,
)

if TYPE_CHECKING:
    from random import Random


@dataclass(slots=True)
class Session:
    """Keys shared with one peer. ``hop`` methods make datagrams whose hop tag is right."""

    suite: int
    local_index: int
    remote_index: int
    local_epoch: int
    remote_epoch: int
    tx: DirectionKeys
    rx: DirectionKeys
    next_sequence: int = 1

    def hop(self, header: Header, rest: bytes) -> bytes:
        """Any header and content, as this neighbour would hand them over."""
        return tagged(self.tx.hop, replace(header, hop_epoch=self.remote_epoch & 3), rest)

    def sealed(self, kind: int, plaintext: bytes, **fields: int) -> bytes:
        """An honest message of this session; ``fields`` overwrite those of its header after it was sealed."""
        header = Header(kind, epoch=self.remote_epoch, receiver=self.remote_index, sequence=self.next_sequence)
        self.next_sequence += 1
        rest = seal(self.suite, self.tx.aead, self.tx.salt, header, plaintext)
        return self.hop(replace(header, **fields), rest)  # type: ignore[arg-type]

    def keepalive(self) -> bytes:
        return self.sealed(KEEPALIVE, Probe(clock=self.next_sequence).encode())

    def open(self, datagram: bytes) -> bytes:
        """The plaintext of a datagram of this session; Refused when its hop tag is wrong, InvalidTag when forged."""
        header = decode(datagram)
        if hop_tag(self.rx.hop, datagram) != header.hop_tag:
            raise Refused("hop_tag")
        assert (header.receiver, header.epoch, header.hop_epoch) == (
            self.local_index,
            self.local_epoch,
            self.local_epoch & 3,
        )
        return open_(self.suite, self.rx.aead, self.rx.salt, datagram)


class Member:
    """Handshakes of one node with good credentials: ``initiate`` then ``finish``, or ``respond``."""

    def __init__(self, number: int, private_key: bytes, certificate: bytes, rng: Random) -> None:
        self.number, self.certificate, self._rng = number, certificate, rng
        self._private = X25519PrivateKey.from_private_bytes(private_key)
        self.public = public(self._private)
        self.boot, self._counter = rng.getrandbits(64), 0
        self._pending: dict[int, tuple[Noise, InitiationPayload]] = {}

    def initiate(self, peer_static: bytes, *, adjacent: bool = True, suite: int = AES_256_GCM, epoch: int = 1) -> bytes:
        """An untagged datagram, as for a neighbour."""
        self._counter += 1
        index = self._rng.randrange(1, 1 << 32)
        payload = InitiationPayload(
            adjacent, self.number, index, epoch, suite, self.boot, self._counter, self.certificate
        )
        noise = Noise(self._private, peer_static, self._ephemeral())
        message = noise.write_initiation(payload.encode())
        self._pending[index] = (noise, payload)
        body = with_macs(peer_static, INITIATION, index, message)
        return Header(INITIATION, tagged=False, receiver=index, sequence=self._counter).encode() + body

    def finish(self, datagram: bytes) -> Session:
        """Reads the response to one of our initiations."""
        header = decode(datagram)
        noise, sent = self._pending.pop(header.receiver)
        message, got_mac1 = datagram[HEADER:-32], datagram[-32:-16]
        assert header.kind == RESPONSE
        assert got_mac1 == mac1(self.public, RESPONSE, header.receiver, message)
        answer = ResponsePayload.decode(noise.read_response(message))
        ours, theirs = (derive(key) for key in noise.split())
        return Session(answer.suite, sent.index, answer.index, sent.epoch, answer.epoch, ours, theirs)

    def respond(self, datagram: bytes, *, epoch: int = 1) -> tuple[Session, InitiationPayload, bytes]:
        """Answers an initiation: the session, what the initiator said of itself, and the datagram to send."""
        header = decode(datagram)
        message, got_mac1 = datagram[HEADER:-32], datagram[-32:-16]
        assert header.kind == INITIATION
        assert got_mac1 == mac1(self.public, INITIATION, header.receiver, message)
        noise = Noise(self._private, self.public, self._ephemeral())
        asked = InitiationPayload.decode(noise.read_initiation(message))
        assert asked.index == header.receiver
        answer = ResponsePayload(self._rng.randrange(1, 1 << 32), epoch, asked.suite, self.boot)
        body = with_macs(noise.remote_static, RESPONSE, asked.index, noise.write_response(answer.encode()))
        theirs, ours = (derive(key) for key in noise.split())
        session = Session(asked.suite, answer.index, asked.index, epoch, asked.epoch, ours, theirs)
        return session, asked, Header(RESPONSE, tagged=False, receiver=asked.index).encode() + body

    def _ephemeral(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(self._rng.randbytes(32))
