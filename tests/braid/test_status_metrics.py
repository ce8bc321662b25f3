"""The metrics: names, units, bounded labels, and that docs/metrics.md lists every one."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from braid.status.content import ContentStatus
from braid.status.drain import DrainStatus
from braid.status.metrics import IO_COUNTERS, RECOVERY_COUNTERS, exposition, registry
from braid.status.paths import PathSetStatus
from braid.status.snapshot import RelayStatus
from braid.status.transfers import TransferStatus
from tests.braid.fake_node import edge_status, gateway_status, measured, redundancy

if TYPE_CHECKING:
    from braid.status.snapshot import NodeStatus

DNS = {
    "queries/udp/ipv4/A/NOERROR": 2,
    "responses/apps.example/NOERROR": 2,
    "sizes/udp/128": 3,
    "sizes/udp/64": 2,
    "sizes/udp/inf": 0,
    "durations/udp/500": 4,
    "durations/udp/inf": 1,
    "duration_us/udp": 14_000,
    "propagations/down/2000": 3,
    "propagations/down/50": 1,
    "propagations/down/inf": 1,
    "propagation_ms/down": 18_500,
    "answers/shop/edge-fra-1": 4,
    "faults/name": 6,
    "drops/short": 1,
    "closed/idle": 2,
    "powerdns/lookup": 6,
    "bytes/received/udp": 90,
    "bytes/sent/udp": 300,
    "busy_us/udp": 1500,
    "connections": 3,
    "truncated": 5,
    "standings/shop/edge-fra-1": 2,
    "decisions/sticky": 7,
    "limited/slip": 8,
    "subnets/family1": 9,
    "cookies/valid": 10,
    "stale": 1,
    "switches/shop/delay": 11,
    "delays/shop/edge-fra-1": 12300,
    "loads/edge-fra-1": 950,
    "spills/edge-fra-1": 250,
    "drained/edge-fra-1": 1,
    "view_generation": 12,
    "view_age": 13,
}
REPOSITORY = Path(__file__).resolve().parents[2]


def samples(status: NodeStatus) -> dict[str, float]:
    """ "name{label=value,...}" -> value"""
    text = exposition(registry(lambda: status)).decode()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            key = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert key not in found, f"{key} twice"
            found[key] = sample.value
    return found


def test_an_edge() -> None:
    found = samples(edge_status())
    assert found["braid_node_info{node=edge-fra-1,place=Frankfurt,region=edge-fra,role=edge,version=0.1.0}"] == 1
    assert found["braid_ready"] == 1
    assert found["braid_neighbour_up{neighbour=mid-lon-1}"] == 0
    assert found["braid_neighbour_rtt_seconds{neighbour=mid-ams-1}"] == 0.01225
    assert "braid_neighbour_rtt_seconds{neighbour=mid-lon-1}" not in found
    assert found["braid_session_usable{kind=end_to_end,peer=gw-sto-1}"] == 1
    assert found["braid_path_sent_copies_total{path=1,peer=gw-sto-1,regions=mid-lon}"] == 995
    assert found["braid_path_kept_copies_total{path=0,peer=gw-sto-1,via=mid-ams-1}"] == 700
    assert found["braid_path_reordered_copies_total{path=0,peer=gw-sto-1,via=mid-ams-1}"] == 3
    assert found["braid_application_copies_usable{application=shop}"] == 1
    assert found["braid_dropped_packets_total{reason=hop_tag}"] == 12
    assert found["braid_tun_received_bytes_total"] == 1_400_000
    assert found["braid_offload_active{kind=tun_uso}"] == 0
    assert "braid_nat_flows" not in found
    assert found["braid_topology_reload_failed"] == 0


def test_recovery_counters_have_their_standard_names() -> None:
    found = samples(edge_status())
    values = {name: found[f"{metric}_total{{peer=gw-sto-1}}"] for name, (metric, _) in RECOVERY_COUNTERS.items()}
    assert values == {"passed": 990, "discarded": 985, "out_of_order": 4, "rogue": 1, "lost": 2, "tagless": 0,
                      "resets": 1, "latent_errors": 0}  # fmt: skip


def test_the_recovery_window_and_its_margin() -> None:
    found = samples(edge_status())
    names = ("packets", "bytes", "margin_ratio", "capped")
    window = {name: found.get(f"braid_sequence_recovery_window_{name}{{peer=gw-sto-1}}") for name in names}
    assert window == {"packets": 65472, "bytes": 8192, "margin_ratio": 0.75, "capped": 0}
    assert not [name for name in found if "recovery_window" in name and "gw-sto-1" not in name]


def test_a_gateway() -> None:
    found = samples(gateway_status(reload_error="refused"))
    assert found["braid_nat_flows"] == 4
    assert found["braid_nat_ports_exhausted_total"] == 1
    assert found["braid_application_flows{application=shop}"] == 4
    assert found["braid_target_healthy{application=shop,target=10.93.0.11}"] == 0
    assert found["braid_topology_reload_failed"] == 1


def test_a_dns_node() -> None:
    found = samples(replace(edge_status(), role="dns", dns=DNS))
    assert found["braid_dns_queries_total{family=ipv4,rcode=NOERROR,transport=udp,type=A}"] == 2
    assert found["braid_dns_answers_total{application=shop,edge=edge-fra-1}"] == 4
    assert found["braid_dns_dropped_queries_total{reason=short}"] == 1
    assert found["braid_dns_tcp_connections"] == 3
    assert found["braid_dns_bytes_total{direction=received,transport=udp}"] == 90
    assert found["braid_dns_busy_seconds_total{transport=udp}"] == 0.0015
    assert found["braid_dns_tcp_connections_closed_total{reason=idle}"] == 2
    assert found["braid_dns_events_total{event=truncated}"] == 5
    assert found["braid_dns_edge_standing{application=shop,edge=edge-fra-1}"] == 2
    assert found["braid_dns_switches_total{application=shop,reason=delay}"] == 11
    assert found["braid_dns_edge_delay_seconds{application=shop,edge=edge-fra-1}"] == pytest.approx(0.0123)
    assert found["braid_dns_edge_load_ratio{edge=edge-fra-1}"] == pytest.approx(0.95)
    assert found["braid_dns_edge_spill_ratio{edge=edge-fra-1}"] == pytest.approx(0.25)
    assert (found["braid_dns_view_generation"], found["braid_dns_view_age_seconds"]) == (12, 13)
    assert found["braid_dns_decisions_total{reason=sticky}"] == 7
    assert found["braid_dns_stale"] == 1
    assert found["braid_dns_responses_total{rcode=NOERROR,zone=apps.example}"] == 2
    sizes = {
        bound: found[f"braid_dns_response_size_bytes_bucket{{le={bound},transport=udp}}"]
        for bound in ("64.0", "128.0", "+Inf")
    }
    assert sizes == {"64.0": 2, "128.0": 5, "+Inf": 5}
    assert found["braid_dns_response_size_bytes_sum{transport=udp}"] == 300
    assert found["braid_dns_request_duration_seconds_bucket{le=0.0005,transport=udp}"] == 4
    assert found["braid_dns_request_duration_seconds_count{transport=udp}"] == 5
    assert found["braid_dns_request_duration_seconds_sum{transport=udp}"] == pytest.approx(0.014)
    assert found["braid_dns_propagation_seconds_bucket{le=2.0,reason=down}"] == 4
    assert found["braid_dns_propagation_seconds_count{reason=down}"] == 5
    assert found["braid_dns_propagation_seconds_sum{reason=down}"] == pytest.approx(18.5)


def test_proxies_by_application_and_server() -> None:
    found = samples(gateway_status())
    assert found["braid_proxy_open_connections{application=shop}"] == 4
    assert found["braid_proxy_requests_total{application=shop}"] == 42
    assert found["braid_proxy_refused_total{application=shop,reason=no_server}"] == 2
    assert found["braid_proxy_server_connections_total{application=shop,server=10.93.0.10}"] == 7
    assert found["braid_proxy_server_ejected{application=shop,server=10.93.0.11}"] == 1


def test_equal_labels_are_one_sample() -> None:
    status = edge_status()
    doubled = replace(status, sessions=status.sessions * 2, received=status.received * 2)
    found = samples(doubled)
    assert found["braid_session_sent_packets_total{kind=hop,peer=mid-ams-1}"] == 2000
    assert found["braid_path_kept_copies_total{path=0,peer=gw-sto-1,via=mid-ams-1}"] == 1400


def test_no_address_of_a_client_is_a_label() -> None:
    assert "10.91.1.10" not in exposition(registry(gateway_status)).decode()


def test_the_process_is_there() -> None:
    assert samples(edge_status())["process_resident_memory_bytes"] > 0


def documented_name(sample: str) -> str:
    """A histogram stands in the page once, without the bound of its buckets."""
    histograms = r"dns_(?:request|response|propagation)|transfer_duration"
    return re.sub(rf"^(braid_(?:{histograms})_.*)_(bucket|sum|count)$", r"\1", sample)


def test_the_documented_metrics_are_the_ones_there_are() -> None:
    page = (REPOSITORY / "docs/metrics.md").read_text(encoding="utf-8")
    documented = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `braid_")}
    everything = with_every_measurement()
    dns = replace(everything, dns=DNS, role="dns")
    middle = replace(everything, relay=RelayStatus(1, 1), role="intermediate")
    cache = replace(
        everything,
        content=ContentStatus(requests={"hit": 1}, events={"stored": 1}),
        transfers=TransferStatus(refused={"content": 1}, events={"late": 1}),
        drain=DrainStatus(state="away", to="gw-b", flows=7, stay=2, stay_why={"tls": 2}),
        role="content",
    )
    found = {
        documented_name(key.partition("{")[0])
        for status in (everything, gateway_status(), dns, middle, cache)
        for key in samples(status)
    }
    assert documented == {name for name in found if name.startswith("braid_")}


def with_every_measurement() -> NodeStatus:
    status = edge_status(path_health={(31, 0): measured(True)})
    path = replace(
        status.paths[0], one_way_ms=15.0, jitter_ms=0.5, loss=0.01, loss_burst=4.5, since=1e9, silent=True, mtu=1340
    )
    return replace(
        status,
        io=dict.fromkeys(IO_COUNTERS, 0),
        paths=(path, *status.paths[1:]),
        path_sets=(PathSetStatus("gw-sto-1", 2, 1340, (0, 1), joint_probes=9, joint_lost=1),),
        neighbours=(replace(status.neighbours[0], jitter_ms=1.0, loss=0.0, since=1e9), *status.neighbours[1:]),
        received=(replace(status.received[0], first_share=0.5), *status.received[1:]),
        applications=tuple(replace(item, since=1e9) for item in status.applications),
        change_counts={"path/bad": 2},
        redundancy=(redundancy(),),
        load=0.4,
        summaries={"received": 3, "known": 4},
    )


def test_a_silent_path_and_since_when() -> None:
    found = samples(with_every_measurement())
    assert found["braid_path_silent{path=0,peer=gw-sto-1,regions=mid-ams}"] == 1
    assert found["braid_path_state_since_timestamp_seconds{path=0,peer=gw-sto-1,regions=mid-ams}"] == 1e9
    assert found["braid_path_silent{path=1,peer=gw-sto-1,regions=mid-lon}"] == 0
    assert found["braid_path_first_copy_ratio{path=0,peer=gw-sto-1,via=mid-ams-1}"] == 0.5
    assert found["braid_path_mtu_bytes{path=0,peer=gw-sto-1,regions=mid-ams}"] == 1340
    assert found["braid_path_set_mtu_bytes{peer=gw-sto-1,set=2}"] == 1340
    assert found["braid_changes_total{kind=path,tone=bad}"] == 2
    assert found["braid_summaries_known_nodes"] == 4


def test_what_was_not_measured_has_no_sample() -> None:
    found = samples(edge_status())
    names = ("path_one_way", "path_jitter", "path_loss_ratio", "path_loss_burst_probes", "path_first_copy")
    for name in (*names, "neighbour_jitter", "neighbour_loss"):
        assert not [key for key in found if key.startswith(f"braid_{name}")], name


def test_labels_are_the_documented_ones() -> None:
    page = (REPOSITORY / "docs/metrics.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `braid_")]
    documented = {row[1].strip().strip("`"): set(filter(None, row[2].replace(" ", "").split(","))) for row in rows}
    everything = with_every_measurement()
    middle = replace(everything, relay=RelayStatus(1, 1), role="intermediate")
    for status in (everything, gateway_status(), replace(everything, dns=DNS, role="dns"), middle):
        for key in samples(status):
            name, _, labels = key.partition("{")
            if name.startswith("braid_"):
                found = {part.partition("=")[0] for part in labels.rstrip("}").split(",") if part}
                assert found - {"le"} == documented[documented_name(name)], key
