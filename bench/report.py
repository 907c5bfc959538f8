"""What a run says: tables for people, results.json for programs."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.comparing import Spread, rates, ratio
from bench.generators import Sample
from bench.goals import P99, Outcome, Ratio, Samples
from bench.processes import ROOT

RESULTS = Path(__file__).resolve().parent / "results.json"


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _short(value: float) -> str:
    return f"{value:.2f}"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def case_table(title: str, samples: Mapping[str, Sequence[Sample]]) -> list[str]:
    """Print a case: rates, latencies, what each process used of a processor, and each subject beside ours."""
    head = (
        "",
        "requests/s: median (min-max)",
        "p50 ms",
        "p99 ms",
        "affix is x times as fast",
        "processor us/request, by process",
    )
    rows = [head]
    for name, runs in samples.items():
        mine = _counterpart(name, samples)
        beside = "" if mine is None else ratio(samples[mine], runs).text(_short)
        middle = sorted(runs, key=lambda run: run.rate)[len(runs) // 2]
        cpu = " ".join(f"{who} {1e6 * cores / middle.rate:,.0f}" for who, cores in middle.cpu.items())
        p50, p99 = (Spread.of([getattr(run, which) for run in runs]) for which in ("p50_ms", "p99_ms"))
        rows.append((name, rates(runs).text(_whole), _short(p50.median), p99.text(_short), beside, cpu))
    return [title, *aligned(rows), ""]


def _counterpart(name: str, samples: Mapping[str, Sequence[Sample]]) -> str | None:
    """Return which subject of ours another is compared with: the one of its size, else the first; None for ours."""
    if name.startswith(("affix", "get-", "create-")):
        return None
    mine = [each for each in samples if each.startswith("affix")]
    return next((each for each in mine if each.partition("-")[2] == name.partition("-")[2]), mine[0])


def goal_table(outcomes: Sequence[Outcome]) -> list[str]:
    """Print each goal, what was measured, and whether that meets it."""
    rows = [("what", "goal", "measured: median (min-max)", "")]
    for one in outcomes:
        figure = "-" if one.figure is None else one.figure.text(_short)
        rows.append((one.goal.what, one.goal.wording, figure, one.verdict))
    return ["Goals", *aligned(rows)]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay rows out in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def machine() -> dict[str, object]:
    """Describe where and when figures come from."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    commit = _git("describe", "--always")
    # What a run leaves behind is no other code.
    if _git("status", "--porcelain", "--", ".", ":!bench/results.*"):
        commit += "-dirty"
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "processor": model,
        "processors": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def as_data(samples: Samples, titles: Mapping[str, str], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return everything that was measured, every run of it."""
    return {
        "cases": {
            name: {"title": titles[name], "runs": {who: [asdict(run) for run in runs] for who, runs in case.items()}}
            for name, case in samples.items()
        },
        "goals": [
            {
                "what": one.goal.what,
                "goal": one.goal.wording,
                "kind": {Ratio: "ratio", P99: "ms"}.get(type(one.goal.figure), "share"),
                "measured": None if one.figure is None else asdict(one.figure),
                "verdict": one.verdict,
            }
            for one in outcomes
        ],
    }


def save(part: str, data: Mapping[str, object]) -> None:
    """Keep one part of the results, with the machine they come from; the other part stays as it was."""
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    kept[part] = {"machine": machine(), **data}
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n")


def load(part: str) -> dict[str, Any] | None:
    """Return a part of the results that was kept; None if there is none."""
    if not RESULTS.exists():
        return None
    found: dict[str, Any] | None = json.loads(RESULTS.read_text()).get(part)
    return found
