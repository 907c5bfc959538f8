"""Ports that several processes listen on."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from affix_cli.failures import Failure
from affix_cli.http import host_and_port


def bound_alone(listen: str) -> tuple[int, int, int, Any]:
    """Bind an address that nobody else uses, and let go of it; return what a socket for it is made of.

    Raises OSError when it cannot be had.
    """
    host, port = host_and_port(listen)
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as alone:
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind(address)
    return family, kind, protocol, address


@contextmanager
def held(listen: str, variable: str) -> Iterator[str]:
    """Hold a port for the workers and give its address, with the port chosen if it was 0.

    It stays theirs while all of them are down. Raises Failure when another process listens there.
    """
    host, _ = host_and_port(listen)
    try:
        # Processes that share a port are not refused by the system, so another service would go unnoticed.
        family, kind, protocol, address = bound_alone(listen)
        with socket.socket(family, kind, protocol) as holding:
            for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
                holding.setsockopt(socket.SOL_SOCKET, option, 1)
            holding.bind(address)
            bound = holding.getsockname()[1]
            yield f"[{host}]:{bound}" if ":" in host else f"{host}:{bound}"
    except OSError as error:
        why = os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error)
        raise Failure(f"cannot listen on {listen} ({variable}): {why}") from error
