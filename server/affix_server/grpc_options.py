"""How the gRPC port treats its connections: sizes, age, keepalive."""

from __future__ import annotations

from affix_server.config import Settings

_MS = 1000


def grpc_options(settings: Settings) -> tuple[tuple[str, int], ...]:
    """Return the arguments of a gRPC server for these settings; 0 leaves what it stands for to gRPC, which has none."""
    options = [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # Two servers on one port would share its connections at random; the workers of one server are meant to.
        ("grpc.so_reuseport", int(settings.workers > 1)),
        # A client that pings oftener is told to go away (ENHANCE_YOUR_CALM), whether it has calls under way or not.
        ("grpc.http2.min_ping_interval_without_data_ms", int(settings.grpc_min_ping_seconds * _MS)),
        ("grpc.keepalive_permit_without_calls", 1),
        *_bounds(settings),
    ]
    if settings.grpc_keepalive_seconds:
        options += [
            ("grpc.keepalive_time_ms", int(settings.grpc_keepalive_seconds * _MS)),
            ("grpc.keepalive_timeout_ms", int(settings.grpc_keepalive_timeout_seconds * _MS)),
        ]
    age = _max_connection_age_seconds(settings)
    if age:
        options.append(("grpc.max_connection_age_ms", int(age * _MS)))
        if settings.grpc_max_connection_age_grace_seconds:
            grace = int(settings.grpc_max_connection_age_grace_seconds * _MS)
            options.append(("grpc.max_connection_age_grace_ms", grace))
    return tuple(options)


def _max_connection_age_seconds(settings: Settings) -> float:
    """Return the age at which connections end, so that within the pause before a stop all clients have gone elsewhere.

    A gRPC server that stops cancels calls that arrive before its clients have heard of it; one that ends a
    connection for its age serves them. (docs/decisions/0028-stopping-and-workers.md)
    """
    if settings.grpc_max_connection_age_seconds is not None:
        return settings.grpc_max_connection_age_seconds
    return settings.drain_pause_seconds / 2


def _bounds(settings: Settings) -> tuple[tuple[str, int], ...]:
    """Say how much of gRPC's port one client, or all of them, may take up before any call is looked at."""
    streams = settings.max_concurrent_calls + settings.max_watchers
    return (
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        # A connection may carry all there may be: a shim's does. More wait at the client.
        ("grpc.max_concurrent_streams", streams),
        # What has arrived and is not taken up yet: with fewer, one client that resets its streams at once
        # would have gRPC refuse those of others, at random and with CANCELLED.
        ("grpc.server.max_pending_requests", 2 * streams),
        ("grpc.server.max_pending_requests_hard_limit", 4 * streams),
        ("grpc.server_handshake_timeout_ms", int(settings.receive_timeout_seconds * 1000)),
    )
