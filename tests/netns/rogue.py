"""A node that does not look at its own credentials: ``python -m tests.netns.rogue NODE -t FILE --pki DIR``.

All else is a real node: it believes in the CA of DIR and tries to join with whatever lies in DIR/nodes/NODE.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from braid import log
from braid.credentials import load_trust, node_directory
from braid.identity import Credentials
from braid.node import Options, run
from topology.source import load


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("node")
    parser.add_argument("-t", type=Path)
    parser.add_argument("--pki", type=Path)
    asked = parser.parse_args()
    log.configure(log.LogFormat.JSON, level="info", node=asked.node)
    folder = node_directory(asked.pki, asked.node)
    key = load_pem_private_key((folder / "node.key").read_bytes(), None)
    assert isinstance(key, X25519PrivateKey)
    certificate = x509.load_pem_x509_certificate((folder / "node.crt").read_bytes()).public_bytes(Encoding.DER)
    static_key = key.public_key().public_bytes_raw()
    trust = load_trust(asked.pki)
    credentials = Credentials(asked.node, key.private_bytes_raw(), static_key, certificate, trust)
    trio.run(run, load(asked.t), credentials, Options(asked.node, asked.t, asked.pki))


if __name__ == "__main__":
    main()
