"""Documents of nodes as tables, and both ends of a path brought together."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid.status.ask import Answers
from braid.status.documents import paths_document
from braid.status.drain import DrainStatus
from braid.status.path_table import changes_table, join_paths, paths_table, services_table
from braid.status.show import printable, tables_of
from braid.status.table import duration, flows_table, node_tables, nodes_table
from tests.braid.fake_node import FakeView, edge_status, gateway_status


def document(status: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(asdict(status)))
    return made


def both() -> dict[str, dict[str, Any]]:
    return {"edge-fra-1": document(edge_status()), "gw-sto-1": document(gateway_status())}


def test_lost_is_what_was_sent_and_neither_kept_nor_eliminated() -> None:
    found = {(path.source, path.way): (path.sent, path.kept, path.eliminated, path.lost) for path in join_paths(both())}
    assert found == {
        ("edge-fra-1", "mid-ams-1"): (1000, 800, 190, 10),
        ("edge-fra-1", "mid-lon-1"): (995, 195, 780, 20),
        ("gw-sto-1", "mid-ams-1"): (989, 700, 285, 4),
    }


def test_one_end_alone_shows_what_it_knows() -> None:
    (sent, _, received, *_) = join_paths({"edge-fra-1": both()["edge-fra-1"]})
    assert (sent.source, sent.sent, sent.kept, sent.lost) == ("edge-fra-1", 1000, None, None)
    assert (received.source, received.way, received.sent, received.kept) == ("gw-sto-1", "... mid-ams-1", None, 700)
    assert paths_table({"edge-fra-1": both()["edge-fra-1"]}).rows


def test_counters_of_different_lives_give_no_loss() -> None:
    documents = both()
    documents["gw-sto-1"]["uptime_s"] += 31
    assert {path.lost for path in join_paths(documents)} == {None}


def test_more_arrived_than_sent_is_no_negative_loss() -> None:
    documents = both()
    documents["edge-fra-1"]["paths"][0]["copies_sent"] = 900
    assert join_paths(documents)[0].lost is None


def test_nodes_and_those_that_do_not_answer() -> None:
    documents = both()
    documents["gw-sto-1"]["ready"] = False
    documents["gw-sto-1"]["checks"][1]["ok"] = False
    table = nodes_table(documents, {"mid-ams-1": "connection refused"})
    texts = [[cell.text for cell in row] for row in table.rows]
    assert texts[0] == [
        "edge-fra-1", "edge", "edge-fra", "yes", "1 min 30 s", "1/2", "1/1", "reduced 1 of 2", "15", "9f2c51d07ab3",
    ]  # fmt: skip
    assert texts[1][3] == "no: sessions"
    assert texts[2][:4] == ["mid-ams-1", "-", "-", "unreachable: connection refused"]
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert table.rows[0][5].style == "warn"


def test_a_refused_reload_is_a_warning() -> None:
    table = nodes_table({"e": document(edge_status(reload_error="bad"))}, {})
    assert table.rows[0][3].text == "yes, but newest topology file refused"
    assert table.rows[0][3].style == "warn"


def test_every_table_has_as_many_cells_as_columns() -> None:
    flows = {"gw-sto-1": {"flows": [asdict(flow) for flow in FakeView().flows(10)]}}
    tables = [
        paths_table(both()),
        flows_table(flows),
        *node_tables(both()["edge-fra-1"]),
        *node_tables(both()["gw-sto-1"]),
    ]
    for table in tables:
        assert table.rows
        assert {len(row) for row in table.rows} == {len(table.columns)}
        assert table.numeric <= set(table.columns)


def test_flows_show_bytes_and_a_dash_where_a_content_proxy_has_the_connection() -> None:
    flow = asdict(FakeView().flows(1)[0])
    flows = [
        flow | {"bytes_in": 999, "bytes_out": 20_000_000},
        flow | {"bytes_in": 0, "bytes_out": 1500},
        flow | {"mode": "transferred", "bytes_in": 0, "bytes_out": 2_500_000_000},
    ]
    table = flows_table({"gw-sto-1": {"flows": flows}})
    at = table.columns.index("In")
    shown = [tuple(cell.text for cell in row[at : at + 2]) for row in table.rows]
    assert shown == [("999 B", "20.0 MB"), ("0 B", "1.5 kB"), ("-", "2.5 GB")]


def test_a_document_of_another_version_is_shown_as_far_as_it_goes() -> None:
    table = nodes_table({"old": {"name": "old"}}, {})
    assert table.rows[0][0].text == "old"
    assert paths_table({"old": {"name": "old"}}).rows == ()
    assert node_tables({"name": "old"}) == []


def test_one_node_is_shown_in_detail() -> None:
    answers = Answers({"edge-fra-1": both()["edge-fra-1"]})
    titles = [table.title for table in tables_of("status", answers)]
    assert titles == ["Nodes", "Applications", "Neighbours", "Packets dropped", "Paths"]
    assert [table.title for table in tables_of("status", Answers(both()))] == ["Nodes"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (3600, "1 h 0 min"), (90_061, "1 d 1 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.text())
def test_what_a_node_says_cannot_drive_the_terminal(text: str) -> None:
    assert printable(text).isprintable()


def test_paths_that_were_never_used_are_left_out() -> None:
    documents = both()
    documents["edge-fra-1"]["paths"][0] |= {"in_use": False}
    documents["edge-fra-1"]["paths"][1] |= {"in_use": False, "copies_sent": 0}
    del documents["gw-sto-1"]["received"][1]
    rows = paths_table(documents).rows
    assert [(row[0].text, row[2].text, row[3].text) for row in rows] == [
        ("gw-sto-1", "mid-ams-1", "up"),
        ("edge-fra-1", "mid-ams-1", "not in use"),
    ]


def test_what_a_path_carries_is_a_column_when_it_is_too_little() -> None:
    documents = both()
    assert "Carries" not in paths_table(documents).columns
    documents["edge-fra-1"]["paths"][0] |= {"mtu": 1300, "mtu_configured": 1420, "mtu_state": "complete"}
    table = paths_table(documents)
    at = table.columns.index("Carries")
    assert sorted(row[at].text for row in table.rows)[-1] == "1300 B"


def test_the_worst_path_comes_first_with_since_when_and_share() -> None:
    documents = both()
    documents["edge-fra-1"]["paths"][1]["since"] = documents["edge-fra-1"]["started_at"] + 20
    documents["gw-sto-1"]["received"][0]["first_share"] = 0.8
    table = paths_table(documents)
    column = {name: index for index, name in enumerate(table.columns)}
    assert [row[column["Path"]].text for row in table.rows] == ["mid-lon-1", "mid-ams-1", "mid-ams-1"]
    assert table.rows[0][column["Health"]].text == "down: neighbour mid-lon-1 is down"
    assert table.rows[0][column["Since"]].text == "1 min 10 s"
    assert table.rows[1][column["First"]].text == "80%"
    assert "Loss" not in column
    documents["edge-fra-1"]["paths"][0]["loss"] = 0.015
    table = paths_table(documents)
    assert [row[table.columns.index("Loss")].text for row in table.rows] == ["-", "1.50%", "-"]


def test_a_silent_path_that_is_avoided_says_why() -> None:
    documents = both()
    documents["edge-fra-1"]["paths"][1] |= {"in_use": False, "silent": True, "detail": "avoided: gw hears nothing"}
    row = paths_table(documents).rows[0]
    assert (row[2].text, row[3].text) == ("mid-lon-1", "avoided: gw hears nothing")


def test_services_are_told_once_by_the_end_that_chose_and_worst_first() -> None:
    view = FakeView()
    documents = {"edge-fra-1": json.loads(json.dumps(paths_document(view)))}
    documents["gw-sto-1"] = json.loads(json.dumps(paths_document(view)))
    for item in documents["gw-sto-1"]["choices"]:
        item["sentence"] = "told by the gateway"
    rows = {row[1].text: row[2].text for row in services_table(documents).rows}
    assert rows["edge-fra-1 > gw-sto-1"].startswith("protected by 1 of 2")
    assert rows["gw-sto-1 > edge-fra-1"] == "told by the gateway"
    titles = [table.title for table in tables_of("paths", Answers(documents))]
    assert titles == ["Paths", "Services"]


def test_changes_of_all_nodes_newest_first() -> None:
    change = {"at": 10.0, "text": "a", "cause": "b", "tone": "bad", "kind": "path"}
    documents = {"one": {"changes": [change]}, "two": {"changes": [change | {"at": 70.0}]}}
    rows = changes_table(documents).rows
    assert [(row[0].text, row[1].text) for row in rows] == [("00:01:10 UTC", "two"), ("00:00:10 UTC", "one")]


def test_a_drain_is_shown_while_flows_are_with_another_gateway() -> None:
    def shown(**said: Any) -> list[list[str]]:
        document = {"drain": asdict(DrainStatus(**said))}
        tables = [table for table in node_tables(document) if table.title == "Drain"]
        return [[cell.text for cell in row] for table in tables for row in table.rows]

    assert shown() == []
    (row,) = shown(state="away", to="gw-b", flows=12, stay=3)
    assert (row[0], row[3]) == ("away to gw-b", "0 being opened, 3 stay")
    (row,) = shown(state="away", to="gw-b", stay=3, stay_why={"tls": 2, "ending": 1})
    assert row[3] == "0 being opened, 3 stay (2 tls, 1 ending)"
    (row,) = shown(host_of="gw-a", host_phase="away", hosted=12)
    assert row[0] == "has those of gw-a: away"
    (row,) = shown(problem="there is no session with gw-b")
    assert row[4] == "there is no session with gw-b"
