"""The page in a real browser: what it says, that it is safe and usable, and screenshots in tests/results/page."""

from __future__ import annotations

import re
import socket
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from braid.status.app import serve
from braid.status.changes import Change, Kind, Tone
from braid.status.protection import why_reduced
from braid.status.snapshot import Check
from braid.status.transfers import TransferStatus
from tests.braid.browser import PROGRAM, browser
from tests.braid.fake_node import FakeView, edge_status, gateway_status, measured, middle_status, redundancy
from topology.model import SocketAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from braid.status.snapshot import NodeStatus
    from tests.braid.browser import Browser

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "braid/status/page"
RESULTS = ROOT / "tests/results/page"
HOSTILE = "<img src=x onerror=alert(1)><b>bold</b>"

needs_browser = pytest.mark.skipif(PROGRAM is None, reason="chromium is not installed")


def healthy() -> tuple[NodeStatus, ...]:
    up = {(31, 0): measured(True), (31, 1): measured(True)}
    edge = replace(edge_status(path_health=up), redundancy=(redundancy(),))
    return edge, gateway_status(), middle_status()


def broken() -> tuple[NodeStatus, ...]:
    """mid-lon-1 is down, as the edge's recorder has noted it."""
    edge = edge_status()
    since = 1_700_000_078.0
    path = replace(edge.paths[1], silent=True, since=since)
    cause = why_reduced(edge.applications[0], (path,))
    neighbours = (replace(edge.neighbours[0], since=since - 50), replace(edge.neighbours[1], since=since))
    received = (replace(edge.received[0], first_share=0.71), *edge.received[1:])
    shown = replace(
        edge,
        paths=(replace(edge.paths[0], since=since - 50), path),
        neighbours=neighbours,
        received=received,
        applications=(replace(edge.applications[0], since=since, cause=cause),),
    )
    gateway = gateway_status()
    shares = (replace(gateway.received[0], first_share=0.96), replace(gateway.received[1], first_share=0.04))
    return shown, replace(gateway, received=shares), middle_status()


def view_of(statuses: tuple[NodeStatus, ...]) -> FakeView:
    """A view with ten minutes of history behind it, in which mid-lon fell silent for a while."""
    view = FakeView(status=statuses[0], others=statuses[1:])
    now = trio.current_time()
    for second in range(600):
        round_trip = 12 + (second % 7) / 10
        silent = 400 < second < 430
        at = now - 600 + second
        history = view.recorder.history
        history.record(("edge-fra-1", "link", "mid-ams-1"), {"up": 1.0, "rtt_ms": round_trip}, at)
        history.record(("edge-fra-1", "neighbour", "mid-ams-1"), {"up": 1.0, "rtt_ms": round_trip}, at)
        values = {"up": 0.0 if silent else 1.0, "rtt_ms": None if silent else round_trip + 9, "sent_per_s": 900.0}
        history.record(("edge-fra-1", "path", "gw-sto-1 via mid-lon-1"), values, at)
    return view


@asynccontextmanager
async def page(
    view: FakeView, tmp_path: Path, *, width: int = 1280, dark: bool = False
) -> AsyncIterator[tuple[Browser, str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, view, SocketAddress(ip_address("127.0.0.1"), port))
        async with browser(tmp_path) as tab:
            await tab.open(f"http://127.0.0.1:{port}/", width=width, height=844 if width < 600 else 900, dark=dark)
            await tab.until("document.querySelector('#verdict .reasons') && document.querySelector('.spark')")
            yield tab, f"http://127.0.0.1:{port}"
            assert tab.complaints == []
        nursery.cancel_scope.cancel()


async def text(tab: Browser, selector: str) -> str:
    found: Any = await tab.evaluate(f"document.querySelector({selector!r})?.innerText ?? ''")
    return re.sub(r"\s+", " ", str(found)).strip()


@needs_browser
@pytest.mark.parametrize(
    ("name", "width", "dark"), [("light", 1280, False), ("dark", 1280, True), ("phone", 390, False)]
)
async def test_it_shows_the_overlay_and_fits_its_window(tmp_path: Path, name: str, width: int, dark: bool) -> None:
    view = view_of(broken())
    view.changes = (
        Change(1_700_000_078.0, Kind.NEIGHBOUR, Tone.BAD, "mid-lon-1", "neighbour mid-lon-1 is down", "silent"),
    )
    async with page(view, tmp_path, width=width, dark=dark) as (tab, _):
        assert (await text(tab, "#verdict .word")).endswith("DEGRADED")
        services = await text(tab, "#services-body")
        assert "reduced" in services
        assert "shop edge-fra-1" in services
        assert "protected by 1 of 2: path via mid-lon is silent since 22:14:38 UTC" in services
        assert "lost on all paths 0.060 % delivered 995 eliminated 0 repaired 30" in services
        assert "cheapest disjoint pair; no other choice" in services
        assert "neighbour mid-lon-1 is down" in await text(tab, "#changes-body")
        assert await tab.evaluate("document.querySelectorAll('.region').length") == 5
        assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        paper = await tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(13, 20, 23)") is dark
        await tab.evaluate("document.querySelector('.service-head .open').click()")
        await tab.until("document.querySelector('.map .strand')")
        await tab.screenshot(RESULTS / f"{name}.png")


@needs_browser
async def test_what_was_not_measured_is_said_and_never_zero(tmp_path: Path) -> None:
    async with page(view_of(healthy()), tmp_path) as (tab, _):
        assert (await text(tab, "#verdict .word")).endswith("DEGRADED")
        assert "Not measured yet: jitter, loss." in await text(tab, "#links-body")
        paths = await tab.evaluate(
            "[...document.querySelectorAll('div.strand')].map((each) => each.innerText).join('|')"
        )
        assert "31.5" in paths
        assert "not measured yet" in paths


@needs_browser
async def test_a_gateway_and_a_content_proxy_show_the_connections_that_moved(tmp_path: Path) -> None:
    found = TransferStatus(open=2, requests=1234, moved=1200, returned=30, refused={"absent": 34}, seconds=3.0)
    view = view_of((replace(gateway_status(), transfers=found), *healthy()[::2]))
    async with page(view, tmp_path) as (tab, _):
        await tab.until("!document.getElementById('transfers').hidden")
        shown = await text(tab, "#transfers")
        for words in ("gw-sto-1", "1 234", "1 200", "absent 34", "2.50 ms"):
            assert words in shown
        assert "Sent" not in shown
        view.status = replace(view.status, role="content", transfers=replace(found, open=3, bytes=40_000_000))
        await tab.until("document.getElementById('transfers').innerText.includes('40.0\u00a0MB')")
    async with page(view_of(healthy()), tmp_path / "edge") as (tab, _):
        assert await tab.evaluate("document.getElementById('transfers').hidden")


async def test_text_from_the_network_stays_text(tmp_path: Path) -> None:
    statuses = healthy()
    view = view_of((replace(statuses[0], ready=False, checks=(Check("x", False, HOSTILE),)), *statuses[1:]))
    view.changes = (Change(1_700_000_080.0, Kind.PATH, Tone.BAD, "x", HOSTILE, HOSTILE),)
    async with page(view, tmp_path) as (tab, _):
        assert HOSTILE in await text(tab, "#changes-body")
        assert HOSTILE in await text(tab, "#nodes-body")
        assert await tab.evaluate("document.querySelectorAll('main img, main b, script:not([src])').length") == 0


@needs_browser
async def test_a_link_opens_by_keyboard_with_its_curves_and_closes(tmp_path: Path) -> None:
    async with page(view_of(healthy()), tmp_path) as (tab, _):
        await tab.evaluate("document.querySelector('[data-row=\"edge-fra-1|mid-ams-1\"]').focus()")
        await tab.press("Enter", 13)
        await tab.until("document.getElementById('detail').open && document.querySelector('#detail .chart')")
        detail = await text(tab, "#detail")
        assert "edge-fra-1 \u2013 mid-ams-1" in detail
        assert "Round trip" in detail
        assert "Jitter not measured yet" in detail
        await tab.screenshot(RESULTS / "detail.png", whole=False)
        await tab.press("Escape", 27)
        await tab.until("!document.getElementById('detail').open && location.hash === ''")
        await tab.evaluate("document.querySelector('[data-region=\"edge-fra\"]').focus()")
        await tab.press("Enter", 13)
        await tab.until(
            "document.getElementById('detail').open && document.getElementById('detail').innerText.includes('Passed')"
        )


@needs_browser
async def test_a_path_shows_what_size_of_packets_it_carries_over_time(tmp_path: Path) -> None:
    edge, *others = healthy()
    path = replace(edge.paths[0], mtu=1337, mtu_state="complete", mtu_configured=1420)
    view = view_of((replace(edge, paths=(path, *edge.paths[1:])), *others))
    now = trio.current_time()
    for second in range(600):
        values = {"up": 1.0, "mtu": 1420.0 if second < 400 else 1337.0}
        view.recorder.history.record(("edge-fra-1", "path", "gw-sto-1 via mid-ams-1"), values, now - 600 + second)
    async with page(view, tmp_path) as (tab, _):
        row = 'button.route[data-row^="edge-fra-1"][aria-label*="mid-ams-1"]'
        await tab.until(f"document.querySelector({row!r})")
        await tab.evaluate(f"document.querySelector({row!r}).click()")
        await tab.until("document.getElementById('detail').open && document.querySelector('#detail .chart')")
        detail = await text(tab, "#detail")
        assert "Largest packet carried 1337 bytes" in detail
        assert "1337 to 1420 bytes" in detail
        await tab.screenshot(RESULTS / "mtu.png", whole=False)


@needs_browser
async def test_everything_that_can_be_pressed_has_a_name(tmp_path: Path) -> None:
    async with page(view_of(healthy()), tmp_path) as (tab, _):
        await tab.call("Accessibility.enable")
        tree = (await tab.call("Accessibility.getFullAXTree"))["nodes"]
        pressed = [
            node for node in tree if node.get("role", {}).get("value") in ("button", "link", "checkbox", "image")
        ]
        assert len(pressed) > 20
        nameless = [node for node in pressed if not node.get("ignored") and not node["name"]["value"].strip()]
        assert nameless == []
        assert await tab.evaluate("document.querySelectorAll('h1').length") == 1


@needs_browser
async def test_news_arrive_without_a_reload_and_silence_is_seen(tmp_path: Path) -> None:
    view = view_of(healthy())
    async with page(view, tmp_path) as (tab, _):
        assert "reduced" not in await text(tab, "#services-body article:last-child")
        view.status = edge_status()
        await tab.until("document.querySelector('#services-body').innerText.includes('mid-lon is silent')"
                        " || document.querySelectorAll('.service.warn').length === 2")  # fmt: skip
        view.broken = True
        await tab.until("!document.getElementById('stale').hidden")
        assert "The node does not answer" in await text(tab, "#stale")
        tab.complaints.clear()


def test_the_pages_files_are_small_and_ask_for_nothing_elsewhere() -> None:
    names = {file.name for file in PAGE.iterdir()}
    assert {"page.html", "page.css", "page.js", "icon.svg"} <= names
    for file in PAGE.iterdir():
        content = file.read_text(encoding="utf-8")
        assert len(content.splitlines()) <= 400, file.name
        elsewhere = [found for found in re.findall(r"https?://[^\"'\s)]+", content) if "w3.org" not in found]
        assert elsewhere == [], file.name
        for sink in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "DOMParser"):
            assert sink not in content, file.name
    html = (PAGE / "page.html").read_text(encoding="utf-8")
    assert not re.findall(r"<(?:script|style)>|\son[a-z]+=|\sstyle=", html)
    for name in re.findall(r"/page/([a-z.]+)", html):
        assert name in names


@needs_browser
async def test_applications_with_a_target_have_a_row_that_says_what_it_is_worth(tmp_path: Path) -> None:
    async with page(view_of(healthy()), tmp_path) as (tab, _):
        row = await text(tab, "#redundancy-body tbody tr")
        assert row.startswith("shop edge-fra-1 → gw-sto-1")
        for part in ("MET", "2 of 2", "≤ 3.0e-5 of 1.0e-4", "2.010 of 2.10", "1, longest 12 s", "7"):
            assert part in row
        await tab.screenshot(RESULTS / "redundancy.png")
    async with page(view_of(broken()), tmp_path / "without") as (tab, _):
        assert await tab.evaluate("document.querySelector('#redundancy').hidden")
