"""What is delivered for monitoring: rules, dashboard and scrape configuration use metrics and labels that exist."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import yaml

from braid.status.app import serve
from tests.braid.fake_node import FakeView
from topology.model import SocketAddress

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus/rules.yml"
DASHBOARD = DEPLOY / "grafana/braid.json"
PROMTOOL = shutil.which("promtool")
FROM_THE_SCRAPE = {"job", "instance", "node", "role", "region"}

PROMETHEUS = shutil.which("prometheus")
PATIENCE = 60.0
"""Seconds for the first scrape and the first look at the rules; each comes after 5 s."""

needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
needs_prometheus = pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed")


def documented() -> dict[str, set[str]]:
    """Metric -> labels."""
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `braid_")]
    return {row[1].strip().strip("`"): set(filter(None, row[2].replace(" ", "").split(","))) for row in rows}


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return found


def metrics(expression: str) -> set[str]:
    """As docs/metrics.md calls them: a histogram by its own name."""
    return {name.removesuffix("_bucket") for name in re.findall(r"\bbraid_[a-z_]+\b", expression)}


def expressions() -> dict[str, str]:
    """What is asked of Prometheus, by where."""
    found = {f"alert {rule['alert']}": rule["expr"] for rule in rules()}
    for panel in dashboard()["panels"]:
        found |= {f"panel {panel['title']} {each['refId']}": each["expr"] for each in panel.get("targets", ())}
    found |= {f"annotation {each['name']}": each["expr"] for each in dashboard()["annotations"]["list"]}
    return found


@pytest.mark.parametrize("place", expressions())
def test_every_metric_that_is_asked_for_exists(place: str) -> None:
    names = metrics(expressions()[place])
    assert names <= documented().keys()
    assert names or re.search(r"\bprocess_|\bup\b", expressions()[place])


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_what_it_means_with_labels_that_it_has(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    said = " ".join(rule["annotations"].values())
    assert rule["annotations"].keys() == {"summary", "description"}
    labels = FROM_THE_SCRAPE.union(*(documented()[name] for name in metrics(rule["expr"])))
    assert set(re.findall(r"\$labels\.(\w+)", said)) <= labels


def test_legends_of_the_dashboard_name_labels_that_there_are() -> None:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            labels = FROM_THE_SCRAPE.union(*(documented()[name] for name in metrics(target["expr"])))
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels, panel["title"]


def test_panels_do_not_lie_on_each_other() -> None:
    cells = [
        (x, y)
        for panel in dashboard()["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


@needs_promtool
def test_the_alerts_fire_when_they_should() -> None:
    for arguments in (["check", "rules", str(RULES)], ["test", "rules", str(RULES.with_name("rules-test.yml"))]):
        done = subprocess.run([str(PROMTOOL), *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_the_expressions_of_the_dashboard_are_valid(tmp_path: Path) -> None:
    texts = [text.replace("$__rate_interval", "1m").replace("$node", ".*") for text in expressions().values()]
    file = tmp_path / "dashboard.yml"
    recorded = [{"record": f"r{number}", "expr": text} for number, text in enumerate(texts)]
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}), encoding="utf-8")
    done = subprocess.run([str(PROMTOOL), "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_prometheus
async def test_prometheus_scrapes_a_node_and_loads_the_rules_as_in_the_compose_profile(tmp_path: Path) -> None:
    """The same configuration files and arguments as in compose.yaml, without containers."""
    with socket.socket() as one, socket.socket() as other:
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
        port, own = one.getsockname()[1], other.getsockname()[1]
    (tmp_path / "targets").mkdir()
    labels = {"node": "edge-fra-1", "role": "edge", "region": "edge-fra"}
    found = [{"targets": [f"127.0.0.1:{port}"], "labels": labels}]
    (tmp_path / "targets/braid.json").write_text(json.dumps(found), encoding="utf-8")
    for file in (RULES, RULES.with_name("prometheus.yml")):
        shutil.copy(file, tmp_path)
    options = [f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    command = [str(PROMETHEUS), *options, f"--web.listen-address=127.0.0.1:{own}"]

    async def ask(query: str) -> Any:
        try:
            answer = await client.get(f"http://127.0.0.1:{own}/api/v1/{query}")
        except httpx.TransportError:
            return None
        return answer.json()["data"] if answer.status_code == 200 else None

    async with trio.open_nursery() as nursery, httpx.AsyncClient() as client:
        await nursery.start(serve, FakeView(), SocketAddress(ip_address("127.0.0.1"), port))
        nursery.start_soon(partial(trio.run_process, command, stderr=subprocess.DEVNULL, check=False))
        said, loaded = None, None
        with trio.fail_after(PATIENCE):
            while not said or not said["result"] or not loaded or '"health": "unknown"' in json.dumps(loaded):
                await trio.sleep(0.2)
                said, loaded = await ask("query?query=braid_ready"), await ask("rules")
        assert said["result"][0]["metric"].items() >= (labels | {"job": "braid"}).items()
        (target,) = (await ask("targets"))["activeTargets"]
        assert (target["health"], target["lastError"]) == ("up", "")
        assert [(rule["name"], rule["health"]) for rule in loaded["groups"][0]["rules"]] == [
            (rule["alert"], "ok") for rule in rules()
        ]
        nursery.cancel_scope.cancel()
