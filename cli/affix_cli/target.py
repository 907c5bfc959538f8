"""The gRPC server behind `affix shim`, over TLS if so it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc.aio

from affix_cli import certificates
from affix_cli.failures import Failure

# As a CA: those that the system trusts.
SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Target:
    """The gRPC server behind: plain without a CA; with a certificate of ours where it asks for one."""

    address: str
    ca: str | None
    certificate: Path | None
    key: Path | None

    def channel(self, options: list[tuple[str, int]]) -> grpc.aio.Channel:
        """Make the channel; nothing connects yet. Raises Failure when a file cannot be read, or one is missing."""
        if self.ca is None:
            if self.certificate is not None or self.key is not None:
                raise Failure("a certificate for the target needs --target-ca: a PEM file, or system")
            return grpc.aio.insecure_channel(self.address, options=options)
        if (self.certificate is None) != (self.key is None):
            raise Failure("--target-certificate and --target-key need each other")
        roots = None if self.ca == SYSTEM else _pem(Path(self.ca), "--target-ca")
        chain = None if self.certificate is None else _pem(self.certificate, "--target-certificate")
        key = None if self.key is None else _pem(self.key, "--target-key")
        credentials = grpc.ssl_channel_credentials(roots, key, chain)
        return grpc.aio.secure_channel(self.address, credentials, options=options)


def _pem(path: Path, option: str) -> bytes:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise Failure(f"cannot read {path} ({option}): {(error.strerror or 'it cannot be read').lower()}") from None
    if not certificates.is_pem(text):
        raise Failure(f"{path} ({option}) is not a PEM file")
    return text
