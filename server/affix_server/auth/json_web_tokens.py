"""JSON Web Tokens of an issuer elsewhere, checked against its keys.

A key is good for one algorithm, which is settled when the key is read: what a token says of its own algorithm is only
compared with that.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from affix_server.auth.files import BadFileError, WatchedFile
from affix_server.auth.principals import SCOPES, Principal, Scope
from affix_server.errors import InvalidParamsError, UnauthenticatedError
from affix_server.validation import Checks

_REQUIRED = ("exp", "iss", "aud", "sub")
_SHORTEST_SECRET_BYTES = 32
_SHORTEST_RSA_BITS = 2048
_KINDS = {"RSA": "RS256", "EC": "ES256", "oct": "HS256"}
# Of so many tokens it is remembered that their signature is good; checking it costs as much as answering a read.
_REMEMBERED = 1000

_Key = RSAPublicKey | EllipticCurvePublicKey | bytes


@dataclass(frozen=True, slots=True)
class _BoundKey:
    key: _Key
    algorithm: str


@dataclass(frozen=True, slots=True)
class _Keys:
    """The keys of a file, and the tokens whose signatures they were found to have made, with when these end."""

    named: Mapping[str, _BoundKey]
    only: _BoundKey | None
    known: OrderedDict[str, tuple[Principal, float]] = field(default_factory=OrderedDict)

    def find(self, kid: object) -> _BoundKey | None:
        """Return the key that a token names; the only one there is, if it names none."""
        if kid is None:
            return self.only
        if not isinstance(kid, str):
            return None
        return self.named.get(kid) if self.named else self.only


class JsonWebTokens:
    """Knows principals by the claims of their tokens: `sub`, `scope`, and `task_prefix` for one that is bound."""

    def __init__(
        self, path: Path, setting: str, *, algorithm: str | None, issuer: str, audience: str, leeway_seconds: float
    ) -> None:
        """Read the file: a key for `algorithm`, or a JWKS if that is None. Raises StartError."""
        parse = _read_jwks if algorithm is None else lambda text: _read_key(text, algorithm)
        self._file: WatchedFile[_Keys] = WatchedFile(path, setting, parse)
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway_seconds

    def principal(self, token: str) -> Principal:
        """See Credentials."""
        keys = self._file.value
        found = keys.known.get(token)
        if found is not None and time.time() < found[1]:
            return found[0]
        principal, ends = self._checked(token, keys)
        keys.known[token] = (principal, ends)
        if len(keys.known) > _REMEMBERED:
            keys.known.popitem(last=False)
        return principal

    def _checked(self, token: str, keys: _Keys) -> tuple[Principal, float]:
        try:
            key = keys.find(jwt.get_unverified_header(token).get("kid"))
            if key is not None:
                claims: dict[str, Any] = jwt.decode(
                    token,
                    key.key,
                    algorithms=[key.algorithm],
                    issuer=self._issuer,
                    audience=self._audience,
                    leeway=self._leeway,
                    options={"require": list(_REQUIRED)},
                )
                # Until then PyJWT finds nothing wrong with it.
                return _principal(claims), int(claims["exp"]) + self._leeway
        except jwt.ExpiredSignatureError:
            raise UnauthenticatedError("The token has expired") from None
        except (jwt.PyJWTError, InvalidParamsError, ValueError, TypeError, OverflowError, RecursionError):
            pass  # whatever is wrong with it, its bearer learns no more than that
        raise UnauthenticatedError("The token is not valid")


def _principal(claims: Mapping[str, Any]) -> Principal:
    """Read the claims. Raises TypeError, InvalidParamsError."""
    name, prefix = claims["sub"], claims.get("task_prefix", "")
    if not isinstance(name, str) or not isinstance(prefix, str):
        raise TypeError("not text")
    checks = Checks()
    checks.name(name, "sub")
    if "task_prefix" in claims:
        checks.task_prefix(prefix, "task_prefix")
    checks.done()
    return Principal(name, _scope(claims.get("scope", "")), prefix)


def _scope(claim: object) -> Scope:
    """Return the widest of ours in a claim, a list or words with spaces between them as OAuth has it."""
    words: Sequence[object] = claim.split(" ") if isinstance(claim, str) else claim if isinstance(claim, list) else ()
    return max((SCOPES[word] for word in words if isinstance(word, str) and word in SCOPES), default=Scope.NONE)


def _read_key(text: bytes, algorithm: str) -> _Keys:
    if algorithm == "HS256":
        secret = text.rstrip(b"\r\n")
        if b"-----BEGIN" in secret:
            raise BadFileError("is a PEM file, which is no secret for HS256: see AFFIX_JWT_ALGORITHM")
        return _Keys({}, _bound(secret, algorithm))
    try:
        key = load_pem_public_key(text)
    except Exception:  # noqa: BLE001 - whatever the library says of it, it may quote the file
        raise BadFileError(f"is no PEM file with a public key, which {algorithm} needs") from None
    return _Keys({}, _bound(key, algorithm))


def _bound(key: object, algorithm: str) -> _BoundKey:
    match algorithm, key:
        case "RS256", RSAPublicKey():
            if key.key_size < _SHORTEST_RSA_BITS:
                raise BadFileError(f"holds an RSA key of {key.key_size} bits: it must have {_SHORTEST_RSA_BITS}")
            return _BoundKey(key, algorithm)
        case "ES256", EllipticCurvePublicKey(curve=SECP256R1()):
            return _BoundKey(key, algorithm)
        case "HS256", bytes():
            if len(key) < _SHORTEST_SECRET_BYTES:
                raise BadFileError(f"holds a secret of {len(key)} bytes: it must have {_SHORTEST_SECRET_BYTES}")
            return _BoundKey(key, algorithm)
    raise BadFileError(f"holds a key that is not one for {algorithm}")


def _read_jwks(text: bytes) -> _Keys:
    try:
        listed = json.loads(text)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError):
        listed = None
    if not isinstance(listed, list):
        raise BadFileError("is no JSON Web Key Set")
    usable: list[tuple[object, _BoundKey]] = [
        (jwk.get("kid"), _read_jwk(jwk, place)) for place, jwk in enumerate(listed, start=1) if _signs(jwk)
    ]
    named = {kid: key for kid, key in usable if isinstance(kid, str)}
    if not usable:
        raise BadFileError("holds no key for RS256, ES256 or HS256")
    if len(usable) > 1 and len(named) < len(usable):
        raise BadFileError("holds several keys, and not each has a kid of its own")
    return _Keys(named, usable[0][1] if len(usable) == 1 else None)


def _signs(jwk: object) -> bool:
    """Whether a key is for signing, with an algorithm of ours; issuers publish others beside these."""
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig":
        return False
    algorithm = _KINDS.get(str(jwk.get("kty")))
    return algorithm is not None and jwk.get("alg", algorithm) == algorithm and jwk.get("crv", "P-256") == "P-256"


def _read_jwk(jwk: dict[str, Any], place: int) -> _BoundKey:
    algorithm = _KINDS[jwk["kty"]]
    try:
        # Of a private key the public half is all that is wanted.
        public = {name: value for name, value in jwk.items() if jwk["kty"] == "oct" or name not in {"d", "p", "q"}}
        key = jwt.PyJWK(public, algorithm).key
    except Exception:  # noqa: BLE001 - as above
        raise BadFileError(f"holds a key that cannot be read, number {place}") from None
    return _bound(key, algorithm)
