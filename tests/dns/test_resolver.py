"""A real resolver in front: Debian's unbound with minimised names and letters' case at random (0x20)."""

from __future__ import annotations

import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from dnslib import DNSRecord

from bench.dns.mutate import query, question
from tests.dns.served import HOSTS, everything, exchange, served
from tests.dns.zone import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dns.answer import Transport

UNBOUND = shutil.which("unbound", path="/usr/sbin:/usr/local/sbin:/usr/bin")
TTL = 2
CONFIGURATION = """\
server:
  directory: "{folder}"
  chroot: ""
  username: ""
  pidfile: "{folder}/pid"
  use-syslog: no
  verbosity: 1
  interface: {host}@{port}
  access-control: 127.0.0.0/8 allow
  access-control: ::1/128 allow
  do-not-query-localhost: no
  module-config: "iterator"
  num-threads: 1
  so-rcvbuf: 0
  qname-minimisation: yes
  qname-minimisation-strict: yes
  use-caps-for-id: yes
  local-zone: "10.in-addr.arpa." nodefault
remote-control:
  control-enable: no
stub-zone:
  name: "apps.example"
  stub-addr: {host}@{braid}
stub-zone:
  name: "10.in-addr.arpa"
  stub-addr: {host}@{braid}
"""


@contextmanager
def unbound(folder: Path, host: str, braid: int) -> Iterator[int]:
    port = free_port(host)
    (folder / "unbound.conf").write_text(CONFIGURATION.format(folder=folder, host=host, port=port, braid=braid))
    command = [str(UNBOUND), "-d", "-c", str(folder / "unbound.conf")]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            end = time.monotonic() + 60
            while True:
                try:
                    if exchange(host, port, query(question("version.server", 16, 3)), "udp", 0.5):
                        break
                except OSError:
                    time.sleep(0.05)
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < end, (folder / "log").read_text()
            yield port
        finally:
            process.terminate()
            process.wait(20)


def ask(host: str, port: int, name: str, kind: int = 1, transport: Transport = "udp") -> tuple[int, list[str]]:
    """The rcode and the data."""
    answer = exchange(host, port, query(question(name, kind), b"", flags=0x0100), transport, 10)
    assert answer is not None
    record = DNSRecord.parse(answer)
    return record.header.rcode, [str(each.rdata) for each in record.rr]


@pytest.mark.skipif(UNBOUND is None, reason="unbound is not installed: make test installs it")
@pytest.mark.parametrize("host", HOSTS)
def test_unbound_resolves_caches_and_follows_a_withdrawal(tmp_path: Path, host: str) -> None:
    config = everything()
    config = replace(config, zone=replace(config.zone, ttl=TTL))
    drained: set[str] = set()
    with (
        served(config, (host,), lambda: frozenset(drained)) as (braid, service),
        unbound(tmp_path, host, braid) as port,
    ):
        resolved = partial(ask, host)
        everybodys, other = "10.91.3.130", {"10.91.1.130", "10.91.2.130"}
        assert resolved(port, "shop.apps.example") == (0, [everybodys])
        assert resolved(port, "shop.apps.example", 28) == (0, ["fd91:3::1:1"])
        assert resolved(port, "shop.apps.example", 65) == (0, ["1 . alpn=h2,h3"])
        assert resolved(port, "shop.apps.example", 257) == (0, [])
        assert resolved(port, "alias.apps.example")[1][-1] == everybodys
        assert resolved(port, "static.apps.example") == (0, ["a.ent.apps.example.", "192.0.2.1"])
        assert resolved(port, "a.b.wild.apps.example") == (0, ["192.0.2.2"])
        assert resolved(port, "ent.apps.example") == (0, [])
        assert resolved(port, "a.ent.apps.example") == (0, ["192.0.2.1"]), "through an empty non-terminal"
        assert resolved(port, "nosuch.apps.example") == (3, [])
        assert len(resolved(port, "wide.apps.example", 1, "tcp")[1]) == 100, "over TCP"
        assert resolved(port, "130.2.91.10.in-addr.arpa", 12) == (0, ["shop.apps.example."])

        resolved(port, "shop.apps.example")
        asked = service.counters.answered
        for _ in range(50):
            assert resolved(port, "shop.apps.example") == (0, [everybodys])
        assert service.counters.answered - asked <= 2, "answered from the cache"

        drained.add("edge-any-1")
        began = time.monotonic()
        while resolved(port, "shop.apps.example") == (0, [everybodys]):
            assert time.monotonic() - began < TTL + 10, "what it had lives no longer than its TTL"
            time.sleep(0.05)
        code, found = resolved(port, "shop.apps.example")
        assert code == 0
        assert set(found) <= other
