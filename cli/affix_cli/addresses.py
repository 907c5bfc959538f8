"""Where a service is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the two wires are served, `host:port` as really bound."""

    grpc: str
    http: str
