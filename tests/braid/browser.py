"""Headless Chromium over the DevTools protocol: open a page, ask its DOM, press keys, keep screenshots."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Ping, Request, TextMessage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PROGRAM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
PATIENCE = 60.0
"""Seconds for anything to happen on a machine that others use."""


class Browser:
    """One tab. Exceptions of the page's scripts and refused loads are in ``complaints``."""

    def __init__(self, stream: trio.SocketStream, connection: WSConnection) -> None:
        self._stream = stream
        self._connection = connection
        self._number = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self._text = ""
        self.complaints: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        request = {"id": self._number, "method": method, "params": parameters}
        await self._stream.send_all(self._connection.send(TextMessage(json.dumps(request))))
        with trio.fail_after(PATIENCE):
            while self._number not in self._answers:
                await self._read()
        answer = self._answers.pop(self._number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    async def open(self, url: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        for domain in ("Page", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme, still])
        await self.call("Page.navigate", url=url)

    async def evaluate(self, script: str) -> Any:
        answer = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"]))
        return answer["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait until a JavaScript expression is true."""
        with trio.fail_after(PATIENCE):
            while True:
                if await self.evaluate(f"Boolean({condition})"):
                    return
                await trio.sleep(0.05)

    async def press(self, key: str, code: int = 0) -> None:
        text = {"Enter": "\r", " ": " "}.get(key)
        more = {"text": text} if text else {}
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more)

    async def screenshot(self, file: Path, *, whole: bool = True) -> None:
        """The whole page, or what the window shows of it."""
        more: dict[str, Any] = {}
        if whole:
            size = (await self.call("Page.getLayoutMetrics"))["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 6000), "scale": 1}
            more = {"clip": clip, "captureBeyondViewport": True}
        shot = await self.call("Page.captureScreenshot", format="png", **more)
        await trio.Path(file.parent).mkdir(parents=True, exist_ok=True)
        await trio.Path(file).write_bytes(base64.b64decode(shot["data"]))

    async def _read(self) -> None:
        data = await self._stream.receive_some(1 << 16)
        if not data:
            raise RuntimeError("the browser ended")
        self._connection.receive_data(data)
        for event in self._connection.events():
            if isinstance(event, Ping):
                await self._stream.send_all(self._connection.send(event.response()))
            elif isinstance(event, TextMessage):
                self._text += event.data
                if event.message_finished:
                    message, self._text = json.loads(self._text), ""
                    self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._answers[message["id"]] = message
        elif message["method"] == "Runtime.exceptionThrown":
            details = message["params"]["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description") or details["text"])
        elif message["method"] == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
            self.complaints.append(message["params"]["entry"]["text"])


@asynccontextmanager
async def browser(directory: Path) -> AsyncIterator[Browser]:
    """A new Chromium with an empty profile in ``directory``; ended at the end."""
    assert PROGRAM is not None
    arguments = [
        PROGRAM, "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={directory}", "--no-first-run",
        "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions", "--disable-background-networking",
        "--no-default-browser-check", *(["--no-sandbox"] if os.geteuid() == 0 else []), "about:blank",
    ]  # fmt: skip
    async with trio.open_nursery() as nursery:
        await nursery.start(
            partial(trio.run_process, arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        )
        port, target = await _debugging(trio.Path(directory) / "DevToolsActivePort")
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            connection = WSConnection(ConnectionType.CLIENT)
            made = Browser(stream, connection)
            await stream.send_all(connection.send(Request(host=f"127.0.0.1:{port}", target=target)))
            await _accepted(stream, connection)
            yield made
        nursery.cancel_scope.cancel()


async def _debugging(file: trio.Path) -> tuple[int, str]:
    """Port, and path of the first tab's socket."""
    with trio.fail_after(PATIENCE):
        while True:
            lines = (await file.read_text()).splitlines() if await file.exists() else []
            tabs = await _list(int(lines[0])) if len(lines) > 1 else []
            pages = [tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page"]
            if pages:
                return int(lines[0]), "/" + pages[0].split("/", 3)[3]
            await trio.sleep(0.05)


async def _list(port: int) -> list[dict[str, Any]]:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(
            f"GET /json/list HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some(1 << 16)
        head, _, body = head.partition(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        )
        while len(body) < length:
            body += await stream.receive_some(1 << 16)
    tabs: list[dict[str, Any]] = json.loads(body)
    return tabs


async def _accepted(stream: trio.SocketStream, connection: WSConnection) -> None:
    with trio.fail_after(PATIENCE):
        while True:
            connection.receive_data(await stream.receive_some(1 << 16))
            if any(isinstance(event, AcceptConnection) for event in connection.events()):
                return
