"""The table of behaviours, row by row, and where each is shown.

A row of the groups A to F stands in ``test_rows`` under its number: asked by dig over UDP and TCP, IPv4 and IPv6,
unless it is about one of them. The others are in the tests named here.

A plain DNS (RFC 8906) · B EDNS (RFC 6891, 8906) · C client subnet (RFC 7871) · D cookies, NSID, keepalive (RFC 7873,
9018, 5001, 7828) · E data (RFC 2308, 4592, 8020, 9460) · F refusals, class CH, ANY (RFC 8482) · G TCP (RFC 7766)
H malformed packets · I rate limit · J steering
"""

from __future__ import annotations

from importlib import import_module

import pytest

from tests.dns.test_rows import ROWS

BY_DIG = {
    "A": range(1, 13), "B": range(1, 18), "C": range(1, 17), "D": (1, 2, 4, 5), "E": range(1, 15),
    "F": (1, 2, 5, 6, 7, 8, 9, 10, 11, 12),
}  # fmt: skip
"""Group -> numbers."""

ELSEWHERE = {
    "A13 over TCP": "test_rows.test_row",
    "C17 scopes do not overlap": "test_wire.test_scopes_do_not_overlap_and_a_scope_has_one_answer",
    "C18 the same setting at all DNS nodes": "test_constant.test_the_setting_for_client_prefixes_is_no_nodes_own",
    "D3 cookies sent back, broken, old": "test_wire.test_cookies",
    "D3b vectors": "test_cookies.test_vectors",
    "D6 a cookie without a question": "test_wire.test_cookies",
    "F3 AXFR over UDP": "test_wire.test_no_transfers_over_udp",
    "F3 AXFR over TCP": "test_rows.test_no_transfers",
    "F4 IXFR over UDP": "test_wire.test_no_transfers_over_udp",
    "F4 IXFR over TCP": "test_rows.test_no_transfers",
    "F13 from the address asked": "test_service.test_every_address_answers_on_both_transports_from_where_it_was_asked",
    "G1 pipelining": "test_service.test_tcp_pipelining_keeps_the_order",
    "G2 in pieces": "test_service.test_tcp_messages_may_come_in_pieces",
    "G3 idle": "test_wire.test_an_idle_connection_ends_in_order",
    "G4 lengths": "test_wire.test_unsound_lengths",
    "G5 300 connections": "test_service.test_three_hundred_slow_clients_cost_little_and_a_new_one_is_served",
    "G6 never reads": "test_service.test_a_client_that_does_not_read_is_dropped",
    "G7 one connection": "test_wire.test_one_connection_for_many_questions",
    "H1 less than a header": "test_wire.test_less_than_a_header_is_dropped",
    **{f"H{number}": "test_wire.test_malformed" for number in range(2, 15)},
    "H15 mutated packets": "test_fuzz.test_ten_thousand_mutated_packets_raise_nothing_and_block_nobody",
    "H15 mutated packets, on sockets": "test_fuzz.test_mutated_packets_on_sockets",
    "I1 one name": "test_wire.test_the_rate_limit",
    "I1 for seconds": "test_limit.test_a_prefix_gets_its_rate_and_of_the_rest_every_second_slips",
    "I2 cookies and TCP": "test_wire.test_the_rate_limit",
    "I3 another prefix": "test_wire.test_the_rate_limit",
    "I4 random names": "test_wire.test_the_rate_limit",
    "J1 equal prefixes, equal VIPs": "test_constant.test_a_client_keeps_its_vip",
    "J1 and at every node": "test_policy.test_the_choice_is_by_prefix_and_names_alone",
    "J2 an edge is down": "test_service.test_answers_follow_the_health_of_the_edges",
    "J3 an edge flaps": "test_damper.test_an_edge_that_flaps_stays_a_second_choice",
    "J4 noise": "test_damper.test_noise_of_single_reports_changes_nothing_for_an_hour",
    "J5 all down": "test_steered.test_fail_open_and_fail_closed",
    "J6 a DNS node dies": "test_constant.test_a_node_that_dies_leaves_the_other_answering",
    "J7 drain": "test_explain.test_a_drained_edge_leaves_the_answers_within_a_second",
    "J8 reload": "test_constant.test_reloads_under_load_lose_and_mix_nothing",
    "J9 explained as answered": "test_explain.test_the_explanation_is_the_answer",
}
"""Number and what the row is about -> where it is shown."""
COUNTS = {"A": 13, "B": 17, "C": 18, "D": 6, "E": 14, "F": 13, "G": 7, "H": 15, "I": 4, "J": 9}


def test_every_row_is_shown_somewhere() -> None:
    asked = {row.name.split()[0] for row, _ in ROWS}
    by_dig = {f"{group}{number}" for group, numbers in BY_DIG.items() for number in numbers}
    assert by_dig <= asked
    rows = {f"{group}{number}" for group, count in COUNTS.items() for number in range(1, count + 1)}
    assert rows - by_dig - {name.split()[0] for name in ELSEWHERE} == set()


@pytest.mark.parametrize("test", sorted(set(ELSEWHERE.values())))
def test_where_it_is_shown_there_is_a_test(test: str) -> None:
    module, name = test.split(".")
    assert callable(getattr(import_module(f"tests.dns.{module}"), name))
