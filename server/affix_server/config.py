"""Settings: one class, one row per knob, from the environment (design/contract.md, "Settings")."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated, Literal, Self

from limits import parse_many
from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Listen = Annotated[str, StringConstraints(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5}$")]

# As a DSN: there is no Postgres, Redis keeps everything.
NO_POSTGRES = "none"
NO_LIMIT = "none"


def _acceptable_limit(text: str) -> str:
    if text == NO_LIMIT:
        return text
    try:
        limits = parse_many(text)
    except ValueError:
        limits = []
    if len(limits) != 1 or limits[0].amount < 1:
        raise ValueError("it must be one limit such as 100/minute or 5 per 10 second, or none")
    return text


# The notation of the library `limits`: an amount and a number of seconds, minutes, hours, days, months, years.
RateLimit = Annotated[str, AfterValidator(_acceptable_limit)]

# What a message holds beside the content of an attachment: its key, its ids.
MESSAGE_ROOM = 64 * 1024


def _host_name() -> str:
    return socket.gethostname() or "localhost"


class Settings(BaseSettings):
    """Every setting of a server; each is read from `AFFIX_` and its name in capitals.

    Raises pydantic.ValidationError naming the setting when a value is not acceptable.
    """

    model_config = SettingsConfigDict(env_prefix="AFFIX_", frozen=True, env_ignore_empty=True)

    grpc_listen: Listen = Field("127.0.0.1:50051", description="where gRPC is served, host:port; port 0 picks one")
    http_listen: Listen = Field("127.0.0.1:8080", description="where JSON-RPC is served, host:port; port 0 picks one")
    postgres_dsn: str | None = Field(
        None, description="PostgreSQL, or none: Redis keeps all; `affix up` brings its own"
    )
    redis_url: str | None = Field(None, description="Redis or Valkey, redis://… or unix://…; `affix up` brings its own")
    data_dir: Path = Field(Path(".affix"), description="where the embedded stores of `affix up` live")
    instance_id: str = Field(
        default_factory=_host_name, min_length=1, max_length=128, description="createdBy when a caller names none"
    )
    cache_ttl_seconds: int = Field(3600, ge=60, description="how long a settled entry stays in Redis")
    operation_timeout_seconds: float = Field(5.0, gt=0, le=300, description="upper bound of any call")
    workers: int = Field(1, ge=1, le=64, description="server processes on the two ports")
    drain_pause_seconds: float = Field(
        0.0, ge=0, le=300, description="when asked to stop: from not being ready to taking no more calls"
    )
    drain_seconds: float = Field(
        10.0, gt=0, le=300, description="after that: how long calls under way may take before they are cut off"
    )
    grpc_max_connection_age_seconds: float | None = Field(
        None,
        ge=0,
        description="age at which a gRPC client is asked to connect anew; half the pause if not set; 0 for none",
    )
    grpc_max_connection_age_grace_seconds: float = Field(
        0.0, ge=0, description="how long calls may go on over a connection of that age; 0 for as long as they take"
    )
    grpc_keepalive_seconds: float = Field(
        60.0, ge=0, description="how long a gRPC connection is idle before it is asked whether it lives; 0 for never"
    )
    grpc_keepalive_timeout_seconds: float = Field(
        20.0, gt=0, description="how long it may take to answer that before it is closed"
    )
    grpc_min_ping_seconds: float = Field(
        10.0, gt=0, description="how often a gRPC client may ask the same, at most, before it is sent away"
    )
    circuit_threshold: int = Field(10, ge=1, description="consecutive failures of a store that open its circuit")
    circuit_open_seconds: float = Field(30.0, gt=0, description="how long an open circuit refuses calls before a probe")
    when_postgres_down: Literal["accept", "refuse"] = Field(
        "accept", description="writes while PostgreSQL is away: accept them as pending, or refuse them"
    )
    list_fallback: Literal["empty", "error"] = Field(
        "empty", description="lists while neither store can be asked: an empty page marked degraded, or an error"
    )
    delete_rate_limit: RateLimit = Field(
        "100/minute", description="calls of DeleteAttachment per caller, such as 100/minute; none for no limit"
    )
    create_rate_limit: RateLimit = Field(NO_LIMIT, description="calls of CreateAttachment per caller")
    get_rate_limit: RateLimit = Field(NO_LIMIT, description="calls of GetAttachment per caller")
    list_rate_limit: RateLimit = Field(NO_LIMIT, description="calls of ListAttachments per caller")
    batch_get_rate_limit: RateLimit = Field(NO_LIMIT, description="calls of BatchGetAttachments per caller")
    watch_rate_limit: RateLimit = Field(NO_LIMIT, description="watches begun per caller")
    task_create_rate_limit: RateLimit = Field(NO_LIMIT, description="calls of CreateTask per caller")
    task_get_rate_limit: RateLimit = Field(NO_LIMIT, description="calls of GetTask per caller")
    task_update_rate_limit: RateLimit = Field(NO_LIMIT, description="calls of UpdateTask per caller")
    task_list_rate_limit: RateLimit = Field(NO_LIMIT, description="calls of ListTasks per caller")
    task_complete_rate_limit: RateLimit = Field(NO_LIMIT, description="calls of CompleteTask per caller")
    task_delete_rate_limit: RateLimit = Field(NO_LIMIT, description="calls of DeleteTask per caller")
    max_content_bytes: int = Field(16 * 1024 * 1024, ge=1, description="largest content of one attachment")
    max_message_bytes: int = Field(64 * 1024 * 1024, ge=1024 * 1024, description="largest request or response")
    read_cache_bytes: int = Field(
        64 * 1024 * 1024,
        ge=0,
        description="memory for what a process has read, which Redis need not send again while it is the same; 0: none",
    )
    max_concurrent_calls: int = Field(1000, ge=1, description="calls answered at the same time, over both wires")
    max_connections: int = Field(10_000, ge=1, description="connections open at the same time, on each port")
    max_jsonrpc_batch: int = Field(100, ge=1, le=1000, description="requests in a JSON-RPC batch")
    max_watchers: int = Field(10_000, ge=1, description="watches under way at the same time")
    max_watchers_per_caller: int = Field(1000, ge=1, description="watches of one caller under way at the same time")
    max_unsent_bytes: int = Field(
        1024 * 1024 * 1024, ge=1024 * 1024, description="answers that clients have not taken yet, on each port"
    )
    receive_timeout_seconds: float = Field(
        10.0, gt=0, le=300, description="how long a client may leave a handshake or a request half sent"
    )
    send_timeout_seconds: float = Field(
        30.0, gt=0, le=300, description="how long a client may take nothing of an answer that waits for it"
    )
    tls_certificate: Path | None = Field(
        None, description="PEM file with the certificate of both ports and its chain; with it they speak TLS only"
    )
    tls_key: Path | None = Field(None, description="PEM file with its key, without a passphrase")
    tls_client_ca: Path | None = Field(
        None, description="PEM file with the CAs of clients; with it only clients with a certificate of theirs connect"
    )
    auth: Literal["none", "token", "jwt"] = Field("none", description="how callers prove who they are")
    token_file: Path | None = Field(None, description="the tokens' hashes; `affix token new` adds to it")
    jwt_key_file: Path | None = Field(None, description="the key of JSON Web Tokens: PEM, or the secret of HS256")
    jwt_algorithm: Literal["RS256", "ES256", "HS256"] = Field("RS256", description="what AFFIX_JWT_KEY_FILE is for")
    jwt_jwks_file: Path | None = Field(None, description="the keys of JSON Web Tokens, a JWKS, in place of one key")
    jwt_issuer: str | None = Field(None, min_length=1, description="whose tokens are taken, their claim iss")
    jwt_audience: str | None = Field(None, min_length=1, description="whom they must be meant for, their claim aud")
    jwt_leeway_seconds: float = Field(30.0, ge=0, le=300, description="how far the issuer's clock may be off")
    reflection_access: Literal["open", "authenticated", "off"] = Field(
        "open", description="who may list the gRPC methods by server reflection"
    )
    metrics_access: Literal["open", "authenticated", "off"] = Field("open", description="who may read /metrics")
    discover_access: Literal["open", "authenticated", "off"] = Field(
        "open", description="who may ask for rpc.discover, the list of the JSON-RPC methods"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="what is logged, at least")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="how log lines look: JSON, text for people, or text on a terminal and JSON elsewhere"
    )
    log_calls: Literal["all", "failed", "off"] = Field(
        "failed", description="which calls are logged: all, those that failed or were slow, or none"
    )
    log_slow_seconds: float = Field(1.0, gt=0, description="how long a call takes that is logged as slow")

    @field_validator("grpc_listen", "http_listen")
    @classmethod
    def _port_in_range(cls, listen: str) -> str:
        if int(listen.rpartition(":")[2]) > 65535:  # noqa: PLR2004
            raise ValueError("the port must be at most 65535")
        return listen

    @model_validator(mode="after")
    def _message_holds_content(self) -> Self:
        if self.max_message_bytes < self.max_content_bytes + MESSAGE_ROOM:
            raise ValueError(
                f"AFFIX_MAX_MESSAGE_BYTES must exceed AFFIX_MAX_CONTENT_BYTES by {MESSAGE_ROOM} or more, "
                "for a message to hold the largest content"
            )
        return self
