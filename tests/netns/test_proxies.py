"""Application proxies with real clients through the overlay: curl and openssl, three servers, also over lossy links."""

from __future__ import annotations

import hashlib
import http.client
import json
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from lab.impairment import Impairment
from lab.origin import digest, size_of
from lab.witness import witness
from tests.gateway.certificates import write_certificate
from tests.netns import labs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

SERVERS = {"origin-1": "10", "origin-2": "11", "origin-3": "12"}


def document(directory: Path) -> dict[str, Any]:
    found = labs.demo("proxies")
    found["lab"]["hosts"]["origin-3"] = {"kind": "origin"}
    found["lab"]["networks"]["origins"]["members"]["origin-3"] = ["10.93.0.12", "fd93::12"]
    del found["applications"]["single"]
    targets = [{"address": f"{net}{last}"} for net in ("10.93.0.", "fd93::") for last in SERVERS.values()]

    def rule(last: str, **conditions: Any) -> dict[str, Any]:
        return {"servers": [f"10.93.0.{last}", f"fd93::{last}"], **conditions}

    found["applications"]["shop"] |= {
        "targets": targets,
        "gateways": ["gw-sto"],
        "mode": "proxy",
        "proxy": {
            "kind": "http",
            "rules": [rule("10", path="/object/"), rule("11", path="/headers"), rule("12")],
        },
    }
    found["applications"]["secure"] = {
        "hostnames": ["secure.apps.example"],
        "ports": ["tcp/443-444"],
        "targets": [dict(each) for each in targets[:2]],
        "gateways": ["gw-sto"],
        "mode": "proxy",
        "proxy": {
            "kind": "tls-sni",
            "rules": [
                {"servers": ["10.93.0.10"], "sni": ["one.example"]},
                {"servers": ["10.93.0.11"], "sni": ["*.two.example"]},
            ],
        },
    }
    found["applications"]["dead"] = {
        "hostnames": ["dead.apps.example"],
        "ports": ["tcp/80", "tcp/81"],
        "targets": [{"address": "10.93.0.99", "port": 80}],
        "gateways": ["gw-sto"],
        "mode": "proxy",
        "proxy": {"kind": "http", "connect_timeout": 0.5, "retries": 0},
    }
    found["regions"]["cache-fra"] = {"role": "content"}
    found["nodes"]["cache-fra-1"] = {
        "region": "cache-fra",
        "underlay": ["10.90.0.51", "fd90::51"],
        "content": {"listen": ["10.91.1.80"], "directory": str(directory / "cache"), "applications": ["shop"]},
    }
    found["lab"]["networks"]["clients-fra"]["members"]["cache-fra-1"] = ["10.91.1.80", "fd91:1::80"]
    found["applications"]["web"] = {
        "hostnames": ["web.apps.example"],
        "ports": ["tcp/443"],
        "targets": [{"address": f"10.93.0.{last}", "port": 80} for last in SERVERS.values()],
        "gateways": ["gw-sto"],
        "mode": "proxy",
        "proxy": {
            "kind": "http",
            "tls": {"certificates": [{"certificate": "web.pem", "key": "web.key"}]},
            "rules": [{"servers": ["10.93.0.11"], "path": "/headers", "alpn": ["h2"]}, {"servers": ["10.93.0.10"]}],
        },
    }
    return found


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    directory = tmp_path_factory.mktemp("proxies")
    write_certificate(directory, "web", "web.apps.example")
    with labs.running(document(directory), directory) as running:
        yield running


def three_urls(lab: RunningLab, directory: Path, version: int) -> None:
    """One client connection, three requests, three servers, every byte as the servers sent it."""
    host = "http://shop.apps.example"
    files = [directory / name for name in ("object", "headers", "name")]
    script = " ".join(
        f"-o {file} -w '%{{num_connects}} %{{remote_ip}}\\n' {host}{path}"
        for file, path in zip(files, ("/object/3MB", "/headers", "/"), strict=True)
    )
    done = lab.exec("client", ["bash", "-c", f"curl -sS --fail -{version} {script}"], timeout=60)
    vip = labs.vip(lab, "shop", version)
    assert done.stdout.splitlines() == [f"1 {vip}", f"0 {vip}", f"0 {vip}"]
    done = lab.exec("client", ["sha256sum", str(files[0])])
    assert done.stdout.split()[0] == digest(size_of("3MB"))
    headers = json.loads(files[1].read_text())
    assert headers["origin"] == "origin-2"
    client = "10.91.1.10" if version == 4 else "fd91:1::10"
    assert headers["headers"]["x-forwarded-for"] == client
    assert files[2].read_text() == "origin-3\n"


@pytest.mark.parametrize("version", [4, 6])
def test_one_connection_three_urls_three_servers(lab: RunningLab, tmp_path: Path, version: int) -> None:
    with witness(lab, "client", labs.vip(lab, "shop", version)) as seen:
        three_urls(lab, tmp_path, version)
    assert (seen.connections, dict(seen.control), seen.missed) == (1, {}, 0)


def test_the_same_over_links_that_lose_three_percent(
    lab: RunningLab, tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    for mid in ("mid-ams-1", "mid-lon-1", "mid-par-1"):
        for end in ("edge-fra-1", "gw-sto-1"):
            lab.impair(end, mid, Impairment(loss=0.03, seed=7))
    try:
        three_urls(lab, tmp_path, 4)
    finally:
        labs.mend(lab)
    figure("Proxy: 1 connection, 3 URLs, 3 servers, 3 % loss on every link", "connects 1 0 0, bytes equal")


def test_flows_metrics_and_verdicts_are_shown(lab: RunningLab) -> None:
    lab.exec("client", ["curl", "-sS", "--fail", "http://shop.apps.example/"])
    (shop, secure, dead, _) = lab.status("gw-sto-1")["proxies"]
    assert (shop["application"], shop["kind"], secure["kind"], dead["kind"]) == ("shop", "http", "tls-sni", "http")
    served = {server["address"]: server["requests"] for server in shop["servers"]}
    assert served["10.93.0.12"] >= 1
    with lab.socket("client") as client:
        client.connect((labs.vip(lab, "shop"), 80))
        client.sendall(b"GET ")
        deadline = time.monotonic() + 5
        while not (found := [each for each in lab.status("gw-sto-1", "/flows")["flows"] if each["mode"] == "normal"]):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    (flow,) = found
    assert (flow["application"], flow["edge"], flow["client"].split(":")[0]) == ("shop", "edge-fra-1", "10.91.1.10")


def await_listeners(lab: RunningLab, *hosts: str) -> None:
    for host in hosts:
        script = f"for i in {{1..100}}; do (exec 3<>/dev/tcp/{host}/443) && exit 0; sleep 0.05; done; exit 1"
        lab.exec("gw-sto-1", ["bash", "-c", script])


def test_tls_goes_to_the_server_of_its_name(lab: RunningLab, tmp_path: Path) -> None:
    servers = []
    try:
        for host, name in (("origin-1", "one.example"), ("origin-2", "a.two.example")):
            key, certificate = tmp_path / f"{host}.key", tmp_path / f"{host}.crt"
            words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj"
            made = ["openssl", *words.split(), f"/CN={name}", "-keyout", str(key), "-out", str(certificate)]
            lab.exec(host, made)
            serve = ["openssl", "s_server", "-accept", "443", "-cert", str(certificate), "-key", str(key), "-www"]
            servers.append(lab.popen(host, serve, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        await_listeners(lab, "10.93.0.10", "10.93.0.11")
        vip = labs.vip(lab, "secure")
        for name in ("one.example", "a.two.example"):
            script = f"openssl s_client -connect {vip}:443 -servername {name} </dev/null"
            done = lab.exec("client", ["bash", "-c", script], check=False, timeout=20)
            assert f"CN = {name}" in done.stdout.replace("CN=", "CN = "), done.stdout + done.stderr
    finally:
        for server in servers:
            server.kill()
            server.wait()


def test_tls_ends_in_the_gateway_and_http2_passes_rules(lab: RunningLab, tmp_path: Path) -> None:
    ca = lab.file.parent / "web.pem"
    host = "https://web.apps.example"
    for version, origin in (("--http2", "origin-2"), ("--http1.1", "origin-1")):
        headers, file = tmp_path / "headers", tmp_path / "object"
        words = f"curl -sS --fail {version} --cacert {ca} -w '%{{http_version}} %{{num_connects}}\\n'"
        script = f"{words} -o {headers} {host}/headers -o {file} {host}/object/3MB"
        done = lab.exec("client", ["bash", "-c", script], timeout=60)
        assert done.stdout.splitlines() == [f"{version[6:]} 1", f"{version[6:]} 0"]
        found = json.loads(headers.read_text())
        assert (found["origin"], found["headers"]["forwarded"]) == (origin, "for=10.91.1.10;proto=https")
        assert hashlib.sha256(file.read_bytes()).hexdigest() == digest(size_of("3MB"))


def test_a_server_that_never_answers_is_told_to_the_client(lab: RunningLab) -> None:
    done = lab.exec("client", ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "http://dead.apps.example/"])
    assert done.stdout == "502"
    (dead,) = [each for each in lab.status("gw-sto-1")["proxies"] if each["application"] == "dead"]
    assert sum(dead["refused"].values()) == 1


def test_a_reload_changes_rules_for_the_next_request_of_a_connection(lab: RunningLab) -> None:
    changed = document(lab.file.parent)
    changed["applications"]["shop"]["proxy"]["rules"] = [{"servers": ["10.93.0.10"]}]
    before = lab.file.read_text()
    with lab.socket("client") as client:
        client.connect((labs.vip(lab, "shop"), 80))
        browser = http.client.HTTPConnection("shop.apps.example")
        browser.sock = client

        def ask() -> str:
            browser.request("GET", "/")
            return browser.getresponse().read().decode().strip()

        assert ask() == "origin-3"
        try:
            lab.file.write_text(yaml.safe_dump(changed, sort_keys=False))
            deadline = time.monotonic() + 10
            while ask() != "origin-1":
                assert time.monotonic() < deadline
                time.sleep(0.1)
        finally:
            lab.file.write_text(before)


def test_a_content_proxy_fetches_once_through_the_overlay_and_remembers(
    lab: RunningLab, tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    file, size = tmp_path / "object", size_of("3MB")
    words = f"curl -sS --fail --connect-to ::10.91.1.80:80 -D - -o {file} http://shop.apps.example/cached/3MB"

    def fetch() -> str:
        head = lab.exec("client", words.split()).stdout.lower()
        assert hashlib.sha256(file.read_bytes()).hexdigest() == digest(size)
        return next(line for line in head.splitlines() if line.startswith("cache-status:"))

    assert "fwd=miss; stored" in fetch()
    deadline = time.monotonic() + 30
    while (content := lab.status("cache-fra-1")["content"])["answers"] != 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "; hit; ttl=" in fetch()
    assert content["origin_bytes"] == size
    lab.kill("cache-fra-1")
    lab.start("cache-fra-1")
    lab.wait_ready("cache-fra-1")
    assert "; hit; ttl=" in fetch()
    # What the worker counts is shown twice a second.
    deadline = time.monotonic() + 10
    while (after := lab.status("cache-fra-1")["content"])["requests"]["hit"] != 1:
        assert time.monotonic() < deadline, after
        time.sleep(0.05)
    assert (after["origin_bytes"], after["events"].get("damaged", 0)) == (0, 0)
    figure("Content proxy: 3 MB twice, killed, once more", f"origin sent {content['origin_bytes']} bytes, all equal")


def test_a_stop_lets_a_download_end(lab: RunningLab, tmp_path: Path) -> None:
    file = tmp_path / "object"
    words = ["curl", "-sS", "--fail", "--limit-rate", "2M", "-o", str(file), "http://shop.apps.example/object/3MB"]
    child = lab.popen("client", words)
    while not file.exists():
        time.sleep(0.05)
    lab.kill("gw-sto-1", signal.SIGTERM)
    try:
        assert child.wait(timeout=10) == 0
        assert hashlib.sha256(file.read_bytes()).hexdigest() == digest(size_of("3MB"))
    finally:
        lab.start("gw-sto-1")
        lab.wait_ready("gw-sto-1")
        labs.wait_protected(lab)


def test_what_a_crash_left_is_replaced_and_a_stop_leaves_nothing(lab: RunningLab, tmp_path: Path) -> None:
    lab.kill("gw-sto-1")
    lab.start("gw-sto-1")
    lab.wait_ready("gw-sto-1")
    labs.wait_protected(lab)
    three_urls(lab, tmp_path, 4)
    rules = lab.exec("gw-sto-1", ["ip", "rule", "show"]).stdout
    assert (rules.count("lookup 7400"), rules.count("lookup 7401")) == (3, 1), rules
    lab.kill("gw-sto-1", signal.SIGTERM)
    for family in ("-4", "-6"):
        assert "7400" not in lab.exec("gw-sto-1", ["ip", family, "rule", "show"]).stdout
        for table in ("local", "7400", "7401"):
            routes = ["ip", family, "route", "show", "table", table, "proto", "187"]
            assert lab.exec("gw-sto-1", routes, check=False).stdout == ""
