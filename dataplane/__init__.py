"""The per-packet core, written in Rust. ``braid.core`` is its only importer."""

from __future__ import annotations

from dataplane._native import Core, public_key

__all__ = ["Core", "public_key"]
