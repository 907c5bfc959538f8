"""docs/reliability.md: the mechanisms it lists are those that are taken out, and the faults those that are struck."""

from __future__ import annotations

from tests.docs.pages import table
from tests.faults.injections import INJECTIONS
from tests.resilience.mutations import MUTATIONS

PAGE = "docs/reliability.md"


def test_the_mechanisms_are_those_that_are_taken_out() -> None:
    expected = [
        [mutation.name, "; ".join(scenario.__name__.replace("_", " ") for scenario in mutation.noticed_by)]
        for mutation in MUTATIONS
    ]
    rendered = "\n".join(f"| {name} | {noticed} |" for name, noticed in expected)
    assert table(PAGE, "taken out, or changed", "who notices") == expected, rendered


def test_the_faults_are_those_that_are_struck() -> None:
    assert [name for name, *_ in table(PAGE, "fault", "what happens", "times")] == list(INJECTIONS)
