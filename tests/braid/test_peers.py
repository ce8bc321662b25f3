from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from braid import pki
from braid.credentials import load_credentials, load_trust
from braid.events import Initiation
from braid.peers import WRONG_NUMBER, PeerCertificates, refusal, wanted
from braid.session import Relation, Standing
from topology.source import load

if TYPE_CHECKING:
    from braid.identity import Trust

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=1)
TOPOLOGY = load(Path("lab/demo.yaml"))
NUMBER = TOPOLOGY.nodes["mid-ams-1"].number
NEAR = Relation(NUMBER, True)
RELATIONS = {NEAR: "mid-ams-1"}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    pki.init(TOPOLOGY, tmp_path, START)
    return tmp_path


def standing(peers: PeerCertificates, trust: Trust, now: datetime = NOW) -> Standing:
    return peers.standings(RELATIONS, trust, TOPOLOGY, now)[NEAR]


def test_every_neighbour_and_end_to_end_peer_is_wanted() -> None:
    found = wanted(TOPOLOGY, "edge-fra-1", ["gw-sto-1"])
    assert {name for relation, name in found.items() if relation.adjacent} == {
        "mid-ams-1",
        "mid-lon-1",
        "mid-par-1",
        "dns-1",
        "cache-fra-1",
    }
    assert found[Relation(TOPOLOGY.nodes["gw-sto-1"].number, False)] == "gw-sto-1"


def test_an_initiation_has_to_come_from_the_node_it_names(directory: Path) -> None:
    own = load_credentials(directory, "mid-ams-1")
    offered = Initiation(1, NUMBER, True, own.static_key, own.certificate)
    assert refusal(offered, own.trust, TOPOLOGY, NOW) is None
    other = TOPOLOGY.nodes["mid-lon-1"].number
    assert refusal(replace(offered, peer=other), own.trust, TOPOLOGY, NOW) == WRONG_NUMBER
    assert refusal(replace(offered, static_key=bytes(32)), own.trust, TOPOLOGY, NOW) == "key_mismatch"
    assert refusal(replace(offered, certificate=b"x"), own.trust, TOPOLOGY, NOW) == "malformed"


def test_a_listed_peer_can_be_initiated_to_and_an_unlisted_one_cannot(directory: Path) -> None:
    trust = load_trust(directory)
    assert standing(PeerCertificates(), trust) == Standing()
    assert standing(PeerCertificates(), replace(trust, peers={})) == Standing(can_initiate=False)


def test_a_session_dies_with_its_certificate_also_when_that_is_no_longer_listed(directory: Path) -> None:
    peers = PeerCertificates()
    used = peers.initiate(NEAR, "mid-ams-1", load_trust(directory))
    assert used is not None
    peers.established(NEAR, initiator=True)
    pki.revoke(directory, "mid-ams-1", NOW)
    trust = load_trust(directory)
    assert standing(peers, trust).distrust == "revoked"
    assert not standing(peers, trust).can_initiate


def test_a_session_dies_with_its_certificate_also_when_there_is_a_newer_one(directory: Path) -> None:
    peers = PeerCertificates()
    old = peers.initiate(NEAR, "mid-ams-1", load_trust(directory))
    assert old is not None
    peers.established(NEAR, initiator=True)
    pki.issue(TOPOLOGY, directory, "mid-ams-1", NOW)
    pki.revoke(directory, hex(old.serial), NOW)
    trust = load_trust(directory)
    assert standing(peers, trust).distrust == "revoked"
    assert standing(peers, trust) == Standing()
    newer = peers.initiate(NEAR, "mid-ams-1", trust)
    assert newer is not None
    assert newer.serial != old.serial


def test_a_session_made_with_the_newer_certificate_outlives_the_old_one(directory: Path) -> None:
    peers = PeerCertificates()
    old = peers.initiate(NEAR, "mid-ams-1", load_trust(directory))
    assert old is not None
    peers.established(NEAR, initiator=True)
    pki.issue(TOPOLOGY, directory, "mid-ams-1", NOW)
    peers.accepted(NEAR, load_trust(directory).peers["mid-ams-1"])
    peers.established(NEAR, initiator=False)
    pki.revoke(directory, hex(old.serial), NOW)
    assert standing(peers, load_trust(directory)) == Standing()


def test_a_certificate_presented_later_than_the_list_is_used(directory: Path) -> None:
    stale = load_trust(directory)
    pki.issue(TOPOLOGY, directory, "mid-ams-1", NOW)
    fresh = load_trust(directory).peers["mid-ams-1"]
    peers = PeerCertificates()
    peers.accepted(NEAR, fresh)
    assert peers.initiate(NEAR, "mid-ams-1", stale) == fresh


def test_time_alone_changes_what_is_thought_of_a_peer(directory: Path) -> None:
    """Verdicts are kept as long as no date passes."""
    peers, trust = PeerCertificates(), load_trust(directory)
    late = trust.peers["mid-ams-1"].not_after
    for now, distrust in (
        (NOW, None),
        (late - timedelta(seconds=1), None),
        (late, "expired"),
        (NOW, None),
        (START - timedelta(days=30), "not_yet_valid"),
        (NOW, None),
    ):
        assert standing(peers, trust, now).distrust == distrust
    assert standing(peers, replace(trust, peers={}), NOW) == Standing(can_initiate=False)


def test_expiry_ends_trust(directory: Path) -> None:
    assert standing(PeerCertificates(), load_trust(directory), NOW + timedelta(days=4000)).distrust == "expired"
