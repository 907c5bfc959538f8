"""docs/performance.md: the baselines and commands it names are there."""

from __future__ import annotations

import re

from bench.tools import PACKAGES
from tests.docs.pages import ROOT, read, table

PAGE = "docs/performance.md"


def test_the_baselines_are_those_of_the_benchmark() -> None:
    named = {name.replace("-", "_") for name, _, _ in table(PAGE, "baseline", "what it is", "what it shows")}
    programs = (ROOT / "bench/baselines").glob("*.py")
    assert named == {path.stem for path in programs if "__main__" in path.read_text()}


def test_make_knows_the_commands() -> None:
    makefile = read("Makefile")
    for target in re.findall(r"^make ([\w-]+)$", read(PAGE), re.MULTILINE):
        assert f"\n{target}: $(INSTALLED)" in makefile


def test_the_packages_are_those_that_are_looked_for() -> None:
    (said,) = re.findall(r"^apt-get install (.*)$", read(PAGE), re.MULTILINE)
    assert said.split() == list(PACKAGES)
