"""`affix config`, and settings read so that a bad one is a plain line."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from affix_cli.failures import Failure
from affix_server.config import Settings

PREFIX = "AFFIX_"
MASK = "***"
# Values that may hold a password; what cannot be parsed of them is not shown.
SECRET = {"postgres_dsn", "redis_url"}

PREDICATES: dict[str, Callable[[dict[str, Any]], str]] = {
    "string_pattern_mismatch": lambda _: "must look like 127.0.0.1:8080 or [::1]:8080",
    "string_too_short": lambda c: f"must have at least {c['min_length']} characters",
    "string_too_long": lambda c: f"must have at most {c['max_length']} characters",
    "greater_than": lambda c: f"must be more than {c['gt']:g}",
    "greater_than_equal": lambda c: f"must be at least {c['ge']}",
    "less_than": lambda c: f"must be less than {c['lt']}",
    "less_than_equal": lambda c: f"must be at most {c['le']}",
    "int_parsing": lambda _: "must be a whole number",
    "int_from_float": lambda _: "must be a whole number",
    "float_parsing": lambda _: "must be a number",
    "bool_parsing": lambda _: "must be true or false",
    "literal_error": lambda c: f"must be {c['expected']}",
    "value_error": lambda c: f"is not acceptable: {c['error']}",
}


def load_with_stores(command: str, why: str) -> Settings:
    """Read the settings of a command that needs both stores; `why` ends the line for one that is not named.

    Raises Failure.
    """
    settings = load()
    named = {"AFFIX_POSTGRES_DSN": settings.postgres_dsn, "AFFIX_REDIS_URL": settings.redis_url}
    missing = [name for name, value in named.items() if value is None]
    if missing:
        raise Failure(f"{command} needs {' and '.join(missing)}{why}")
    return settings


def load() -> Settings:
    """Read the settings from the environment. Raises Failure with a line for each bad one."""
    try:
        return Settings()
    except ValidationError as error:
        raise Failure("\n".join(_line(details) for details in error.errors())) from None


def rows() -> list[dict[str, Any]]:
    """Describe every setting, in the order of the class, with secrets masked. Raises Failure for a bad one."""
    settings = load()
    return [
        {
            "name": name,
            "variable": f"{PREFIX}{name.upper()}",
            "default": _shown(field.get_default(call_default_factory=True, validated_data={})),
            "value": _shown(getattr(settings, name)),
            "description": field.description,
        }
        for name, field in Settings.model_fields.items()
    ]


def as_json() -> str:
    """Print the rows as a JSON array."""
    return json.dumps(rows(), indent=2, ensure_ascii=False)


def as_table() -> str:
    """Print the rows aligned, a line each, with `-` for what is not set."""
    head = ("name", "variable", "default", "value")
    lines = [head, *(tuple("-" if row[column] is None else str(row[column]) for column in head) for row in rows())]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def masked(text: str) -> str:
    """Replace the passwords of a URL or of a `key=value` connection string by `***`.

    A doubtful case is masked: an unescaped `@` or quote may hide more than the
    password, never less.
    """
    if "://" in text:
        text = re.sub(r"(://[^:/?#@]*:).*@", rf"\g<1>{MASK}@", text)
        return re.sub(r"(?i)([?&;][^=&]*(?:pass|secret|token)[^=&]*=)[^&#]*", rf"\g<1>{MASK}", text)
    value = r"(?:'(?:[^'\\]|\\.)*'?|(?:\\.|[^\s\\])*)"
    return re.sub(rf"(?i)(\w*(?:pass|secret|token)\w*\s*=\s*){value}", rf"\g<1>{MASK}", text)


def _shown(value: object) -> object:
    if isinstance(value, str):
        return masked(value)
    return str(value) if isinstance(value, Path) else value


def _line(details: ErrorDetails) -> str:
    name = str(details["loc"][0])
    predicate = PREDICATES.get(details["type"])
    what = predicate(details.get("ctx", {})) if predicate else f"is not acceptable: {details['msg']}"
    if name in SECRET:
        return f"{PREFIX}{name.upper()} {what}"
    return f"{PREFIX}{name.upper()} {what}, not {reprlib.repr(details['input'])}"
