"""The wire format of docs/wire.md a second time, from the page and not from the code of the data plane.

What this module and the Rust core agree on byte for byte is the contract. Slow and without a single shortcut.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass, replace
from hashlib import blake2s

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

INITIATION, RESPONSE, COOKIE, DATA, DATA_PARTIAL, CONTROL, KEEPALIVE, SIZE = range(1, 9)
HANDSHAKES = (INITIATION, RESPONSE, COOKIE)
HEADER, TAG, OVERHEAD = 32, 16, 48
TTL = 8
AES_256_GCM, CHACHA20_POLY1305 = 1, 2
PATTERN = b"Noise_IK_25519_ChaChaPoly_BLAKE2s"
PROLOGUE = b"braid 1"
NO_MAC = bytes(16)


class Refused(Exception):
    """A datagram that no node may accept; ``reason`` is the name of its counter."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Header:
    kind: int
    path: int = 0
    hop_epoch: int = 0
    tagged: bool = True
    epoch: int = 0
    ttl: int = TTL
    receiver: int = 0
    sequence: int = 0
    route: tuple[int, ...] = ()
    hop_tag: int = 0

    @property
    def lane(self) -> int:
        return self.sequence >> 56

    @property
    def position(self) -> int:
        """Within the lane, or aside of it."""
        return self.sequence & (1 << 55) - 1

    @property
    def aside(self) -> bool:
        return bool(self.sequence >> 55 & 1)

    def encode(self) -> bytes:
        flags = self.path << 4 | self.hop_epoch << 2 | self.tagged
        hops = self.route + (0,) * (4 - len(self.route))
        front = struct.pack(">BBBBIQ", 0x10 | self.kind, flags, self.epoch, self.ttl, self.receiver, self.sequence)
        return front + struct.pack(">4HQ", *hops, self.hop_tag)


def decode(datagram: bytes) -> Header:
    if len(datagram) < OVERHEAD:
        raise Refused("short")
    first, flags, epoch, ttl, receiver, sequence = struct.unpack_from(">BBBBIQ", datagram)
    *hops, hop_tag = struct.unpack_from(">4HQ", datagram, 16)
    kind, tagged = first & 15, bool(flags & 1)
    if first >> 4 != 1:
        raise Refused("version")
    if not INITIATION <= kind <= SIZE:
        raise Refused("kind")
    if flags & 2 or not (tagged or kind in HANDSHAKES):
        raise Refused("flags")
    route = tuple(hops[: hops.index(0)] if 0 in hops else hops)
    if any(hops[len(route) :]) or (route and not tagged):
        raise Refused("route")
    return Header(kind, flags >> 4, flags >> 2 & 3, tagged, epoch, ttl, receiver, sequence, route, hop_tag)


def siphash(key: bytes, message: bytes) -> int:
    """SipHash-2-4 with 64 bits of result (Aumasson, Bernstein 2012)."""
    mask = (1 << 64) - 1
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def turn(value: int, bits: int) -> int:
        return (value << bits | value >> (64 - bits)) & mask

    def rounds(count: int) -> None:
        for _ in range(count):
            v[0], v[2] = (v[0] + v[1]) & mask, (v[2] + v[3]) & mask
            v[1], v[3] = turn(v[1], 13) ^ v[0], turn(v[3], 16) ^ v[2]
            v[0] = turn(v[0], 32)
            v[2], v[0] = (v[2] + v[1]) & mask, (v[0] + v[3]) & mask
            v[1], v[3] = turn(v[1], 17) ^ v[2], turn(v[3], 21) ^ v[0]
            v[2] = turn(v[2], 32)

    whole = len(message) // 8 * 8
    last = message[whole:].ljust(7, b"\0") + bytes([len(message) & 255])
    for (word,) in struct.iter_unpack("<Q", message[:whole] + last):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(4)
    result: int = v[0] ^ v[1] ^ v[2] ^ v[3]
    return result


def hop_tag(key: bytes, datagram: bytes) -> int:
    return siphash(key, datagram[:24] + struct.pack(">Q", len(datagram)) + datagram[-16:])


def tagged(key: bytes, header: Header, rest: bytes) -> bytes:
    """The whole datagram, its hop tag computed."""
    tag = hop_tag(key, replace(header, hop_tag=0).encode() + rest)
    return replace(header, hop_tag=tag).encode() + rest


def aead(suite: int, key: bytes) -> AESGCM | ChaCha20Poly1305:
    return AESGCM(key) if suite == AES_256_GCM else ChaCha20Poly1305(key)


def associated(header: Header) -> bytes:
    encoded = header.encode()
    return encoded[:1] + encoded[2:3] + encoded[4:8]


def seal(suite: int, key: bytes, salt: bytes, header: Header, plaintext: bytes) -> bytes:
    """What follows the header."""
    return aead(suite, key).encrypt(salt + struct.pack(">Q", header.sequence), plaintext, associated(header))


def open_(suite: int, key: bytes, salt: bytes, datagram: bytes) -> bytes:
    """InvalidTag when it is forged."""
    header = decode(datagram)
    nonce = salt + struct.pack(">Q", header.sequence)
    return aead(suite, key).decrypt(nonce, datagram[HEADER:], associated(header))


@dataclass(frozen=True, slots=True)
class DirectionKeys:
    aead: bytes
    salt: bytes
    hop: bytes


def derive(secret: bytes) -> DirectionKeys:
    okm = HKDF(SHA256(), 52, PROLOGUE, b"aead salt hop").derive(secret)
    return DirectionKeys(okm[:32], okm[32:36], okm[36:])


def mac(key: bytes, message: bytes) -> bytes:
    return blake2s(message, key=key, digest_size=16).digest()


def mac1(recipient: bytes, kind: int, receiver: int, message: bytes) -> bytes:
    return mac(recipient, b"mac1" + bytes([kind]) + struct.pack(">I", receiver) + message)


def with_macs(recipient: bytes, kind: int, receiver: int, message: bytes, cookie: bytes | None = None) -> bytes:
    covered = message + mac1(recipient, kind, receiver, message)
    return covered + (mac(cookie, covered) if cookie else NO_MAC)


def cookie_cipher(responder: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(mac(responder, b"cookie 1") + mac(responder, b"cookie 2"))


def seal_cookie(responder: bytes, initiation_mac1: bytes, nonce: bytes, cookie: bytes) -> bytes:
    return nonce + cookie_cipher(responder).encrypt(nonce, cookie, initiation_mac1)


def open_cookie(responder: bytes, initiation_mac1: bytes, body: bytes) -> bytes:
    return cookie_cipher(responder).decrypt(body[:12], body[12:], initiation_mac1)


@dataclass(frozen=True, slots=True)
class InitiationPayload:
    adjacent: bool
    number: int
    index: int
    epoch: int
    suite: int
    boot: int
    counter: int
    certificate: bytes

    def encode(self) -> bytes:
        front = struct.pack(">BBHIBB", 1, self.adjacent, self.number, self.index, self.epoch, self.suite)
        return front + struct.pack(">QQ", self.boot, self.counter) + self.certificate

    @classmethod
    def decode(cls, payload: bytes) -> InitiationPayload:
        version, adjacent, number, index, epoch, suite, boot, counter = struct.unpack_from(">BBHIBBQQ", payload)
        assert version == 1
        return cls(bool(adjacent), number, index, epoch, suite, boot, counter, payload[26:])


@dataclass(frozen=True, slots=True)
class ResponsePayload:
    index: int
    epoch: int
    suite: int
    boot: int

    def encode(self) -> bytes:
        return struct.pack(">IBBQ", self.index, self.epoch, self.suite, self.boot)

    @classmethod
    def decode(cls, payload: bytes) -> ResponsePayload:
        return cls(*struct.unpack(">IBBQ", payload))


class Noise:
    """Noise IK, both sides (Noise Protocol Framework, revision 34)."""

    def __init__(self, static: X25519PrivateKey, responder_static: bytes, ephemeral: X25519PrivateKey) -> None:
        self.static, self.responder_static, self.ephemeral = static, responder_static, ephemeral
        self.remote_static, self.remote_ephemeral = responder_static, b""
        self.h = self.ck = blake2s(PATTERN).digest()
        self.key, self.nonce = b"", 0
        self._mix_hash(PROLOGUE)
        self._mix_hash(responder_static)

    def write_initiation(self, payload: bytes) -> bytes:
        message = self._send_ephemeral()
        self._mix_key(dh(self.ephemeral, self.responder_static))
        message += self._encrypt(public(self.static))
        self._mix_key(dh(self.static, self.responder_static))
        return message + self._encrypt(payload)

    def read_initiation(self, message: bytes) -> bytes:
        self._receive_ephemeral(message[:32])
        self._mix_key(dh(self.static, self.remote_ephemeral))
        self.remote_static = self._decrypt(message[32:80])
        self._mix_key(dh(self.static, self.remote_static))
        return self._decrypt(message[80:])

    def write_response(self, payload: bytes) -> bytes:
        message = self._send_ephemeral()
        self._mix_key(dh(self.ephemeral, self.remote_ephemeral))
        self._mix_key(dh(self.ephemeral, self.remote_static))
        return message + self._encrypt(payload)

    def read_response(self, message: bytes) -> bytes:
        self._receive_ephemeral(message[:32])
        self._mix_key(dh(self.ephemeral, self.remote_ephemeral))
        self._mix_key(dh(self.static, self.remote_ephemeral))
        return self._decrypt(message[32:])

    def split(self) -> tuple[bytes, bytes]:
        """Transport keys from the initiator to the responder, and back."""
        return self._hkdf(b"")

    def _send_ephemeral(self) -> bytes:
        own = public(self.ephemeral)
        self._mix_hash(own)
        return own

    def _receive_ephemeral(self, key: bytes) -> None:
        self.remote_ephemeral = key
        self._mix_hash(key)

    def _mix_hash(self, data: bytes) -> None:
        self.h = blake2s(self.h + data).digest()

    def _mix_key(self, material: bytes) -> None:
        self.ck, self.key = self._hkdf(material)
        self.nonce = 0

    def _hkdf(self, material: bytes) -> tuple[bytes, bytes]:
        temporary = hmac.new(self.ck, material, blake2s).digest()
        first = hmac.new(temporary, b"\1", blake2s).digest()
        return first, hmac.new(temporary, first + b"\2", blake2s).digest()

    def _take_nonce(self) -> bytes:
        self.nonce += 1
        return bytes(4) + struct.pack("<Q", self.nonce - 1)

    def _encrypt(self, plaintext: bytes) -> bytes:
        sealed = ChaCha20Poly1305(self.key).encrypt(self._take_nonce(), plaintext, self.h)
        self._mix_hash(sealed)
        return sealed

    def _decrypt(self, sealed: bytes) -> bytes:
        plaintext = ChaCha20Poly1305(self.key).decrypt(self._take_nonce(), sealed, self.h)
        self._mix_hash(sealed)
        return plaintext


def public(key: X25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def dh(private: X25519PrivateKey, peer: bytes) -> bytes:
    return private.exchange(X25519PublicKey.from_public_bytes(peer))


def port_of(base: int, shards: int, lane: int) -> int:
    """Where a node with so many shards takes the datagrams of a lane."""
    return base + lane % shards
