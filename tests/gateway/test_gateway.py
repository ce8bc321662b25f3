from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

from braid.app_numbers import AppNumbers
from gateway.nat import captured, gateway_policy, peers_of, served
from gateway.targets import CheckResult, Probe, TargetTable, probes
from topology.model import CheckKind, HealthCheck
from topology.source import load

TOPOLOGY = load(Path("lab/demo.yaml"))
GATEWAY = "gw-sto-1"
CHECK = HealthCheck(kind=CheckKind.TCP, port=80, path="/", interval=1.0, timeout=0.5, rise=2, fall=3)
TARGET = ("shop", ip_address("10.93.0.10"))
PROBE = Probe(TARGET, 80, CHECK)
PASS, FAIL = CheckResult(True, "connected"), CheckResult(False, "connection refused")


def test_the_policy_names_every_vip_with_its_edge() -> None:
    numbers = AppNumbers()
    policy = gateway_policy(TOPOLOGY, GATEWAY, numbers, lambda _key: True)
    assert numbers.names == ("shop", "lab", "media")
    shop = policy.applications[0]
    edges = {TOPOLOGY.nodes[name].number for name in ("edge-fra-1", "edge-nyc-1")}
    assert {vip.edge for vip in shop.vips} == edges
    assert len(shop.vips) == 4
    assert [target.address for target in shop.targets] == ["10.93.0.10", "10.93.0.11", "fd93::10", "fd93::11"]
    assert policy.snat == ("10.93.0.128/30", "fd93::1:0/126")
    assert captured(TOPOLOGY, GATEWAY) == TOPOLOGY.nodes[GATEWAY].snat_pools


def test_an_unhealthy_target_is_marked_for_its_application_alone() -> None:
    policy = gateway_policy(TOPOLOGY, GATEWAY, AppNumbers(), lambda key: key != TARGET)
    healthy = {
        (application.app, target.address): target.healthy
        for application in policy.applications
        for target in application.targets
    }
    assert [key for key, ok in healthy.items() if not ok] == [(0, "10.93.0.10")]


def test_a_gateway_serves_applications_that_name_its_region_alone() -> None:
    shop = replace(TOPOLOGY.applications["shop"], gateways=("gw-mil",))
    topology = replace(TOPOLOGY, applications=TOPOLOGY.applications | {"shop": shop})
    assert [application.name for application in served(topology, GATEWAY)] == ["lab", "media"]
    assert peers_of(TOPOLOGY, GATEWAY) == {"edge-fra-1": frozenset({2}), "edge-nyc-1": frozenset({2})}
    none = replace(TOPOLOGY, applications={"shop": shop})
    assert peers_of(none, GATEWAY) == {}


def verdicts(results: list[CheckResult]) -> list[bool]:
    table = TargetTable()
    seen = []
    for result in results:
        table.receive(PROBE, result)
        seen.append(table.healthy(TARGET))
    return seen


def test_a_target_counts_as_healthy_until_its_first_check_which_is_believed() -> None:
    assert TargetTable().healthy(TARGET)
    assert verdicts([FAIL]) == [False]
    assert verdicts([PASS]) == [True]


def test_rise_and_fall_have_to_be_in_a_row() -> None:
    assert verdicts([PASS, FAIL, FAIL, PASS, FAIL, FAIL, FAIL]) == [True, True, True, True, True, True, False]
    assert verdicts([FAIL, PASS, FAIL, PASS, PASS]) == [False, False, False, False, True]


def test_a_change_of_verdict_is_told_once() -> None:
    table = TargetTable()
    assert [table.receive(PROBE, FAIL) for _ in range(3)] == [True, False, False]
    assert [table.receive(PROBE, PASS) for _ in range(3)] == [False, True, False]


def test_targets_that_are_checked_no_more_are_healthy() -> None:
    table = TargetTable()
    table.receive(PROBE, FAIL)
    table.keep(frozenset())
    assert table.healthy(TARGET)


def test_only_applications_with_a_check_are_probed() -> None:
    found = probes(served(TOPOLOGY, GATEWAY))
    assert {probe.key[0] for probe in found} == {"shop"}
    assert {probe.port for probe in found} == {80}
    assert len(found) == 4
