"""TCP, UDP and ICMP of both IP versions, carried by an underlay of IPv4 alone and of IPv6 alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab.origin import digest, size_of
from tests.netns import labs, traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.running import RunningLab

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module", params=[4, 6], ids=["outer4", "outer6"])
def outer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, RunningLab]]:
    version: int = request.param
    name = f"fig{version}"
    document = labs.demo(name)
    labs.one_family(document, version)
    with labs.running(document, tmp_path_factory.mktemp(name)) as lab:
        yield version, lab


@pytest.mark.parametrize("inner", [4, 6], ids=["inner4", "inner6"])
@pytest.mark.parametrize("protocol", ["tcp", "udp", "icmp"])
def test_every_combination_passes(
    outer: tuple[int, RunningLab], inner: int, protocol: str, figure: Callable[[str, object], None]
) -> None:
    version, lab = outer
    told = {"tcp": tcp, "udp": udp, "icmp": icmp}[protocol](lab, inner)
    sessions = lab.status("edge-fra-1")["neighbours"]
    assert {each["address"].startswith("[") for each in sessions} == {version == 6}
    figure(f"{protocol.upper()} over IPv{inner} in IPv{version}", told)


def tcp(lab: RunningLab, inner: int) -> str:
    got = traffic.download(lab, "client", "http://shop.apps.example/object/20MB", f"-{inner}")
    assert got.sha256 == digest(size_of("20MB"))
    assert got.remote == labs.vip(lab, "shop", inner)
    return f"20 MB by name, sha256 equal, {got.megabits:.0f} Mbit/s"


def udp(lab: RunningLab, inner: int) -> str:
    """Small datagrams at speed, and large ones in fragments, there and back."""
    to = traffic.endpoint(labs.vip(lab, "solo", inner), 6010)
    told = []
    with traffic.serving(lab, "origin-2", "udp-echo", 6010):
        # IPv6 hosts cut datagrams to the overlay's MTU only after they were told of it.
        traffic.run_generator(lab, "client", "udp-send", to, rate=20, seconds=0.2, size=4000, idle=0.5, echo=True)
        for size, rate in ((1000, 2000), (4000, 100)):
            options: dict[str, float | bool] = {"rate": rate, "seconds": 1.0, "size": size, "echo": True}
            # Others use the machine, too: with so few under way no queue is full.
            sent = traffic.run_generator(lab, "client", "udp-send", to, **options, window=32, idle=10.0)
            echo = sent["echo"]
            assert (echo["received"], echo["lost"], echo["duplicated"], echo["damaged"]) == (rate, 0, 0, 0), echo
            told.append(f"{rate} datagrams of {size} bytes")
    return f"{' and '.join(told)} there and back, 0 lost"


def icmp(lab: RunningLab, inner: int) -> str:
    done = lab.exec("client", ["ping", "-n", "-c", "20", "-l", "20", "-i", "1", labs.vip(lab, "shop", inner)])
    assert " 20 received" in done.stdout
    assert "duplicates" not in done.stdout
    return "20 of 20 echo requests answered"
