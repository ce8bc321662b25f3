"""Certificates of TLS that ends in this node: read from files, chosen by server name, read again."""

from __future__ import annotations

import ssl
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING

from cryptography import x509

from topology.tls import HTTP_2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from topology.tls import Tls

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
asked: ContextVar[list[str]] = ContextVar("asked")
"""Server names of the handshake that the current task makes."""

Signature = tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class Loaded:
    context: ssl.SSLContext | None
    """For handshakes; None when no certificate is good."""
    problems: Mapping[str, str] = field(default_factory=dict)
    """Of the topology's keys below ``tls``, with a remedy."""
    contexts: Mapping[str, ssl.SSLContext] = field(default_factory=dict)
    """By name, which may begin with ``*.``."""


@dataclass(slots=True)
class _Held:
    tls: Tls
    directory: Path
    files: Signature
    loaded: Loaded


class Certificates:
    """By the keys of the topology file that hold them. A bad file changes nothing: what was good stays in use."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}

    def context(self, key: str) -> ssl.SSLContext | None:
        held = self._held.get(key)
        return held.loaded.context if held else None

    def covers(self, key: str, name: str) -> bool:
        """Whether one of them is for this name."""
        held = self._held.get(key)
        return held is not None and named(held.loaded.contexts, name) is not None

    @property
    def problems(self) -> dict[str, str]:
        """By key of the topology file, with a remedy."""
        return {
            f"{place}.{key}": problem
            for place, held in self._held.items()
            for key, problem in held.loaded.problems.items()
        }

    def look(self, wanted: Mapping[str, Tls], directory: Path) -> None:
        """Go over to these, and read again what has changed. Blocks for as long as reading files takes."""
        for key in self._held.keys() - wanted.keys():
            del self._held[key]
        for key, tls in wanted.items():
            held, files = self._held.get(key), signature(tls, directory)
            if held is not None and (held.tls, held.directory, held.files) == (tls, directory, files):
                continue
            loaded = load(tls, directory)
            if held is not None and loaded.problems and held.loaded.context is not None:
                loaded = replace(held.loaded, problems=loaded.problems)
            self._held[key] = _Held(tls, directory, files, loaded)


def load(tls: Tls, directory: Path) -> Loaded:
    """All certificates. Those that are good serve, whatever is wrong with the others."""
    contexts: dict[str, ssl.SSLContext] = {}
    problems: dict[str, str] = {}
    first: ssl.SSLContext | None = None
    for position, pair in enumerate(tls.certificates):
        key = f"certificates[{position}]"
        try:
            names = _names((directory / pair.certificate).read_bytes())
            context = _context(tls, directory / pair.certificate, directory / pair.key)
        except OSError as error:
            # ssl.SSLError is one too: then there is a file, and no key or certificate in it, or not of each other.
            if isinstance(error, ssl.SSLError):
                problems[key] = f"{pair.certificate} and {pair.key}: {_plain(error)}; give a PEM chain and its key"
            else:
                what = error.filename or pair.key
                problems[key] = f"{what}: {(error.strerror or str(error)).lower()}; put the file there for this node"
        except ValueError:
            problems[key] = f"{pair.certificate}: no certificate in PEM; give the chain, the server's own first"
        else:
            first = first or context
            for name in names:
                contexts.setdefault(name, context)
    if first is not None:
        first.sni_callback = _chooser(contexts, first)
    return Loaded(first, problems, contexts)


def signature(tls: Tls, directory: Path) -> Signature:
    """Changes when a file does."""
    found: list[tuple[int, int] | None] = []
    for name in (name for pair in tls.certificates for name in (pair.certificate, pair.key)):
        try:
            status = (directory / name).stat()
        except OSError:
            found.append(None)
        else:
            found.append((status.st_mtime_ns, status.st_ino))
    return tuple(found)


def named(contexts: Mapping[str, ssl.SSLContext], name: str) -> ssl.SSLContext | None:
    """The one with a certificate for a name."""
    return contexts.get(name) or contexts.get(f"*.{name.partition('.')[2]}")


def _context(tls: Tls, certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.minimum]
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE

    def no_password() -> str:
        raise ssl.SSLError("the key is encrypted")

    context.load_cert_chain(certificate, key, no_password)
    if HTTP_2 in tls.alpn:
        # It is a tenth of all that a node reads at its start: for those that need it, and not while a client waits.
        import_module("braid.tls.http2")
    if tls.alpn:
        context.set_alpn_protocols(list(tls.alpn))
    return context


def _names(pem: bytes) -> list[str]:
    """That the first certificate is for. ValueError when there is none."""
    certificate = x509.load_pem_x509_certificates(pem)[0]
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in extension.value.get_values_for_type(x509.DNSName)]


def _chooser(contexts: Mapping[str, ssl.SSLContext], first: ssl.SSLContext) -> Callable[..., None]:
    def choose(handshake: ssl.SSLObject, name: str | None, _first: ssl.SSLContext) -> None:
        word = (name or "").lower().removesuffix(".")
        asked.get().append(word)
        handshake.context = named(contexts, word) or first

    return choose


def _plain(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()
