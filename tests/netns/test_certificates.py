"""Nodes whose certificate must give no session, in a lab with honest ones: refused, counted, logged once, no traffic.

The rogues' links are the cheapest, so every packet would take them. A client asks an origin all the while.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from braid import pki
from braid.credentials import load_ca, node_directory, write_file
from braid.identity import Identity, certify
from lab.running import REPOSITORY, RunningLab, take_down
from lab.up import make_credentials, up
from tests.dataplane.reference import DATA, DATA_PARTIAL
from tests.netns import rogue
from tests.netns.hostile import TOPOLOGY, Heartbeat, Wire, vip_of, wait_protected
from topology.model import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.netns

ROGUES = {
    "stranger": "other_ca",
    "gate": "wrong_role",
    "late": "expired",
    "early": "not_yet_valid",
    "banned": "revoked",
}
HONEST = ("edge", "gateway", "mid-1", "mid-2", "names")
ENDS = ("edge", "gateway")
RETRIES = 4


def document() -> dict[str, Any]:
    """The hostile tests' topology, with five more intermediates that are nearer than the honest ones."""
    regions = {name: {"role": "intermediate"} for name in ROGUES}
    nodes = {
        name: {"region": name, "number": 51 + at, "underlay": [f"10.70.0.{51 + at}"]} for at, name in enumerate(ROGUES)
    }
    links = [{"between": [end, name], "cost": 1} for end in ("e", "g") for name in ROGUES]
    links += [{"between": [end, name], "cost": 10} for end in ("e", "g") for name in ("m", "n")]
    return {
        **TOPOLOGY,
        "name": "hosc",
        "regions": {**{name: each for name, each in TOPOLOGY["regions"].items() if name != "f"}, **regions},
        "nodes": {**{name: each for name, each in TOPOLOGY["nodes"].items() if name != "rogue"}, **nodes},
        "links": links,
    }


def spoil(lab: RunningLab) -> None:
    """Gives the rogues their credentials."""
    now = datetime.now(UTC)
    pki.issue(lab.topology, lab.pki, "late", now, days=1, not_before=now - timedelta(days=2))
    pki.issue(lab.topology, lab.pki, "early", now, days=1, not_before=now + timedelta(hours=1))
    pki.revoke(lab.pki, "banned", now)
    ca = load_ca(lab.pki)
    ca_key = load_pem_private_key((lab.pki / "ca.key").read_bytes(), None)
    assert isinstance(ca_key, Ed25519PrivateKey)
    certify_as(lab, "gate", Role.GATEWAY, ca, ca_key)
    certify_as(lab, "stranger", Role.INTERMEDIATE, ca, Ed25519PrivateKey.generate())


def certify_as(lab: RunningLab, name: str, role: Role, ca: x509.Certificate, ca_key: Ed25519PrivateKey) -> None:
    """A new key and certificate for a node, which ``peers.pem`` knows nothing of."""
    node, key, now = lab.topology.nodes[name], X25519PrivateKey.generate(), datetime.now(UTC)
    identity = Identity(lab.topology.name, role, node.region, name)
    public = key.public_key().public_bytes_raw()
    start, end = now - timedelta(hours=1), now + timedelta(days=1)
    der = certify(ca, ca_key, identity, public, serial=x509.random_serial_number(), not_before=start, not_after=end)
    folder = node_directory(lab.pki, name)
    write_file(folder / "node.key", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    write_file(folder / "node.crt", x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM), 0o644)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    take_down("hosc")
    file = tmp_path_factory.mktemp("hosc") / "hosc.yaml"
    file.write_text(json.dumps(document(), indent=1))
    with up(file, nodes=False) as running:
        make_credentials(running)
        spoil(running)
        for name in ROGUES:
            argv = [sys.executable, "-m", rogue.__name__, name, "-t", str(file), "--pki", str(running.pki)]
            with running.log(name).open("ab") as log:
                child = running.popen(name, argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=REPOSITORY)
            running.nodes[name] = child.pid
        for name in HONEST:
            running.start(name, ["--log-format", "json"])
        running.start("origin")
        for name in (*HONEST, "origin"):
            running.wait_ready(name)
        wait_protected(running)
        yield running


@pytest.fixture(scope="module")
def heartbeat(lab: RunningLab) -> Iterator[Heartbeat]:
    beating = Heartbeat(lab, vip_of(lab, "edge"), 5000)
    yield beating
    beating.close()


def lines(lab: RunningLab, node: str, peer: str) -> list[dict[str, Any]]:
    """Warnings in a node's log that are about a peer."""
    entries = [json.loads(line) for line in lab.log(node).read_text().splitlines() if line.startswith("{")]
    return [entry for entry in entries if entry.get("peer") == peer and entry["level"] != "info"]


def wait_for(what: Callable[[], bool], timeout: float) -> float:
    """Seconds until it is so."""
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < timeout
        time.sleep(0.02)
    return time.monotonic() - began


@pytest.fixture(scope="module")
def tried(lab: RunningLab, heartbeat: Heartbeat) -> Iterator[dict[str, list[bytes]]]:
    """The rogues have tried several times to join, and data flowed: what was sent to each rogue in the meantime."""
    wires = {name: [Wire(lab, end, name) for end in ENDS] for name in ROGUES}
    asked = heartbeat.sent

    def often() -> bool:
        drops = [lab.status(end)["drops"] for end in ENDS]
        return all(each.get(f"refused_{reason}", 0) >= RETRIES for each in drops for reason in ROGUES.values())

    wait_for(often, 30)
    assert heartbeat.lost_since(asked) == 0
    yield {name: [got for wire in both for got in wire.from_neighbour.datagrams()] for name, both in wires.items()}
    for both in wires.values():
        for wire in both:
            wire.close()


@pytest.mark.parametrize(("name", "reason"), ROGUES.items())
def test_no_session_no_traffic_and_one_line(
    lab: RunningLab,
    tried: dict[str, list[bytes]],
    name: str,
    reason: str,
    figure: Callable[[str, object], None],
) -> None:
    kinds = {got[0] & 15 for got in tried[name]}
    assert not kinds & {DATA, DATA_PARTIAL}, "a client's packets were sent to a rogue"
    for end in ENDS:
        status = lab.status(end)
        assert [session for session in status["sessions"] if session["peer"] == name] == []
        assert [(each["up"], each["rx_datagrams"]) for each in status["neighbours"] if each["node"] == name] == [
            (False, 0)
        ]
        refused = status["drops"][f"refused_{reason}"]
        said = lines(lab, end, name)
        assert [entry["reason"] for entry in said] == [reason], said
        assert all(name not in path["route"] or not path["in_use"] for path in status["paths"])
        figure(f"certificate {reason} at {end}", f"{refused} handshakes refused, 1 line: {said[0]['event']}")
    own = [session for session in lab.status(name)["sessions"] if session["usable"]]
    assert own == [], "the rogue thinks it has a session"


@pytest.mark.parametrize(("name", "reason"), ROGUES.items())
def test_an_honest_node_does_not_even_start_with_it(lab: RunningLab, name: str, reason: str) -> None:
    argv = [sys.executable, "-m", "braid", "run", name, "-t", str(lab.file), "--pki", str(lab.pki)]
    ended = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    says = "is not signed by ca.crt" if reason == "other_ca" else f"is refused: {reason}"
    assert f"nodes/{name}/node.crt: {says}; make new credentials: braid pki issue {name}\n" in ended.stderr
    assert ended.stderr.count("\n") == 1


def has_session(lab: RunningLab, node: str, peer: str) -> bool:
    return any(session["peer"] == peer for session in lab.status(node)["sessions"])


def test_a_live_session_ends_with_its_certificate(
    lab: RunningLab, heartbeat: Heartbeat, figure: Callable[[str, object], None]
) -> None:
    assert all(has_session(lab, end, "mid-2") for end in ENDS)
    asked = heartbeat.sent
    pki.revoke(lab.pki, "mid-2", datetime.now(UTC))
    took = wait_for(lambda: not any(has_session(lab, end, "mid-2") for end in ENDS), 2.0)
    time.sleep(3)
    assert not any(has_session(lab, end, "mid-2") for end in ENDS), "it came back"
    assert heartbeat.lost_since(asked) == 0, "the other path had to carry every packet"
    for end in ENDS:
        assert [entry["reason"] for entry in lines(lab, end, "mid-2") if "reason" in entry] == ["revoked"]
    figure("revocation of a live neighbour session", f"closed after {took:.2f} s, 0 packets lost")


def test_a_live_session_end_to_end_ends_at_once_with_sighup(
    lab: RunningLab, heartbeat: Heartbeat, figure: Callable[[str, object], None]
) -> None:
    """After the neighbour: there is one path left, and its gateway is revoked now."""
    assert has_session(lab, "edge", "gateway")
    pki.revoke(lab.pki, "gateway", datetime.now(UTC))
    os.kill(lab.nodes["edge"], signal.SIGHUP)
    took = wait_for(lambda: not has_session(lab, "edge", "gateway"), 2.0)
    time.sleep(0.2)
    asked = heartbeat.sent
    time.sleep(0.5)
    assert heartbeat.lost_since(asked, patience=0.5) >= 50, "packets still reach the origin"
    assert [entry["reason"] for entry in lines(lab, "edge", "gateway") if "reason" in entry] == ["revoked"]
    figure("revocation of a live end-to-end session", f"closed after {took:.2f} s")
