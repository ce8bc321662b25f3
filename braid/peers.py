"""Whom the node believes: topology and certificates together decide about every peer. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.identity import Refused, verify
from braid.session import Relation, Standing
from topology.graph import neighbours

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from braid.events import Initiation
    from braid.identity import Credentials, PeerCertificate, Trust
    from topology.model import Topology

WRONG_NUMBER = "wrong_number"
"""The handshake claims to come from another node than the one the certificate names."""


def wanted(topology: Topology, name: str, end_to_end: Iterable[str]) -> dict[Relation, str]:
    """Every session the node should have, with the peer's name."""
    relations = {Relation(node.number, True): node.name for node in neighbours(topology, name)}
    return relations | {Relation(topology.nodes[peer].number, False): peer for peer in end_to_end}


def refusal(initiation: Initiation, trust: Trust, topology: Topology, now: datetime) -> str | None:
    """Why the sender of an initiation gets no session, or None. ``now`` is aware."""
    try:
        verified = verify(initiation.certificate, initiation.static_key, trust, topology, now)
    except Refused as refused:
        return refused.reason
    return None if verified.number == initiation.peer else WRONG_NUMBER


class PeerCertificates:
    """By which certificate each peer is known, and by which each session was made.

    A session is judged by its own certificate: a newer one of the same node does not save it.
    """

    def __init__(self) -> None:
        self._presented: dict[str, PeerCertificate] = {}
        self._offered: dict[Relation, PeerCertificate] = {}
        self._tried: dict[Relation, PeerCertificate] = {}
        self._in_use: dict[Relation, PeerCertificate] = {}

    def accepted(self, relation: Relation, certificate: PeerCertificate) -> None:
        """The peer proved to hold a certificate that was found valid, and is being answered."""
        self._presented[certificate.name] = certificate
        self._offered[relation] = certificate

    def initiate(self, relation: Relation, name: str, trust: Trust) -> PeerCertificate | None:
        """The certificate to which a handshake is now addressed: the one issued last. None: the peer has to begin."""
        certificate = self._newest(name, trust)
        if certificate is not None:
            self._tried[relation] = certificate
        return certificate

    def established(self, relation: Relation, initiator: bool) -> None:
        certificate = (self._tried if initiator else self._offered).get(relation)
        if certificate is not None:
            self._in_use[relation] = certificate

    def standings(
        self, relations: Mapping[Relation, str], trust: Trust, topology: Topology, now: datetime
    ) -> dict[Relation, Standing]:
        """What to think of each peer now. A session found bad is so once; then the peer's newest certificate counts."""
        return {
            relation: self._of_session(relation, trust, topology, now) or self._of_node(name, trust, topology, now)
            for relation, name in relations.items()
        }

    def _of_session(self, relation: Relation, trust: Trust, topology: Topology, now: datetime) -> Standing | None:
        certificate = self._in_use.get(relation)
        reason = None if certificate is None else _refusal(certificate, trust, topology, now)
        if reason is None:
            return None
        del self._in_use[relation]
        return Standing(can_initiate=False, distrust=reason)

    def _of_node(self, name: str, trust: Trust, topology: Topology, now: datetime) -> Standing:
        certificate = self._newest(name, trust)
        if certificate is None:
            return Standing(can_initiate=False)
        reason = _refusal(certificate, trust, topology, now)
        return Standing() if reason is None else Standing(can_initiate=False, distrust=reason)

    def _newest(self, name: str, trust: Trust) -> PeerCertificate | None:
        listed, presented = trust.peers.get(name), self._presented.get(name)
        if listed is None or presented is None:
            return listed or presented
        return max((presented, listed), key=lambda certificate: certificate.not_before)


def own_problem(credentials: Credentials, topology: Topology, now: datetime) -> str | None:
    """Why peers refuse this node, or None."""
    try:
        verify(credentials.certificate, credentials.static_key, credentials.trust, topology, now)
    except Refused as refused:
        return refused.reason
    return None


def _refusal(certificate: PeerCertificate, trust: Trust, topology: Topology, now: datetime) -> str | None:
    try:
        verify(certificate.der, certificate.static_key, trust, topology, now)
    except Refused as refused:
        return refused.reason
    return None
