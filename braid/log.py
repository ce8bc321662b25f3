"""Structured logs on stderr: text for people, JSON lines for collectors, never a secret and never one per packet.

Modules log by ``log = braid.log.get(__name__)`` and ``log.info("session up", peer=name)``: a fixed event text and
fields, so that events can be counted. The fields are documented in docs/operations.md.
"""

from __future__ import annotations

import logging
import re
import sys
from collections import OrderedDict
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TextIO

from braid.unread import without

# It would read rich, a sixth of all that a node reads when it starts, for tracebacks that nodes do not print.
with without("rich"):
    import structlog

if TYPE_CHECKING:
    from collections.abc import Hashable

    from structlog.typing import EventDict, Processor, WrappedLogger

    BoundLogger = structlog.stdlib.BoundLogger

LEVELS = ("debug", "info", "warning", "error")
_configured = "text", "info"


class LogFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


def configure(
    log_format: LogFormat = LogFormat.TEXT,
    *,
    level: str = "info",
    node: str | None = None,
    stream: TextIO | None = None,
) -> None:
    """Send everything logged in this process, by us or by a library, to ``stream`` (default: stderr).

    ``node`` is added to every line. Colours only on a terminal. May be called again; the last call counts.
    """
    global _configured
    _configured = log_format.value, level
    target = stream or sys.stderr
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _NodeName(node),
        without_secrets,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(log_format, colors=target.isatty()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())


def configured() -> tuple[str, str]:
    """Format and level, for a process that is to log as this one does."""
    return _configured


def get(name: str) -> BoundLogger:
    logger: BoundLogger = structlog.stdlib.get_logger(name)
    return logger


class LogOnce:
    """Which of many equal events deserve a line: the first, then one per ``interval`` seconds with the count between.

    Remembers at most ``capacity`` keys, the longest unused is forgotten first, so hostile keys cost no memory.
    """

    def __init__(self, interval: float = 60.0, capacity: int = 1024) -> None:
        self._interval = interval
        self._capacity = capacity
        self._seen: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def allow(self, key: Hashable, now: float) -> int | None:
        """None: stay silent. Else log, and the number says how many were kept silent since the last line."""
        known = self._seen.get(key)
        if known is not None and now - known[0] < self._interval:
            self._seen[key] = (known[0], known[1] + 1)
            self._seen.move_to_end(key)
            return None
        self._seen[key] = (now, 0)
        self._seen.move_to_end(key)
        if len(self._seen) > self._capacity:
            self._seen.popitem(last=False)
        return known[1] if known else 0


def log_once(
    once: LogOnce, key: Hashable, now: float, logger: BoundLogger, level: str, event: str, **fields: Any
) -> None:
    """Log ``event`` unless ``key`` was logged less than the interval ago; ``repeated`` counts the silent ones."""
    repeated = once.allow(key, now)
    if repeated is not None:
        more = {"repeated": repeated} if repeated else {}
        logger.log(logging.getLevelNamesMapping()[level.upper()], event, **fields, **more)


_SECRET = re.compile(r"private|secret|passw|passphrase|token|cookie|psk|preshared|(?<!public)_key$", re.IGNORECASE)
REDACTED = "[not logged]"


def without_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replaces values of fields that name a secret, and every bytes value: a key is easily taken for harmless bytes."""
    return {name: REDACTED if _SECRET.search(str(name)) else _safe(value) for name, value in event.items()}


def _safe(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes, not logged]"
    if isinstance(value, dict):
        return {name: REDACTED if _SECRET.search(str(name)) else _safe(item) for name, item in value.items()}
    if type(value) in (list, tuple, set, frozenset):
        return [_safe(item) for item in value]
    return value


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def one_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Escapes control characters, so that a peer's text can neither forge a line nor drive the terminal."""
    return {name: _escape(value) if isinstance(value, str) else value for name, value in event.items()}


def _escape(text: str) -> str:
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


class _NodeName:
    def __init__(self, node: str | None) -> None:
        self._node = node

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        if self._node is not None:
            event.setdefault("node", self._node)
        return event


def _renderers(log_format: LogFormat, *, colors: bool) -> list[Processor]:
    """Tracebacks are plain: the pretty ones show local variables, and those may be keys."""
    if log_format is LogFormat.JSON:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=repr)]
    return [
        one_line,
        structlog.dev.ConsoleRenderer(
            colors=colors, exception_formatter=structlog.dev.plain_traceback, pad_event_to=28
        ),
    ]
