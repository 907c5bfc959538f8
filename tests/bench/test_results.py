"""What the benchmark makes of its runs: ratios pair by pair, goals that are met or not, a chart."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from bench import chart, report
from bench.comparing import Spread, ratio
from bench.generators import Sample
from bench.goals import GOALS, P99, Goal, Ratio, outcomes


def _runs(*rates: float, p99_ms: float = 1.0) -> list[Sample]:
    return [Sample(rate, 0.5, p99_ms, 2.0, 100, {"affix": 0.9}) for rate in rates]


def test_a_ratio_is_of_the_runs_of_one_round() -> None:
    # The machine was twice as fast in the second round: the ratio was the same.
    assert ratio(_runs(100, 200), _runs(50, 100)) == Spread(2.0, 2.0, 2.0)
    assert ratio(_runs(100, 100, 300), _runs(100, 50, 100)) == Spread(2.0, 1.0, 3.0)


def test_a_goal_is_met_by_the_median() -> None:
    goal = Goal("get", ">= 0.80 of echo", Ratio("case", "affix", "echo"), least=0.8)
    assert goal.met_by(0.8)
    assert not goal.met_by(0.79)
    figure = P99("case", "affix")
    latency = Goal("p99", "<= 10 ms", figure, most=10)
    assert latency.met_by(10)
    assert not latency.met_by(10.1)
    assert figure.of({"case": {"affix": _runs(1, p99_ms=12)}}) == Spread(12, 12, 12)


def test_what_was_not_measured_is_said_to_be_so() -> None:
    assert {one.verdict for one in outcomes({}, growth=None)} == {"not measured"}
    samples = {"get-300-grpc": {"affix": _runs(70), "echo-grpc": _runs(100)}}
    found = {one.goal.wording: one.verdict for one in outcomes(samples, growth=Spread(0, 0, 0)) if one.figure}
    assert found == {">= 0.80 of echo-grpc": "NOT MET", "no growth (<= 1 %)": "met"}


def test_every_goal_has_one_bound() -> None:
    assert [goal for goal in GOALS if (goal.least is None) == (goal.most is None)] == []


def test_the_table_shows_each_subject_beside_ours() -> None:
    samples = {"affix-10": _runs(300), "plain-10": _runs(100), "plain-100": _runs(10), "affix-100": _runs(50)}
    title, _, *rows = report.case_table("batch", samples)
    assert title == "batch"
    shown = {line.split()[0]: line for line in rows if line}
    assert "3.00 (3.00-3.00)" in shown["plain-10"]
    assert "5.00 (5.00-5.00)" in shown["plain-100"]
    assert shown["affix-10"].endswith("affix 3,000")


def test_the_chart_is_an_image_of_what_was_measured() -> None:
    drawn = chart.drawn({"get-300-grpc": {"affix": _runs(100, 120, 130), "echo-grpc": _runs(200, 210, 220)}})
    image = ET.fromstring(drawn)  # noqa: S314 - ours
    texts = [text.text for text in image.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["get, gRPC", "Affix", "120/s", "echo-grpc", "210/s"]


@pytest.mark.parametrize("part", ["comparison", "costs"])
def test_one_part_of_the_results_leaves_the_other(
    part: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path_factory.mktemp("bench") / "results.json")
    report.save("comparison", {"figure": 1})
    report.save("costs", {"figure": 2})
    report.save(part, {"figure": 3})
    kept = {name: (report.load(name) or {})["figure"] for name in ("comparison", "costs")}
    assert kept == {"comparison": 1, "costs": 2, part: 3}
