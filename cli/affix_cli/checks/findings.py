"""What a check has found out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: how it is, and what to do if it is not well.

    With a problem the service would not start, or not keep what it promises; a warning can be lived with.
    """

    check: str
    status: Status
    what: str
    advice: str = ""


def ok(check: str, what: str) -> Finding:
    """Find it as it should be."""
    return Finding(check, "ok", what)


def warning(check: str, what: str, advice: str) -> Finding:
    """Find what can be lived with."""
    return Finding(check, "warning", what, advice)


def problem(check: str, what: str, advice: str) -> Finding:
    """Find what keeps the service from starting, or from keeping what it promises."""
    return Finding(check, "problem", what, advice)


# Revisions are taken from the stores' clocks; one that is ahead makes every other store's later ones wait behind it.
_SKEW_WARNING_SECONDS, _SKEW_PROBLEM_SECONDS = 0.5, 5.0


def clock(check: str, theirs: float, asked: float, answered: float) -> Finding:
    """Judge a store's clock by ours, in seconds since 1970, read before and after."""
    skew = max(asked - theirs, theirs - answered, 0.0)
    ahead = "ahead of" if theirs > answered else "behind"
    advice = "let NTP or chrony set the clocks of the stores and of this machine"
    if skew >= _SKEW_PROBLEM_SECONDS:
        return problem(check, f"its clock is {skew:.1f} s {ahead} this machine's", advice)
    if skew >= _SKEW_WARNING_SECONDS:
        return warning(check, f"its clock is {skew:.1f} s {ahead} this machine's", advice)
    return ok(check, "its clock agrees with this machine's")
