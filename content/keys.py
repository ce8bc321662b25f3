"""What TLS of a content proxy needs of files: certificates for clients, authorities for origins; read again when they
change. A bad file changes nothing: what was good stays in use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from braid.tls.authorities import AuthoritiesError, trusting
from braid.tls.certificates import Certificates
from braid.tls.hello import PULL, TLS_1_2, TLS_1_3
from topology.tls import HTTP_1_1, TlsVersion

if TYPE_CHECKING:
    import ssl

    from braid.tls.hello import ClientHello
    from topology.content import ContentSettings

Seen = tuple[str, int, int] | None


class Keys:
    """Of one node; ``look`` first."""

    def __init__(self, node: str) -> None:
        self.origin: ssl.SSLContext | None = None
        """For connections to origins; None while there are no authorities."""
        self._key = f"nodes.{node}.content"
        self._certificates = Certificates()
        self._seen: Seen = None
        self._problem = ""
        self._protocols: tuple[str, ...] = ()
        self._least = TLS_1_2

    @property
    def context(self) -> ssl.SSLContext | None:
        """For clients' handshakes; None while no certificate is good."""
        return self._certificates.context(f"{self._key}.tls")

    def covers(self, name: str) -> bool:
        """Whether a certificate is for this name."""
        return self._certificates.covers(f"{self._key}.tls", name)

    def speaks(self, hello: ClientHello) -> bool:
        """Whether a client can be served, by the version and the protocols that it offers. HTTP/1.1 is spoken where no
        protocol is agreed on."""
        offered = hello.alpn
        return hello.newest >= self._least and (not offered or not {HTTP_1_1, *self._protocols}.isdisjoint(offered))

    @property
    def problems(self) -> dict[str, str]:
        """By key of the topology file, with a remedy."""
        return self._certificates.problems | ({f"{self._key}.origin_ca": self._problem} if self._problem else {})

    def look(self, settings: ContentSettings, directory: Path) -> None:
        """Go over to these, and read again what has changed. Blocks for as long as reading files takes."""
        tls = {} if settings.tls is None else {f"{self._key}.tls": settings.tls}
        self._certificates.look(tls, directory)
        if settings.tls is not None:
            self._protocols = settings.tls.alpn
            self._least = TLS_1_3 if settings.tls.minimum is TlsVersion.TLS_1_3 else TLS_1_2
        file = str(directory / settings.origin_ca) if settings.origin_ca else ""
        seen = _signature(file)
        if seen == self._seen and self.origin is not None:
            return
        self._seen, self._problem = seen, ""
        try:
            context = trusting(directory, settings.origin_ca)
        except AuthoritiesError as error:
            self._problem = str(error)
        else:
            # The second word says to gateways that this connection is not to be transferred: they see no more of it.
            context.set_alpn_protocols([HTTP_1_1, PULL])
            self.origin = context


def _signature(file: str) -> Seen:
    try:
        status = Path(file).stat() if file else None
    except OSError:
        return None
    return (file, 0, 0) if status is None else (file, status.st_mtime_ns, status.st_ino)
