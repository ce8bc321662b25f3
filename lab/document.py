"""The demo's topology as a document, for tests and measurements that change it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

DEMO = Path(__file__).with_name("demo.yaml")


def demo(name: str) -> dict[str, Any]:
    """Under another name, and without the content proxy and what moves there: its store is the demo's own."""
    document: dict[str, Any] = yaml.safe_load(DEMO.read_text())
    document["name"] = name
    del document["regions"]["cache-fra"], document["nodes"]["cache-fra-1"], document["applications"]["media"]
    del document["transfers"], document["lab"]["networks"]["clients-fra"]["members"]["cache-fra-1"]
    return document
