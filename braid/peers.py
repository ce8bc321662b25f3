"""Whom the node believes: topology and certificates together decide about every peer. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from braid.identity import Refused, read_certificate, verify
from braid.session import Relation, Standing
from topology.graph import neighbours

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from braid.delegation import Delegation
    from braid.events import Initiation
    from braid.identity import Credentials, PeerCertificate, Trust
    from topology.model import Topology

WRONG_NUMBER = "wrong_number"
"""The handshake claims to come from another node than the one the certificate names."""


def wanted(topology: Topology, name: str, end_to_end: Iterable[str]) -> dict[Relation, str]:
    """Every session the node should have, with the peer's name."""
    relations = {Relation(node.number, True): node.name for node in neighbours(topology, name)}
    return relations | {Relation(topology.nodes[peer].number, False): peer for peer in end_to_end}


class Wanted:
    """``wanted``, worked out when it may be another answer: it is asked each second."""

    def __init__(self) -> None:
        self._asked: tuple[Topology, str, frozenset[str]] | None = None
        self._relations: dict[Relation, str] = {}

    def __call__(self, topology: Topology, name: str, end_to_end: Iterable[str]) -> dict[Relation, str]:
        peers = frozenset(end_to_end)
        last = self._asked
        if last is None or last[0] is not topology or last[1:] != (name, peers):
            self._asked, self._relations = (topology, name, peers), wanted(topology, name, peers)
        return self._relations


def refusal(initiation: Initiation, trust: Trust, topology: Topology, now: datetime) -> str | None:
    """Why the sender of an initiation gets no session, or None. ``now`` is aware."""
    try:
        verified = verify(initiation.certificate, initiation.static_key, trust, topology, now)
    except Refused as refused:
        return refused.reason
    return None if verified.number == initiation.peer else WRONG_NUMBER


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What was thought of all peers, none of them distrusted, and on what grounds."""

    relations: Mapping[Relation, str]
    trust: Trust
    topology: Topology
    at: datetime
    until: datetime
    """The next moment at which a certificate begins or ends to be valid."""
    standings: Mapping[Relation, Standing]

    def holds(self, relations: Mapping[Relation, str], trust: Trust, topology: Topology, now: datetime) -> bool:
        same = self.trust is trust and self.topology is topology and self.at <= now < self.until
        return same and (self.relations is relations or self.relations == relations)


def _next_date(certificates: Iterable[PeerCertificate], trust: Trust, now: datetime) -> datetime:
    dates = [trust.ca.not_valid_before_utc, trust.ca.not_valid_after_utc]
    for certificate in certificates:
        dates += (certificate.not_before, certificate.not_after)
    return min((date for date in dates if date > now), default=now)


class PeerCertificates:
    """By which certificate each peer is known, and by which each session was made.

    A session is judged by its own certificate: a newer one of the same node does not save it.
    """

    def __init__(self) -> None:
        self._presented: dict[str, PeerCertificate] = {}
        self._offered: dict[Relation, PeerCertificate] = {}
        self._tried: dict[Relation, PeerCertificate] = {}
        self._in_use: dict[Relation, PeerCertificate] = {}
        self._verdict: _Verdict | None = None
        """The last one, as long as nothing can have changed it."""

    def accepted(self, relation: Relation, certificate: PeerCertificate) -> None:
        """The peer proved to hold a certificate that was found valid, and is being answered."""
        self._presented[certificate.name] = certificate
        self._offered[relation] = certificate
        self._verdict = None

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
            self._verdict = None

    def standings(
        self, relations: Mapping[Relation, str], trust: Trust, topology: Topology, now: datetime
    ) -> Mapping[Relation, Standing]:
        """What to think of each peer now: the same object as long as nothing can have changed it. A session found bad
        is so once; then the peer's newest certificate counts."""
        if self._verdict is not None and self._verdict.holds(relations, trust, topology, now):
            return self._verdict.standings
        found = {
            relation: self._of_session(relation, trust, topology, now) or self._of_node(name, trust, topology, now)
            for relation, name in relations.items()
        }
        self._verdict = None
        if all(standing.distrust is None for standing in found.values()):
            known = [*self._in_use.values(), *self._presented.values(), *trust.peers.values()]
            until = _next_date(known, trust, now)
            self._verdict = _Verdict(relations, trust, topology, now, until, found)
        return found

    def delegations(self, topology: Topology, own: Credentials) -> dict[str, Delegation]:
        """Of all content nodes that are known, by the certificate issued last; of the node itself by the one it has, as
        its peers see that."""
        names = (node.name for node in topology.nodes.values() if node.content is not None)
        found = {name: self._newest(name, own.trust) for name in names}
        if own.node in found:
            found[own.node] = read_certificate(own.certificate, own.trust.ca)
        return {name: certificate.delegation for name, certificate in found.items() if certificate is not None}

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
