"""TLS on both wires: one certificate, read again when its files change.

(docs/decisions/0024-certificates-are-looked-at-on-each-handshake.md)
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from affix_cli.failures import Failure

# So that nothing asks for one at the terminal.
_UNASKED = ""
_State = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Files:
    """PEM files: a certificate with its chain, its key, and the CA of clients' certificates, if they must have one."""

    certificate: Path
    key: Path
    client_ca: Path | None

    def paths(self) -> tuple[Path, ...]:
        """Return those there are."""
        return (self.certificate, self.key, *(() if self.client_ca is None else (self.client_ca,)))


def files(certificate: Path | None, key: Path | None, client_ca: Path | None) -> Files | None:
    """Take the settings as a whole; None is no TLS. Raises Failure when something is missing."""
    if certificate is not None and key is not None:
        return Files(certificate, key, client_ca)
    if certificate is not None or key is not None:
        raise Failure("AFFIX_TLS_CERTIFICATE and AFFIX_TLS_KEY need each other: the certificate and its key")
    if client_ca is not None:
        raise Failure("AFFIX_TLS_CLIENT_CA needs AFFIX_TLS_CERTIFICATE and AFFIX_TLS_KEY")
    return None


@dataclass(frozen=True, slots=True)
class _Loaded:
    state: _State
    context: ssl.SSLContext
    configuration: grpc.ServerCertificateConfiguration


class Certificates:
    """What the wires show to their clients. Each handshake looks whether the files have changed.

    Files that cannot be used, or do not belong together, are told to `refused` once,
    and what was good before goes on. Safe from any thread: gRPC's handshakes have their own.
    """

    def __init__(self, files: Files, refused: Callable[[str], None]) -> None:
        """Read the files. Raises Failure in one line when they cannot be used."""
        self._files = files
        self._refused = refused
        self._lock = threading.Lock()
        try:
            self._loaded = _load(files)
        except (OSError, ValueError) as error:
            raise Failure(_line(files, error)) from None
        self._seen = self._loaded.state

    def http(self) -> ssl.SSLContext:
        """Return the context for a listening socket; it stays current by itself."""
        front = self._loaded.context

        def choose(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            connection.context = self._current().context

        front.sni_callback = choose  # called for clients that name no server as well
        return front

    def grpc(self) -> grpc.ServerCredentials:
        """Return the credentials for a gRPC port; they stay current by themselves."""
        told = self._loaded

        # None means "as before"; its stub knows configurations only.
        def fetch() -> Any:
            nonlocal told
            current = self._current()
            if current is told:
                return None
            told = current
            return current.configuration

        required = self._files.client_ca is not None
        return grpc.dynamic_ssl_server_credentials(told.configuration, fetch, required)

    def _current(self) -> _Loaded:
        with self._lock:
            try:
                state = _state(self._files)
            except OSError as error:
                if self._seen:
                    self._seen = ()
                    self._refused(_line(self._files, error))
                return self._loaded
            if state != self._seen:
                self._seen = state
                self._read()
            return self._loaded

    def _read(self) -> None:
        try:
            self._loaded = _load(self._files)
        except _ChangingError:
            self._seen = ()  # the next handshake looks again
        except (OSError, ValueError) as error:
            self._refused(_line(self._files, error))


class _ChangingError(ValueError):
    """The files changed while they were read."""


def _load(files: Files) -> _Loaded:
    """Read all files, as they were at one moment, and see that they belong together. Raises OSError, ValueError."""
    state = _state(files)
    context = _context(files)
    certificate, key = files.certificate.read_bytes(), files.key.read_bytes()
    authority = None if files.client_ca is None else files.client_ca.read_bytes()
    if _state(files) != state:
        raise _ChangingError("they change at this moment")
    configuration = grpc.ssl_server_certificate_configuration([(key, certificate)], authority)
    return _Loaded(state, context, configuration)


def _context(files: Files) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A session that is resumed would not show its certificate again, whatever has become of its CA.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    context.load_cert_chain(files.certificate, files.key, password=_UNASKED)
    if files.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(files.client_ca)
    return context


def _state(files: Files) -> _State:
    found = [path.stat() for path in files.paths()]
    return tuple((one.st_mtime_ns, one.st_size, one.st_ino) for one in found)


def _line(files: Files, error: OSError | ValueError) -> str:
    """Say in one line what is wrong, and with which setting."""
    names = dict(zip(files.paths(), ("AFFIX_TLS_CERTIFICATE", "AFFIX_TLS_KEY", "AFFIX_TLS_CLIENT_CA"), strict=False))
    for path, name in names.items():
        try:
            path.read_bytes()
        except OSError as unreadable:
            return f"cannot read {path} ({name}): {(unreadable.strerror or 'it cannot be read').lower()}"
    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        return f"{files.key} (AFFIX_TLS_KEY) is not the key of {files.certificate} (AFFIX_TLS_CERTIFICATE)"
    for path, name in names.items():
        if not is_pem(path.read_bytes()):
            return f"{path} ({name}) is not a PEM file"
    return f"the certificate cannot be used ({', '.join(names.values())}): PEM files, the key without a passphrase"


def is_pem(text: bytes) -> bool:
    """Tell whether a file holds something in PEM."""
    return b"-----BEGIN " in text
