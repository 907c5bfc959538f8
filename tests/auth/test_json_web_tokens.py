"""Which JSON Web Tokens are taken, and for whose."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from affix_server.auth import json_web_tokens
from affix_server.auth.json_web_tokens import JsonWebTokens
from affix_server.auth.principals import Principal, Scope
from affix_server.errors import StartError, UnauthenticatedError
from tests.auth.issuer import EC, LEEWAY_SECONDS, OTHER_RSA, PUBLIC, RSA, SECRET, jwk, jwks, known_by, pem, signed

Known = Callable[[str], JsonWebTokens]


@pytest.fixture
def known(tmp_path: Path) -> Known:
    """Know principals by the one key of an algorithm."""

    def known_by_one(algorithm: str) -> JsonWebTokens:
        path = tmp_path / algorithm
        path.write_bytes(PUBLIC[algorithm])
        return known_by(path, algorithm=algorithm)

    return known_by_one


def why_not(tokens: JsonWebTokens, token: str) -> str | None:
    """Show a token, and return why it is not taken."""
    try:
        tokens.principal(token)
    except UnauthenticatedError as refused:
        return refused.what
    return None


NOT_VALID = "The token is not valid"


@pytest.mark.parametrize("algorithm", PUBLIC)
def test_a_token_of_the_issuer(known: Known, algorithm: str) -> None:
    token = signed(algorithm, task_prefix="team-a.")
    assert known(algorithm).principal(token) == Principal("instance-1", Scope.WRITE, "team-a.")


@pytest.mark.parametrize("algorithm", PUBLIC)
def test_a_key_is_good_for_its_own_algorithm_alone(known: Known, algorithm: str) -> None:
    tokens = known(algorithm)
    for other in PUBLIC:
        if other != algorithm:
            assert why_not(tokens, signed(other)) == NOT_VALID
    for head in ({"alg": "none"}, {"alg": "NONE"}, {"alg": ""}, {}, {"alg": None}, {"alg": ["HS256"]}):
        for signature in (b"", b"x"):
            assert why_not(tokens, _assembled(head, signature=signature)) == NOT_VALID
    # Signed with what everybody knows, the public key, as if it were a secret.
    for public in (PUBLIC[algorithm], PUBLIC[algorithm].strip()):
        if algorithm != "HS256":
            assert why_not(tokens, _assembled({"alg": "HS256", "typ": "JWT"}, secret=public)) == NOT_VALID


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
def test_another_algorithm_of_the_same_key(known: Known, algorithm: str) -> None:
    assert why_not(known("RS256"), signed(algorithm, RSA)) == NOT_VALID


def _assembled(head: dict[str, Any], *, signature: bytes = b"", secret: bytes | None = None) -> str:
    """Make a token by hand, which a library refuses to make."""
    payload = json.loads(base64.urlsafe_b64decode(signed("HS256").split(".")[1] + "=="))
    text = b".".join(_base64(json.dumps(part).encode()) for part in (head, payload))
    if secret is not None:
        signature = hmac.digest(secret, text, hashlib.sha256)
    return b".".join((text, _base64(signature))).decode()


def _base64(text: bytes) -> bytes:
    return base64.urlsafe_b64encode(text).rstrip(b"=")


def test_what_is_assembled_by_hand_is_a_token_but_for_its_signature(known: Known) -> None:
    assert why_not(known("HS256"), _assembled({"alg": "HS256"}, secret=SECRET)) is None


@pytest.mark.parametrize(
    "changes",
    [
        *({name: None} for name in ("exp", "iss", "aud", "sub")),
        {"iss": "https://issuer.example.evil"},
        {"iss": ["https://issuer.example"]},
        {"aud": "another"},
        {"aud": ["another", "affi"]},
        {"exp": "soon"},
        {"exp": 1e400},
        {"exp": {}},
        {"nbf": int(time.time()) + LEEWAY_SECONDS + 3600},
        {"iat": int(time.time()) + LEEWAY_SECONDS + 3600},
        {"sub": ""},
        {"sub": "a" * 129},
        {"sub": "a\nb"},
        # Not to be taken for one that is bound to nothing.
        {"task_prefix": ""},
        {"task_prefix": ["team-a."]},
        {"task_prefix": "a:"},
        {"task_prefix": 7},
    ],
)
def test_claims_that_are_missing_or_wrong(known: Known, changes: dict[str, Any]) -> None:
    assert why_not(known("RS256"), signed(**changes)) == NOT_VALID


def test_an_audience_of_several(known: Known) -> None:
    assert why_not(known("RS256"), signed(aud=["another", "affix"])) is None


@pytest.mark.parametrize(
    ("claim", "scope"),
    [
        ("read", Scope.READ),
        ("read admin write", Scope.ADMIN),
        ("openid", Scope.NONE),
        ("", Scope.NONE),
        (None, Scope.NONE),
        (7, Scope.NONE),
        (["write", 7, "openid"], Scope.WRITE),
        ("READ none", Scope.NONE),
        ("readadmin", Scope.NONE),
    ],
)
def test_the_widest_scope_counts(known: Known, claim: object, scope: Scope) -> None:
    assert known("RS256").principal(signed(scope=claim)).scope is scope


def test_a_clock_may_be_off_by_as_much_as_is_set_and_a_token_ends(
    known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, now = known("RS256"), int(time.time())
    assert why_not(tokens, signed(exp=now - LEEWAY_SECONDS + 10)) is None
    assert why_not(tokens, signed(exp=now - LEEWAY_SECONDS - 1)) == "The token has expired"
    # One that is forged learns nothing of its end.
    assert why_not(tokens, signed(key=OTHER_RSA, exp=now - LEEWAY_SECONDS - 1)) == NOT_VALID
    # Nor does being known already keep one alive.
    token = signed(exp=now - LEEWAY_SECONDS + 1)
    assert why_not(tokens, token) is None
    monkeypatch.setattr(time, "time", lambda: now + 1.0)
    assert tokens._file.value.known[token][1] == now + 1  # noqa: SLF001 - what is remembered
    while why_not(tokens, token) is None:
        pass
    assert why_not(tokens, token) == "The token has expired"


def test_what_is_remembered_has_an_end(known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_web_tokens, "_REMEMBERED", 3)
    tokens = known("HS256")
    for number in range(5):
        assert tokens.principal(signed("HS256", sub=f"i-{number}")).name == f"i-{number}"
    assert len(tokens._file.value.known) == 3  # noqa: SLF001


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "é.é.é", "\ud800", "x" * 100_000])
def test_what_is_no_token(known: Known, token: str) -> None:
    assert why_not(known("RS256"), token) == NOT_VALID


def test_a_head_of_very_deep_brackets(known: Known) -> None:
    head = _base64(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}").decode()
    assert why_not(known("RS256"), f"{head}.e30.AA") == NOT_VALID


# Files of keys


@pytest.mark.parametrize(
    ("algorithm", "text", "why"),
    [
        ("RS256", b"", "is no PEM file with a public key, which RS256 needs"),
        ("RS256", SECRET, "is no PEM file with a public key, which RS256 needs"),
        ("RS256", pem(EC), "holds a key that is not one for RS256"),
        ("ES256", pem(RSA), "holds a key that is not one for ES256"),
        ("ES256", pem(ec.generate_private_key(ec.SECP384R1())), "holds a key that is not one for ES256"),
        (
            "RS256",
            RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            "is no PEM file with a public key, which RS256 needs",
        ),
        ("HS256", pem(RSA), "is a PEM file, which is no secret for HS256: see AFFIX_JWT_ALGORITHM"),
        ("HS256", b"short\n", "holds a secret of 5 bytes: it must have 32"),
        (None, b"[]", "is no JSON Web Key Set"),
        (None, b'{"keys": 5}', "is no JSON Web Key Set"),
        (None, b"[" * 100_000, "is no JSON Web Key Set"),
        (None, b'{"keys": [5, null, [], {"kty": []}]}', "holds no key for RS256, ES256 or HS256"),
        (None, b"\xff", "is no JSON Web Key Set"),
        (None, b'{"keys": []}', "holds no key for RS256, ES256 or HS256"),
        (None, jwks(jwk("RS256", RSA, use="enc")), "holds no key for RS256, ES256 or HS256"),
        (None, jwks(jwk("RS256", RSA, alg="RS512")), "holds no key for RS256, ES256 or HS256"),
        (None, jwks({"kty": "RSA", "kid": "a"}), "holds a key that cannot be read, number 1"),
        (None, jwks(jwk("HS256", b"short")), "holds a secret of 5 bytes: it must have 32"),
        (
            None,
            jwks(jwk("RS256", RSA, kid="a"), jwk("ES256", EC)),
            "holds several keys, and not each has a kid of its own",
        ),
        (
            None,
            jwks(jwk("RS256", RSA, kid="a"), jwk("ES256", EC, kid="a")),
            "holds several keys, and not each has a kid of its own",
        ),
    ],
)
def test_a_bad_file_keeps_the_service_from_starting(
    tmp_path: Path, algorithm: str | None, text: bytes, why: str
) -> None:
    path = tmp_path / "key"
    path.write_bytes(text)
    with pytest.raises(StartError) as caught:
        known_by(path, algorithm=algorithm)
    assert str(caught.value) == f"{path} (AFFIX_JWT_KEY_FILE) {why}"


def test_a_short_rsa_key(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)))  # noqa: S505 - it is refused
    with pytest.raises(StartError, match="holds an RSA key of 1024 bits: it must have 2048"):
        known_by(path, algorithm="RS256")


def test_a_set_of_keys_each_for_its_own_tokens(tmp_path: Path) -> None:
    path = tmp_path / "jwks"
    path.write_bytes(
        jwks(jwk("RS256", RSA, kid="r", use="sig"), jwk("ES256", EC, kid="e"), jwk("HS256", SECRET, kid="h"))
    )
    tokens = known_by(path, algorithm=None)
    for kid, algorithm in (("r", "RS256"), ("e", "ES256"), ("h", "HS256")):
        assert why_not(tokens, signed(algorithm, kid=kid)) is None
        assert why_not(tokens, signed(algorithm)) == NOT_VALID
        for other in {"r", "e", "h", "x"} - {kid}:
            assert why_not(tokens, signed(algorithm, kid=other)) == NOT_VALID


def test_the_only_key_of_a_set_needs_no_name(tmp_path: Path) -> None:
    path = tmp_path / "jwks"
    path.write_bytes(jwks(jwk("RS256", RSA, kid="r"), jwk("RS256", OTHER_RSA, use="enc")))
    tokens = known_by(path, algorithm=None)
    assert why_not(tokens, signed()) is None
    assert why_not(tokens, signed(kid="x")) == NOT_VALID


def test_a_private_key_in_a_set_is_as_good_as_its_public_half(tmp_path: Path) -> None:
    path = tmp_path / "jwks"
    private = jwt.get_algorithm_by_name("RS256").to_jwk(RSA, as_dict=True)
    curve = jwt.get_algorithm_by_name("ES256").to_jwk(EC, as_dict=True)
    path.write_bytes(jwks({**private, "kid": "r"}, {**curve, "kid": "e"}))
    tokens = known_by(path, algorithm=None)
    assert why_not(tokens, signed(kid="r")) is None
    assert why_not(tokens, signed("ES256", kid="e")) is None
