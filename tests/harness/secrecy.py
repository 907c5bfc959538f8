"""What callers store, and what they prove themselves with: no error and no line of a log may hold it.

Every call that the suite makes over a wire adds to what is kept secret; every command's output, and the error of every
call that is refused, is looked through for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# What callers store. Keys, ids and names are no secrets: errors tell them back.
_STORED = frozenset({"content", "value", "url", "text", "metadata", "result"})
# A shorter one may stand in a log by chance.
_LEAST, _MOST = 12, 200
# Values of tests about what is said of bad ones, which are told back or stand in the advice as an example.
_TOLD = frozenset({"https://example.com/"})

_kept: set[str] = set()


def _secrets(params: Mapping[str, Any]) -> Iterator[str]:
    for name, value in params.items():
        if name == "updates" and isinstance(value, Mapping):
            yield from _secrets(value)
        elif name == "requests" and isinstance(value, list):
            for item in value:
                yield from _secrets(item) if isinstance(item, Mapping) else ()
        elif name in _STORED and isinstance(value, str) and len(value) >= _LEAST and value.strip() not in _TOLD:
            yield value[:_MOST]


def keep(params: Mapping[str, Any], *tokens: str | None) -> frozenset[str]:
    """Keep what a call sends a secret from now on, and return it."""
    secrets = frozenset((*_secrets(params), *(token for token in tokens if token is not None)))
    _kept.update(secrets)
    return secrets


def judge_error(secrets: frozenset[str], error: Exception) -> None:
    """Fail if an error holds what its call has sent."""
    told = [secret for secret in secrets if secret in str(error)]
    assert not told, f"the error tells {told}: {error}"


def judge_log(output: str) -> None:
    """Fail if a log holds anything that was sent."""
    lines = [line for secret in _kept if secret in output for line in output.splitlines() if secret in line]
    assert not lines, f"the log tells what was stored: {lines[:3]}"
