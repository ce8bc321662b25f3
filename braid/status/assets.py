"""The page's files: HTML, style, scripts and icon, served as they are, revalidated by their hash."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""Nothing from elsewhere, nothing inline, no text turned into HTML."""


@dataclass(frozen=True, slots=True)
class Asset:
    content: bytes
    kind: str
    etag: str

    def headers(self) -> dict[str, str]:
        return {
            "content-type": self.kind,
            "etag": self.etag,
            "cache-control": "no-cache",
            "content-security-policy": POLICY,
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
        }


def load_assets() -> dict[str, Asset]:
    """By name, as ``page.html``."""
    found = {}
    for file in files("braid.status").joinpath("page").iterdir():
        kind = TYPES.get(file.name.rpartition(".")[2])
        if kind is not None:
            content = file.read_bytes()
            found[file.name] = Asset(content, kind, f'"{sha256(content).hexdigest()[:32]}"')
    return found
