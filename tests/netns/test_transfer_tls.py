"""TLS decided on its ClientHello: delegated names are served by a content proxy with its own certificate, all others
by their origin, byte for byte; a witness at the client sees no packet that says so."""

from __future__ import annotations

import os
import signal
import ssl
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from lab import tls_origin
from lab.impairment import Impairment
from lab.tls_origin import body
from tests.gateway.certificates import write_certificate
from tests.netns import labs
from tests.netns.flags import FIN, RST, SYN, witness
from tests.netns.labs import until
from tests.netns.test_transfer import GATEWAY, PROXY, document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

CDN, WWW, NO_CERTIFICATE = "cdn.apps.example", "www.apps.example", "other.apps.example"
ORIGIN = "origin-1"


def topology(directory: Path) -> dict[str, Any]:
    found = document(directory)
    found["name"] = "transfertls"
    found["applications"]["secure"] = {
        "hostnames": [CDN, WWW, NO_CERTIFICATE],
        # A range: the lab's own origins leave it alone.
        "ports": ["tcp/443-444"],
        "targets": [{"address": "10.93.0.10"}, {"address": "fd93::10"}],
        "gateways": ["gw-sto"],
        "mode": "proxy",
        "proxy": {"kind": "tls-sni"},
    }
    write_certificate(directory, "cdn", CDN)
    write_certificate(directory, "origin", CDN, WWW, NO_CERTIFICATE)
    both = "".join((directory / f"{name}.pem").read_text() for name in ("cdn", "origin"))
    (directory / "both.pem").write_text(both)
    content = found["nodes"][PROXY]["content"]
    content["applications"].append("secure")
    content["origin_ca"] = "origin.pem"
    content["tls"] = {"certificates": [{"certificate": "cdn.pem", "key": "cdn.key"}]}
    found["transfers"].append({"application": "secure", "proxies": [PROXY], "sni": [CDN, NO_CERTIFICATE]})
    return found


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("transfertls")


@pytest.fixture(scope="module")
def lab(directory: Path) -> Iterator[RunningLab]:
    with labs.running(topology(directory), directory) as running:
        files = [str(directory / name) for name in ("origin.pem", "origin.key", "origin.log")]
        running.listening(ORIGIN, [sys.executable, tls_origin.__file__, *files])
        yield running


def curl(lab: RunningLab, directory: Path, ca: str, *words: str) -> list[list[str]]:
    """For each URL the words of ``-w``; what else curl says is an error."""
    told = "%{num_connects} %{http_version} %{ssl_verify_result} %{time_starttransfer} %header{cache-status}\\n"
    done = lab.exec(
        "client", ["curl", "-sS", "--fail", "--cacert", str(directory / f"{ca}.pem"), "-w", told, *words], timeout=60
    )  # fmt: skip
    return [line.split() for line in done.stdout.splitlines()]


def nothing_said(seen: list[tuple[bool, int]]) -> None:
    """The client has heard of one connection, from its beginning to its end."""
    came = [flags for inward, flags in seen if inward]
    assert sum(bool(flags & SYN) for flags in came) == 1
    assert [flags for flags in came[1:-2] if flags & (SYN | FIN | RST)] == []
    assert not any(flags & RST for flags in came)


def requests(lab: RunningLab) -> int:
    transfers: dict[str, Any] = lab.status(GATEWAY)["transfers"]
    return int(transfers["requests"])


def refused(lab: RunningLab, reason: str) -> int:
    return int(lab.status(GATEWAY)["transfers"]["refused"].get(reason, 0))


def log_of(directory: Path) -> list[str]:
    file = directory / "origin.log"
    return file.read_text().splitlines() if file.exists() else []


@pytest.mark.parametrize("version", [4, 6])
def test_a_delegated_name_is_served_by_the_proxy_with_its_own_certificate(
    lab: RunningLab, directory: Path, tmp_path: Path, figure: Callable[[str, object], None], version: int
) -> None:
    path, before = f"/cached/{version}", len(log_of(directory))
    files = [tmp_path / name for name in ("first", "again", "posted")]
    url = f"https://{CDN}{path}"
    words = [word for file in files[:2] for word in ("-o", str(file), url)]
    with witness(lab, 443) as seen:
        lines = curl(lab, directory, "cdn", f"-{version}", *words)
    assert [line[:3] for line in lines] == [["1", "2", "0"], ["0", "2", "0"]]
    assert [" ".join(line[4:]).partition(";")[0] for line in lines] == [PROXY, PROXY]
    assert all(file.read_bytes() == body(path) for file in files[:2])
    nothing_said(seen)
    # Of what it has not, and of what no cache answers, it is the reverse proxy.
    posted = curl(lab, directory, "cdn", f"-{version}", "-d", "some=thing", "-o", str(files[2]), f"https://{CDN}/post")
    assert "fwd=method" in posted[0]
    assert files[2].read_bytes() == b"some=thing"
    asked = [line.split('"')[1] for line in log_of(directory)[before:]]
    assert asked == [f"GET {path} HTTP/1.1", "POST /post HTTP/1.1"]
    figure(f"Transfer (IPv{version}): TLS of a delegated name, an object of 1 MB fetched and then stored", f"{lines}")


def test_any_other_name_stays_with_its_origin(lab: RunningLab, directory: Path, tmp_path: Path) -> None:
    before = requests(lab)
    with witness(lab, 443) as seen:
        lines = curl(lab, directory, "origin", "-4", "-o", str(tmp_path / "got"), f"https://{WWW}/plain")
    assert (lines[0][:3], lines[0][4:]) == (["1", "1.1", "0"], [])
    assert (tmp_path / "got").read_bytes() == body("/plain")
    assert requests(lab) == before
    nothing_said(seen)


def test_a_name_without_a_certificate_is_refused_and_goes_on_at_its_origin(
    lab: RunningLab, directory: Path, tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    before = refused(lab, "not_delegated")
    url = f"https://{NO_CERTIFICATE}/plain"
    with witness(lab, 443) as seen:
        lines = curl(lab, directory, "origin", "-4", "-o", str(tmp_path / "got"), url)
    assert (lines[0][:3], lines[0][4:]) == (["1", "1.1", "0"], [])
    assert (tmp_path / "got").read_bytes() == body("/plain")
    assert refused(lab, "not_delegated") == before + 1
    nothing_said(seen)
    cold = curl(lab, directory, "origin", "-4", "-o", "/dev/null", url)
    assert refused(lab, "cold") >= 1
    figure("Transfer: TLS of a name that the proxy refuses, and then is not asked for", f"{lines} {cold}")


@pytest.mark.parametrize(("name", "file", "by"), [(CDN, "cdn", PROXY), (WWW, "origin", "")])
def test_openssl_sees_the_certificate_of_whoever_serves(
    lab: RunningLab, directory: Path, name: str, file: str, by: str
) -> None:
    """With protocols of 2,500 bytes: the ClientHello goes to the proxy in parts."""
    protocols = ",".join(f"no-such-protocol-{number:03}" for number in range(120))
    request = f"GET /cached/openssl HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
    words = [
        "openssl",
        "s_client",
        "-connect",
        f"{labs.vip(lab, 'secure', 4)}:443",
        "-servername",
        name,
        "-verify_return_error",
    ]
    words += ["-CAfile", str(directory / f"{file}.pem"), "-alpn", f"http/1.1,{protocols}", "-ign_eof"]
    done = lab.exec("client", words, stdin=request, timeout=60, check=False)
    # Python's server does not say the end in TLS, which openssl asks for.
    assert done.returncode == (0 if by else 1)
    assert f"subject=CN = {CDN}" in done.stdout
    assert "Verify return code: 0 (ok)" in done.stdout
    assert (f"cache-status: {by};" in done.stdout) is bool(by)
    assert done.stdout.count("/cached/openssl\n") == len(body("/cached/openssl").splitlines())


@pytest.mark.parametrize(("name", "file", "by"), [(CDN, "cdn", PROXY), (WWW, "origin", "")])
def test_a_hello_in_several_segments(lab: RunningLab, directory: Path, name: str, file: str, by: str) -> None:
    context = ssl.create_default_context(cafile=str(directory / f"{file}.pem"))
    received, sending = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(received, sending, server_hostname=name)
    with lab.socket("client") as client:
        client.settimeout(10)
        client.connect((str(labs.vip(lab, "secure", 4)), 443))
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        hello = sending.read()
        for part in (hello[:3], hello[3:100], hello[100:-1], hello[-1:]):
            client.sendall(part)
            time.sleep(0.05)

        def until_done(act: Callable[[], Any]) -> Any:
            while True:
                try:
                    done = act()
                except ssl.SSLWantReadError:
                    client.sendall(sending.read())
                    received.write(client.recv(65536))
                else:
                    client.sendall(sending.read())
                    return done

        until_done(tls.do_handshake)
        tls.write(f"GET /cached/parts HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
        answer = until_done(lambda: tls.read(65536))
    assert answer.startswith(b"HTTP/1.1 200")
    assert (f"cache-status: {by};".encode() in answer) is bool(by)


def test_lost_messages_cost_time_and_nothing_else(
    lab: RunningLab, directory: Path, figure: Callable[[str, object], None]
) -> None:
    """30 % of what gateway and proxy tell each other is lost; whoever serves, the client is served."""
    url = f"https://{CDN}/cached/4"
    lab.impair(GATEWAY, PROXY, Impairment(loss=0.3, seed=3))
    try:
        lines = [curl(lab, directory, "both", "-4", "-o", "/dev/null", url)[0] for _ in range(10)]
    finally:
        lab.impair(GATEWAY, PROXY, None)
    assert sum(line[4:5] == [f"{PROXY};"] for line in lines) >= 7
    assert max(float(line[3]) for line in lines) < 1.0
    figure(
        "Transfer: TLS at 30 % loss between gateway and proxy, seconds to the first byte", [line[3] for line in lines]
    )


def test_a_silent_proxy_costs_a_tenth_of_a_second(
    lab: RunningLab, directory: Path, figure: Callable[[str, object], None]
) -> None:
    url = f"https://{CDN}/plain"
    pid = lab.nodes[PROXY]
    os.kill(pid, signal.SIGSTOP)
    try:
        (line,) = curl(lab, directory, "origin", "-4", "-o", "/dev/null", url)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (line[:3], line[4:]) == (["1", "1.1", "0"], [])
    assert float(line[3]) < 1.0
    # Its sessions may have ended meanwhile: the origin serves until they are back.
    again = ("-4", "-o", "/dev/null", f"https://{CDN}/cached/4")
    until(lambda: curl(lab, directory, "both", *again)[0][4:5] == [f"{PROXY};"])
    figure("Transfer: TLS, first byte while the proxy is silent", f"{line}")
