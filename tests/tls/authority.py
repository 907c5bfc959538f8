"""Certificates of our own, by the openssl command."""

from __future__ import annotations

import itertools
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

_NUMBERS = itertools.count(1)
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, both PEM files."""

    certificate: Path
    key: Path

    def replace(self, other: Pair) -> None:
        """Put another one in the place of this, as an operator would: by renaming, one file after the other."""
        for ours, theirs in ((self.certificate, other.certificate), (self.key, other.key)):
            beside = ours.with_name(ours.name + ".new")
            beside.write_bytes(theirs.read_bytes())
            beside.rename(ours)


class Authority:
    """A CA that signs for servers and clients."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        name = f"ca-{next(_NUMBERS)}"
        self.certificate, self._key = folder / f"{name}.pem", folder / f"{name}.key"
        usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
        _openssl(
            "req", "-x509", *_NEW_KEY, "-subj", f"/CN={name}", *usage, "-keyout", self._key, "-out", self.certificate
        )

    def issue(self, host: str = "127.0.0.1") -> Pair:
        """Sign a certificate for a server at an address or name, which clients may show as well."""
        name = f"cert-{next(_NUMBERS)}"
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        kind = "IP" if host[0].isdigit() else "DNS"
        extensions = ("-addext", f"subjectAltName={kind}:{host}", "-addext", "extendedKeyUsage=serverAuth,clientAuth")
        signed_by = ("-CA", self.certificate, "-CAkey", self._key)
        constraint = ("-addext", "basicConstraints=critical,CA:FALSE", "-addext", "keyUsage=digitalSignature")
        common = ("-subj", f"/CN={name}", *extensions, *constraint, "-keyout", pair.key, "-out", pair.certificate)
        _openssl("req", "-x509", *_NEW_KEY, *signed_by, *common)
        return pair

    def context(self, pair: Pair | None = None) -> ssl.SSLContext:
        """What a client needs that trusts this CA, and shows a certificate if it has one."""
        context = ssl.create_default_context(cafile=self.certificate)
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key)
        return context
