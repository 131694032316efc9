"""The results as pictures (SVG): the medians of each figure with all runs as dots, and where the time of one `up` goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from sandbox.bench.contenders import Answered
from sandbox.bench.rows import Figure, Side

_WIDTH, _LEFT, _RIGHT = 1000, 380, 110
_ROW, _BAR = 18, 12
_PLOT = _WIDTH - _LEFT - _RIGHT
_STYLE = (
    "text{font:12px sans-serif;fill:#222}.title{font-weight:bold}.right{text-anchor:end}.hint{fill:#666}"
    ".above{fill:#3b6fb6}.below{fill:#b9c3cf}.dot{fill:#111}.yes{fill:#1a7f37}.no{fill:#c0392b}"
    ".step{fill:#9fb4cc}.critical{fill:#c0392b}.pod{fill:#8fbf8f}.grid{stroke:#ddd}.end{stroke:#222}"
)


def medians(figures: Sequence[Figure]) -> str:
    """Return a bar for each contender's median, all runs as dots in it, and the figure with its goal."""
    parts: list[str] = []
    top = 10
    for figure in figures:
        parts += _figure(figure, top)
        top += _ROW * (2 if figure.below is None else 3) + 12
    return _picture(top, parts, "How fast the stack is")


def _figure(figure: Figure, top: float) -> Iterator[str]:
    sides = [side for side in (figure.above, figure.below) if side]
    longest = max((max(side.values) for side in sides), default=0) or 1
    yield _text(10, top + 12, figure.title, "title")
    goal = "" if figure.goal is None else f", goal ≤ {figure.goal:g}"
    value = f"{figure.value:.2f}" if figure.below else f"{figure.value:.1f} {figure.unit}"
    look = {True: "yes", False: "no", None: "hint"}[figure.reached]
    yield _text(_WIDTH - 10, top + 12, f"{value}{goal}", f"title right {look}")
    for row, side in enumerate(sides, start=1):
        yield from _side(side, figure.unit, longest, top + row * _ROW, "above" if row == 1 else "below")


def _side(side: Side, unit: str, longest: float, top: float, kind: str) -> Iterator[str]:
    scale = _PLOT / longest
    yield _text(_LEFT - 8, top + 11, side.name, "right")
    yield _bar(_LEFT, top, side.median * scale, kind, f"{side.name}: {side.median:.1f} ± {side.spread:.1f} {unit}")
    for value in side.values:
        yield f'<circle cx="{_LEFT + value * scale:.1f}" cy="{top + _BAR / 2:g}" r="2.5" class="dot"/>'
    yield _text(_LEFT + longest * scale + 8, top + 11, f"{side.median:.1f} ± {side.spread:.1f} {unit}", "hint")


def timeline(run: Answered) -> str:
    """Return a bar for each resource, those of the critical path marked, and one for each pod from its creation to Ready."""
    if run.path is None:
        raise ValueError("only an `up` whose steps are known has a timeline")
    rows = [
        (step.name, step.started, step.ended, "critical" if urn in run.path.urns else "step")
        for urn, step in sorted(run.path.steps.items(), key=lambda item: item[1].started)
    ]
    rows += [
        (name, times.seen, run.seconds if times.ready is None else times.ready, "pod")
        for name, times in sorted(run.pods.items(), key=lambda item: item[1].seen)
    ]
    title = f"Where the time of an up goes: {run.seconds:.1f} s; its critical path takes {run.path.seconds:.1f} s"
    parts = [_text(10, 16, title, "title"), *_legend(), *_grid(run.seconds, 50 + len(rows) * _ROW)]
    for index, row in enumerate(rows):
        parts += _row(row, 46 + index * _ROW, _PLOT / run.seconds)
    return _picture(60 + len(rows) * _ROW, parts, title)


def _legend() -> Iterator[str]:
    words = {"critical": "on the critical path", "step": "another resource", "pod": "a pod, from its creation to Ready"}
    for index, (kind, meaning) in enumerate(words.items()):
        yield _bar(_LEFT + index * 170, 24, 12, kind, meaning)
        yield _text(_LEFT + index * 170 + 16, 34, meaning, "hint")


def _grid(seconds: float, bottom: float) -> Iterator[str]:
    for second in range(0, int(seconds) + 1, 5 if seconds > 15 else 1):
        x = _LEFT + second * _PLOT / seconds
        yield f'<path d="M{x:.1f} 42V{bottom:g}" class="grid"/>'
        yield _text(x + 2, bottom + 8, f"{second} s", "hint")


def _row(row: tuple[str, float, float, str], top: float, scale: float) -> Iterable[str]:
    name, started, ended, kind = row
    yield _text(_LEFT - 8, top + 11, name, "right")
    told = f"{name}: {ended - started:.1f} s, from {started:.1f} s on"
    yield _bar(_LEFT + started * scale, top, max((ended - started) * scale, 1), kind, told)
    yield _text(_LEFT + ended * scale + 4, top + 11, f"{ended - started:.1f}", "hint")


def _bar(x: float, y: float, width: float, kind: str, told: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:g}" width="{width:.1f}" height="{_BAR}" class="{kind}"><title>{escape(told)}</title></rect>'


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:g}" class="{kind}">{escape(text)}</text>'


def _picture(height: float, parts: Iterable[str], title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:g}" role="img"><title>{escape(title)}</title>'
        f'<style>{_STYLE}</style><rect width="{_WIDTH}" height="{height:g}" fill="#fff"/>{"".join(parts)}</svg>\n'
    )
