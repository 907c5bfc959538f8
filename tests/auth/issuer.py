"""An issuer of JSON Web Tokens, with keys of its own."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from affix_server.auth.json_web_tokens import JsonWebTokens

ISSUER, AUDIENCE = "https://issuer.example", "affix"
LEEWAY_SECONDS = 30
SECRET = b"0123456789abcdef0123456789abcdef"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
PRIVATE: dict[str, Any] = {"RS256": RSA, "ES256": EC, "HS256": SECRET}


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    """The public half, as a file has it."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


PUBLIC = {"RS256": pem(RSA), "ES256": pem(EC), "HS256": SECRET + b"\n"}


def claims(**changes: Any) -> dict[str, Any]:
    """What a good token says, with changes; one to None is left out."""
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "instance-1",
        "scope": "openid write",
        "exp": int(time.time()) + 60,
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def signed(algorithm: str = "RS256", key: Any = None, kid: str | None = None, **changes: Any) -> str:
    """Issue a token."""
    headers = {"kid": kid} if kid is not None else None
    payload = json.dumps(claims(**changes)).encode()  # any claims, also those that a library does not issue
    return jwt.PyJWS().encode(payload, PRIVATE[algorithm] if key is None else key, algorithm, headers)


def jwk(algorithm: str, key: Any, **members: Any) -> dict[str, Any]:
    """A key as a set has it: the public half, or the secret."""
    maker = jwt.get_algorithm_by_name(algorithm)
    public = key if isinstance(key, bytes) else key.public_key()
    found = maker.to_jwk(public, as_dict=True)
    return {**found, **members}


def jwks(*keys: dict[str, Any]) -> bytes:
    """A set."""
    return json.dumps({"keys": keys}).encode()


def known_by(path: Path, *, algorithm: str | None) -> JsonWebTokens:
    """Know principals by the key or keys of a file."""
    return JsonWebTokens(
        path,
        "AFFIX_JWT_KEY_FILE",
        algorithm=algorithm,
        issuer=ISSUER,
        audience=AUDIENCE,
        leeway_seconds=LEEWAY_SECONDS,
    )
