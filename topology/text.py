"""Strict YAML: one document of mappings, sequences and plain scalars, with the line of every key.

Refused, because a reader of the file could be misled by them or a parser exhausted: anchors and aliases, tags, merge
keys, duplicate keys, several documents, nesting deeper than ``MAX_DEPTH``, more than ``MAX_BYTES``. Scalars follow the
YAML 1.2 core schema (``no`` is a string).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from topology.problem import Key, Report

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 32

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


class _Refused(Exception):
    """The text is no strict YAML; the report says why."""


def read(text: str | bytes, file: str) -> tuple[Any, Report]:
    """The document as dicts (insertion order), tuples and scalars, and a report that knows its lines.

    Raises ``TopologyError`` when the text is not strict YAML. Duplicate keys are only reported, so that the rest of
    the file can be checked in the same run: the first one counts.
    """
    report = Report(file, {})
    lines: dict[Key, int] = {}
    report.lines = lines
    try:
        document = _Reader(report, lines).document(_decode(text, report))
    except _Refused:
        report.raise_if_any()
        raise
    return document, report


def _decode(text: str | bytes, report: Report) -> str:
    try:
        encoded = text.encode() if isinstance(text, str) else text
    except UnicodeEncodeError as error:
        report.add((), f"character {error.start} is half of a surrogate pair", "save the file as UTF-8")
        raise _Refused from None
    if len(encoded) > MAX_BYTES:
        report.add((), "the file is larger than 4 MiB", "split the Braid in two or remove what is not needed")
        raise _Refused
    try:
        return encoded.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        report.add((), f"byte {error.start} is not UTF-8", "save the file as UTF-8")
        raise _Refused from None


class _Reader:
    """Builds values from parser events, so that the limits hold before anything is built."""

    def __init__(self, report: Report, lines: dict[Key, int]) -> None:
        self._report = report
        self._lines = lines

    def document(self, text: str) -> Any:
        events = self._events(text)
        event = next(events)
        if isinstance(event, yaml.StreamEndEvent):
            self._report.add((), "the file is empty", "start from the output of `braid sample`")
            raise _Refused
        value = self._value(next(events), events, ())
        next(events)
        if not isinstance(last := next(events), yaml.StreamEndEvent):
            self._refuse(last, (), "the file holds more than one document", "remove everything after the line `---`")
        return value

    def _events(self, text: str) -> Iterator[Any]:
        """Events after the start of the stream; a syntax error ends it as ``_Refused``."""
        try:
            events = yaml.parse(text, Loader=_LOADER)
            next(events)
            yield from events
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self._lines[()] = mark.line + 1 if mark else 1
            self._report.add((), f"no YAML: {error.problem or error.context}", "correct the syntax at this line")
            raise _Refused from None
        except (yaml.YAMLError, UnicodeError, ValueError) as error:
            self._report.add((), f"no YAML: {str(error).splitlines()[0]}", "save the file as plain UTF-8 text")
            raise _Refused from None

    def _refuse(self, event: Any, key: Key, message: str, remedy: str) -> None:
        self._lines[key] = event.start_mark.line + 1
        self._report.add(key, message, remedy)
        raise _Refused

    def _value(self, event: Any, events: Iterator[Any], key: Key) -> Any:
        if isinstance(event, yaml.AliasEvent):
            self._refuse(event, key, f"alias *{event.anchor}", "write the value out: aliases are not accepted")
        if event.anchor is not None:
            self._refuse(event, key, f"anchor &{event.anchor}", "remove it: anchors are not accepted")
        if event.tag is not None:
            self._refuse(event, key, f"tag {event.tag}", "remove it: tags are not accepted")
        self._lines.setdefault(key, event.start_mark.line + 1)
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event.value) if event.implicit[0] else event.value
        if len(key) >= MAX_DEPTH:
            self._refuse(event, (), f"nested deeper than {MAX_DEPTH} levels", "no key of a topology lies so deep")
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(events, key)
        return self._mapping(events, key)

    def _sequence(self, events: Iterator[Any], key: Key) -> tuple[Any, ...]:
        items: list[Any] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(self._value(event, events, (*key, len(items))))
        return tuple(items)

    def _mapping(self, events: Iterator[Any], key: Key) -> dict[str, Any]:
        members: dict[str, Any] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            name = self._name(event, key)
            line = event.start_mark.line + 1
            if name not in members:
                self._lines[(*key, name)] = line
                members[name] = self._value(next(events), events, (*key, name))
                continue
            first = self._lines[*key, name]
            self._report.add((*key, name), f"written twice, first in line {first}", "keep one of the two", line)
            self._value(next(events), events, (*key, name, -1))
        return members

    def _name(self, event: Any, key: Key) -> str:
        plain = isinstance(event, yaml.ScalarEvent) and event.anchor is None and event.tag is None
        if not plain:
            self._refuse(event, key, "a key that is no plain word", "write keys as `name: value`")
        if event.value == "<<" and event.implicit[0]:
            self._refuse(event, key, "merge key <<", "write the keys out: merging is not accepted")
        return str(event.value)


def _scalar(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
