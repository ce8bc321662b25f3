"""The per-packet core, written in Rust. ``braid.core`` and ``braid.datagrams`` are its only importers."""

from __future__ import annotations

from dataplane._native import Core, Datagrams, public_key

__all__ = ["Core", "Datagrams", "public_key"]
