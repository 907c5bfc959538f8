"""The one answer to bad parameters."""

from __future__ import annotations

from affix_shim.violations import Violation, clip, invalid_params


def test_an_error_names_every_violation_and_where() -> None:
    violations = [Violation("limit", "must be 1 to 100, not 0"), Violation("offset", "must be 0 or more, not -1")]
    error = invalid_params(violations, {"taskId": "t"})
    assert (error.code, error.message) == (
        -32602,
        "Invalid params: limit must be 1 to 100, not 0; offset must be 0 or more, not -1",
    )
    assert error.data == {
        "taskId": "t",
        "violations": [
            {"field": "limit", "description": "must be 1 to 100, not 0"},
            {"field": "offset", "description": "must be 0 or more, not -1"},
        ],
        "reason": "INVALID_PARAMS",
    }


def test_an_error_does_not_grow_with_a_hostile_request() -> None:
    violations = [Violation(clip(f"{n}{'x' * 1000}"), "is not a parameter of this method") for n in range(5000)]
    error = invalid_params(violations, {})
    assert error.message.endswith("; and 4900 more")
    assert len(error.message) < 20_000
    assert error.data is not None
    assert len(error.data["violations"]) == 100  # type: ignore[arg-type]  # a list, as the test above shows
