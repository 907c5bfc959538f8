"""Histories recorded under faults, on real stores and servers, are linearizable and their lists are right.

A short fixed set; `make faults` runs longer, and with other seeds.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.cluster import Cluster, open_cluster
from tests.faults.injections import INJECTIONS
from tests.faults.run import Plan, Run

_SECONDS = 4.0
_LONGEST_FAULT_SECONDS = 1.0


@pytest.fixture(scope="module")
async def cluster() -> AsyncIterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="affix-faults-") as folder:
        async with open_cluster(Path(folder)) as opened:
            yield opened


@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_is_lost_nothing_resurrected_nothing_stale(cluster: Cluster, seed: int) -> None:
    report = await Run(cluster, Plan(seed, _SECONDS, tuple(INJECTIONS), longest=_LONGEST_FAULT_SECONDS)).run()
    assert report.violations == [], str(report)
    assert sum(report.faults.values()) >= 2
    of_tasks = ("task.create", "task.get", "task.update", "task.complete", "task.delete")
    assert all(
        report.operations[kind]["ok"] for kind in ("create", "overwrite", "get", "delete", "list", "batch", *of_tasks)
    )
