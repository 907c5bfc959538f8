"""Which credentials the settings ask for."""

from __future__ import annotations

from pathlib import Path

from affix_server.auth.json_web_tokens import JsonWebTokens
from affix_server.auth.principals import Credentials
from affix_server.auth.tokens import Tokens
from affix_server.config import Settings
from affix_server.errors import StartError


def open_credentials(settings: Settings) -> Credentials | None:
    """Read what callers are known by; None where nobody is asked. Raises StartError."""
    if settings.auth == "token":
        return Tokens(_needed(settings, "token_file"), "AFFIX_TOKEN_FILE")
    if settings.auth == "jwt":
        return _json_web_tokens(settings)
    for name in ("metrics_access", "reflection_access", "discover_access"):
        if getattr(settings, name) == "authenticated":
            raise StartError(f"AFFIX_{name.upper()}=authenticated needs AFFIX_AUTH=token or jwt")
    return None


def _json_web_tokens(settings: Settings) -> JsonWebTokens:
    if settings.jwt_issuer is None or settings.jwt_audience is None:
        raise StartError("AFFIX_AUTH=jwt needs AFFIX_JWT_ISSUER and AFFIX_JWT_AUDIENCE")
    if (settings.jwt_key_file is None) == (settings.jwt_jwks_file is None):
        raise StartError("AFFIX_AUTH=jwt needs AFFIX_JWT_KEY_FILE or AFFIX_JWT_JWKS_FILE, one of them")
    name = "jwt_key_file" if settings.jwt_jwks_file is None else "jwt_jwks_file"
    return JsonWebTokens(
        _needed(settings, name),
        f"AFFIX_{name.upper()}",
        algorithm=settings.jwt_algorithm if settings.jwt_jwks_file is None else None,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        leeway_seconds=settings.jwt_leeway_seconds,
    )


def _needed(settings: Settings, name: str) -> Path:
    path: Path | None = getattr(settings, name)
    if path is None:
        raise StartError(f"AFFIX_AUTH={settings.auth} needs AFFIX_{name.upper()}")
    return path
