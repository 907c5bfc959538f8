"""The settings of the rate limits."""

from __future__ import annotations

import pytest
from limits import RateLimitItemPerHour, RateLimitItemPerMinute, RateLimitItemPerSecond
from pydantic import ValidationError

from affix_server.config import Settings
from affix_server.rate_limits import limits_of
from tests.cli.commands import affix, plain_failure


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AFFIX_DELETE_RATE_LIMIT", raising=False)


def test_only_deletions_are_limited_unless_asked_for() -> None:
    assert limits_of(Settings()) == {"DeleteAttachment": RateLimitItemPerMinute(100)}
    assert limits_of(Settings(delete_rate_limit="none")) == {}


def test_the_notation() -> None:
    settings = Settings(delete_rate_limit="none", task_list_rate_limit="5 per 10 seconds", get_rate_limit="7/hour")
    assert limits_of(settings) == {"ListTasks": RateLimitItemPerSecond(5, 10), "GetAttachment": RateLimitItemPerHour(7)}


@pytest.mark.parametrize(
    "text", ["many", "100", "100/fortnight", "0/minute", "-1/minute", "1.5/minute", "1/second;5/minute", "None", "/day"]
)
def test_what_is_not_a_limit(text: str) -> None:
    with pytest.raises(ValidationError, match="it must be one limit such as 100/minute"):
        Settings(delete_rate_limit=text)


@pytest.mark.parametrize("command", ["config", "serve"])
def test_a_bad_limit_is_a_line(command: str) -> None:
    assert plain_failure(affix(command, AFFIX_TASK_GET_RATE_LIMIT="many")) == (
        "AFFIX_TASK_GET_RATE_LIMIT is not acceptable: "
        "it must be one limit such as 100/minute or 5 per 10 second, or none, not 'many'"
    )
