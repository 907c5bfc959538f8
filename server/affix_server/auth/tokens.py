"""Tokens, and the file that knows them by their hashes: a JSON object a line.

A token is `affix_{id}_{secret}`. The id is no secret: it finds the line, and names the token in lists. The secret is
256 random bits, so a plain SHA-256 keeps it: a slow hash is for what people choose, and could be guessed.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from affix_server.auth.files import BadFileError, WatchedFile
from affix_server.auth.principals import SCOPES, Principal
from affix_server.errors import InvalidParamsError, UnauthenticatedError
from affix_server.times import format_ms, now_ms
from affix_server.validation import Checks

_TOKEN = re.compile(r"affix_([0-9a-f]{12})_[A-Za-z0-9_-]{43}", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SECRET_BYTES = 32
_NOBODY = ("0" * 64, None)


class TokenLine(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What the file holds of a token."""

    id: str
    sha256: str
    instance: str
    scope: str
    task_prefix: str = ""
    created_at: str = ""

    @property
    def principal(self) -> Principal:
        """Whose token it is."""
        return Principal(self.instance, SCOPES[self.scope], self.task_prefix)


_decode = msgspec.json.Decoder(TokenLine).decode


class Tokens:
    """Knows principals by the tokens of a file."""

    def __init__(self, path: Path, setting: str) -> None:
        """Read the file. Raises StartError."""
        self._file: WatchedFile[Mapping[str, tuple[str, Principal | None]]] = WatchedFile(path, setting, _known)

    def principal(self, token: str) -> Principal:
        """See Credentials."""
        parts = _TOKEN.fullmatch(token)
        sha256, principal = self._file.value.get(parts[1], _NOBODY) if parts else _NOBODY
        # Compared in constant time, also where there is nothing to compare with.
        if hmac.compare_digest(_hash(token), sha256) and principal is not None:
            return principal
        raise UnauthenticatedError("The token is not valid")


def new_token(instance: str, scope: str, task_prefix: str) -> tuple[str, TokenLine]:
    """Make a token: what its bearer is given, and what is kept of it. Raises InvalidParamsError."""
    id_ = secrets.token_hex(6)
    token = f"affix_{id_}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    line = TokenLine(
        id=id_,
        sha256=_hash(token),
        instance=instance,
        scope=scope,
        task_prefix=task_prefix,
        created_at=format_ms(now_ms()),
    )
    _check(line)
    return token, line


def read_tokens(path: Path) -> Sequence[TokenLine]:
    """Read the file, in order; one that is not there has none. Raises OSError, BadFileError."""
    return list(_by_id(path.read_bytes()).values()) if path.exists() else []


def add_token(path: Path, line: TokenLine) -> None:
    """Add a line, making the file if need be. Raises OSError, BadFileError."""
    with _locked(path):
        _replace(path, [*read_tokens(path), line])


def remove_token(path: Path, id_: str) -> bool:
    """Take a line out; False if there is none with this id. Raises OSError, BadFileError."""
    with _locked(path):
        lines = read_tokens(path)
        kept = [line for line in lines if line.id != id_]
        if len(kept) < len(lines):
            _replace(path, kept)
        return len(kept) < len(lines)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def _known(text: bytes) -> dict[str, tuple[str, Principal | None]]:
    """Read a file into what each call asks of it: hashes, and whose they are, by id. Raises BadFileError."""
    return {id_: (line.sha256, line.principal) for id_, line in _by_id(text).items()}


def _by_id(text: bytes) -> dict[str, TokenLine]:
    found: dict[str, TokenLine] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            one = _decode(line)
            _check(one)
        except (UnicodeDecodeError, RecursionError):
            raise BadFileError(f"is no file of tokens: line {number}: not JSON in UTF-8") from None
        except msgspec.DecodeError as fault:
            raise BadFileError(f"is no file of tokens: line {number}: {fault}") from None
        except InvalidParamsError as refused:
            why = "; ".join(f"{violation.field} {violation.description}" for violation in refused.violations)
            raise BadFileError(f"is no file of tokens: line {number}: {why}") from None
        if one.id in found:
            raise BadFileError(f"is no file of tokens: line {number}: the id {one.id} is there twice")
        found[one.id] = one
    return found


def _check(line: TokenLine) -> None:
    checks = Checks()
    checks.name(line.instance, "instance")
    if line.scope not in SCOPES:
        checks.fail("scope", f"must be one of {', '.join(SCOPES)}")
    if line.task_prefix:
        checks.task_prefix(line.task_prefix, "task_prefix")
    if not _HASH.fullmatch(line.sha256):
        checks.fail("sha256", "must be 64 of 0-9 a-f")
    checks.done()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep out others who change files of this folder by these functions."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _replace(path: Path, lines: Sequence[TokenLine]) -> None:
    """Put a new file in the place of the old one, so that no reader sees half of it; its mode and owner stay."""
    text = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    real = path.resolve()  # a link stays one
    descriptor, name = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if real.exists():
                there = real.stat()
                os.fchmod(file.fileno(), there.st_mode & 0o777)
                os.fchown(file.fileno(), there.st_uid, there.st_gid)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(real)
    except BaseException:
        Path(name).unlink()
        raise
