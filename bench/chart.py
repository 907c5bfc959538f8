"""The chart of the README: rates of ours beside the baselines', as SVG."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

from bench.comparing import Spread, rates
from bench.goals import Samples

CHART = Path(__file__).resolve().parent / "results.svg"

# (what, case, subjects): one scale a group, since a get and a batch of 100 are not to be compared.
_GROUPS = (
    ("get, gRPC", "get-300-grpc", (("affix", "Affix"), ("echo-grpc", "echo-grpc"))),
    ("get, JSON-RPC", "get-300-http", (("affix", "Affix"), ("echo-http", "echo-http"), ("plain", "plain"))),
    ("get, JSON-RPC, separate shim", "hop", (("shim", "Affix"), ("relay", "relay"))),
    ("create, JSON-RPC", "create-300-http", (("affix", "Affix"), ("plain", "plain"))),
    ("list 50, JSON-RPC", "list", (("affix", "Affix"), ("affix-of-100000", "Affix, of 100,000"), ("plain", "plain"))),
    ("batch of 100, JSON-RPC", "batch", (("affix-100", "Affix"), ("plain-100", "plain"))),
)
_WIDTH, _LEFT, _BAR, _STEP, _GAP, _RIGHT = 760, 150, 14, 19, 34, 150
_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #57606a }
  .head { font-weight: 600; fill: #24292f }
  .ours { fill: #0969da } .other { fill: #afb8c1 } .span { stroke: #57606a; stroke-width: 1 }
  .end { text-anchor: end }
  @media (prefers-color-scheme: dark) { text { fill: #8b949e } .head { fill: #e6edf3 } .other { fill: #6e7681 } }
"""


def drawn(samples: Samples) -> str:
    """Draw what was measured: a bar is a median, the line across its end goes from the least to the most."""
    parts, y = [], 24
    for title, case, subjects in _GROUPS:
        found = [(label, rates(samples[case][name])) for name, label in subjects if name in samples.get(case, {})]
        if found:
            parts += [f'<text class="head" x="8" y="{y}">{escape(title)}</text>', *_bars(found, y + 8)]
            y += len(found) * _STEP + _GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y - 8}" width="{_WIDTH}" role="img">'
    title = "<title>Requests per second of Affix and of the baselines; more is better</title>"
    return "\n".join([head, title, f"<style>{_STYLE}</style>", *parts, "</svg>", ""])


def _bars(found: list[tuple[str, Spread]], top: int) -> Iterator[str]:
    scale = (_WIDTH - _LEFT - _RIGHT) / max(spread.most for _, spread in found)
    for place, (label, spread) in enumerate(found):
        y = top + place * _STEP
        kind = "ours" if label.startswith("Affix") else "other"
        width, least, most = (round(value * scale, 1) for value in (spread.median, spread.least, spread.most))
        middle = y + _BAR / 2
        yield f'<text class="end" x="{_LEFT - 8}" y="{y + 11}">{escape(label)}</text>'
        yield f'<rect class="{kind}" x="{_LEFT}" y="{y}" width="{width}" height="{_BAR}" rx="2"/>'
        yield f'<path class="span" d="M{_LEFT + least} {middle}H{_LEFT + most}"/>'
        yield f'<text x="{_LEFT + max(width, most) + 8}" y="{y + 11}">{spread.median:,.0f}/s</text>'
