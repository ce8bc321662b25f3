"""Requests of which one goes to the origin for all."""

from __future__ import annotations

from content.flights import UNSHARED, Flights


def test_what_was_for_one_client_alone_is_asked_for_by_each_for_a_while() -> None:
    flights = Flights()
    flights.unshare("key", 1000.0)
    moments = {1000.0: True, 1000.0 + UNSHARED - 0.1: True, 1000.0 + UNSHARED: False, 999.0: False, -3600.0: False}
    assert {now: flights.is_alone("key", now) for now in moments} == moments, "also where the clock is set back"
