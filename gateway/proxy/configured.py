"""What Rust has to know of applications, for the connections that come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.proxy.preface import preface
from topology.proxy import ClientAddress

if TYPE_CHECKING:
    from dataplane._native import Newcomer, Relay
    from gateway.proxy.events import ClientData
    from gateway.proxy.pool import ProxiedApplication
    from topology.proxy import ProxySettings


class Configured:
    def __init__(self, native: Relay) -> None:
        self._native = native
        self._numbers: dict[str, int] = {}
        self._settings: dict[int, ProxySettings] = {}

    def newcomer(self, application: ProxiedApplication, data: ClientData) -> Newcomer:
        settings = application.settings
        number, forwarded = self._configure(application.name, settings), None
        if settings.client_address is ClientAddress.FORWARDED:
            forwarded = str(data.client.host), data.tls
        return number, application.speech, preface(settings.client_address, data), forwarded

    def _configure(self, name: str, settings: ProxySettings) -> int:
        """The number of an application, for connections to come."""
        number = self._numbers.setdefault(name, len(self._numbers))
        if self._settings.get(number) is not settings:
            self._settings[number] = settings
            self._native.configure(
                number,
                select_timeout=settings.select_timeout,
                connect_timeout=settings.connect_timeout,
                answer_timeout=settings.answer_timeout,
                idle_timeout=settings.idle_timeout,
                buffer=settings.buffer,
                pool=settings.pool,
                pool_timeout=settings.pool_timeout,
                splice_above=settings.splice_above,
            )
        return number
