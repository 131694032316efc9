"""The stack as a picture (SVG): clients, Kong, applications, dashboards, coloured by what the checks saw of each."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from html import escape

from checks.framework import Outcome, Result
from checks.report import Part, Run
from checks.target import RoutedApplication, Target
from display.printable import printable

_WIDTH = 980
_BOX_WIDTH, _BOX_HEIGHT = 190, 64
_ROW = 94
_CLIENTS, _KONG, _APPLICATIONS = 20, 344, 756
_CONTROL_PLANE_TOP, _MESH_TOP = 18, 128
_MARGIN = 26
_FORK = _APPLICATIONS - _MARGIN
_TIP = 3
_LONGEST_NAME, _LONGEST_LINE = 20, 28
_MARKS = {"passed": "✓", "failed": "✕", "partly": "✓", "unseen": "?", "plain": ""}

_Point = tuple[float, float]


class Look(StrEnum):
    """How a part of the picture is drawn. What was looked at only in part never looks like what passed."""

    PASSED = "passed"
    FAILED = "failed"
    PARTLY = "partly"
    UNSEEN = "unseen"
    PLAIN = "plain"


# What the name of the edge between Kong and the applications rests on.
_NOTES = {Look.FAILED: "expected, but:", Look.PARTLY: "as configured", Look.UNSEEN: "expected", Look.PLAIN: "expected"}


@dataclass(frozen=True)
class _Actual:
    """What the checks of a part came to."""

    look: Look
    lines: tuple[str, ...]


@dataclass(frozen=True)
class _Box:
    x: float
    y: float

    @property
    def left(self) -> _Point:
        return self.x, self.y + _BOX_HEIGHT / 2

    @property
    def right(self) -> _Point:
        return self.x + _BOX_WIDTH, self.y + _BOX_HEIGHT / 2

    @property
    def top(self) -> _Point:
        return self.x + _BOX_WIDTH / 2, self.y

    @property
    def bottom(self) -> _Point:
        return self.x + _BOX_WIDTH / 2, self.y + _BOX_HEIGHT


def draw(run: Run, target: Target) -> str:
    """Return the picture as an SVG element that stands in a page."""
    actual = {
        part: _actual_of([result for result in run.results if run.parts.get(result.check.name) is part])
        for part in Part
    }
    rows = max(len(target.one_of_each), 1)
    # Room for the words below the lowest edge.
    mesh_height = rows * _ROW + 2 * _MARGIN
    dashboards_top = _MESH_TOP + mesh_height + 56
    shown = target.dashboards
    height = dashboards_top + _BOX_HEIGHT + 20 if shown else _MESH_TOP + mesh_height + 20
    kong = _Box(_KONG, _MESH_TOP + (mesh_height - _BOX_HEIGHT) / 2)
    highest = _MESH_TOP + (mesh_height - (rows - 1) * _ROW - _BOX_HEIGHT) / 2
    services = [_Box(_APPLICATIONS, highest + row * _ROW) for row in range(len(target.one_of_each))]
    parts = [
        *_markers(),
        *_mesh(mesh_height),
        *_control_plane(actual[Part.CONTROL_PLANE], kong, services),
        *_traffic(actual, target, kong, services),
        *_dashboards(actual[Part.DASHBOARDS], shown, dashboards_top, _MESH_TOP + mesh_height),
    ]
    words = "; ".join(f"{part}: {', '.join(found.lines)}" for part, found in actual.items())
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height:g}" role="img" aria-labelledby="picture-title picture-words">'
        f'<title id="picture-title">What was seen of the stack</title><desc id="picture-words">{escape(words)}</desc>'
        f"{''.join(parts)}</svg>"
    )


def _actual_of(results: Sequence[Result]) -> _Actual:
    counts = {outcome: sum(result.outcome is outcome for result in results) for outcome in Outcome}
    lines = tuple(f"{count} {outcome}" for outcome, count in counts.items() if count)
    if counts[Outcome.FAILED]:
        return _Actual(Look.FAILED, lines)
    if not results:
        return _Actual(Look.PLAIN, ("not looked at",))
    if counts[Outcome.PASSED] and counts[Outcome.NOT_CHECKED]:
        return _Actual(Look.PARTLY, lines)
    return _Actual(Look.PASSED if counts[Outcome.PASSED] else Look.UNSEEN, lines)


def _markers() -> Iterator[str]:
    yield "<defs>"
    for look in Look:
        yield (
            f'<marker id="tip-{look}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
            f'orient="auto"><path d="M0 0L10 5L0 10z" class="tip {look}"/></marker>'
        )
    yield "</defs>"


def _mesh(height: float) -> Iterator[str]:
    x, width = _KONG - _MARGIN, _WIDTH - _KONG + _MARGIN - 6
    yield f'<rect x="{x}" y="{_MESH_TOP}" width="{width}" height="{height:g}" rx="14" class="mesh"/>'
    yield _text(x + 14, _MESH_TOP + 18, "mesh", "hint")


def _control_plane(actual: _Actual, kong: _Box, services: Sequence[_Box]) -> Iterator[str]:
    box = _Box((_KONG + _APPLICATIONS) / 2, _CONTROL_PLANE_TOP)
    for other in (kong, *services[:1]):
        yield _line(box.bottom, other.top, Look.PLAIN)
    yield _text(box.right[0] + 14, box.y + 26, "gives sidecars", "hint")
    yield _text(box.right[0] + 14, box.y + 42, "and their configuration", "hint")
    yield _box(box, "istiod", actual)


def _traffic(actual: dict[Part, _Actual], target: Target, kong: _Box, services: Sequence[_Box]) -> Iterator[str]:
    clients = _Box(_CLIENTS, kong.y)
    yield _line(clients.right, kong.left, actual[Part.ENTRANCE].look)
    yield from _label((clients.right[0] + _KONG - _MARGIN) / 2, kong.left[1], "HTTP", actual[Part.ENTRANCE])
    # The words stand once: all these edges are looked at by the same checks.
    name = _edge_name(target)
    note = _NOTES.get(actual[Part.EDGE].look)
    edge = replace(actual[Part.EDGE], lines=(*([note] if note else []), *actual[Part.EDGE].lines))
    yield from _label((kong.right[0] + _FORK) / 2, kong.right[1], name, edge)
    for service, application in zip(services, target.one_of_each, strict=True):
        yield _line(kong.right, service.left, actual[Part.EDGE].look, fork=_FORK)
        yield _box(service, application.name, _Actual(Look.PLAIN, _described(application)))
    yield _box(clients, "clients", _Actual(Look.PLAIN, (target.service_type,)))
    yield _box(kong, "Kong", actual[Part.GATEWAY])


def _edge_name(target: Target) -> str:
    if not target.injection:
        return "plain text, no sidecars"
    return "mutual TLS" if target.routing == "mesh" else "plain text, bypasses the mesh"


def _described(application: RoutedApplication) -> tuple[str, ...]:
    limits = ", ".join(f"{requests} a {window}" for window, requests in application.limits.items())
    return f"{application.service}:{application.port}", limits


def _dashboards(actual: _Actual, shown: Sequence[str], top: float, mesh_bottom: float) -> Iterator[str]:
    boxes = {name: _Box(_KONG + index * (_APPLICATIONS - _KONG) / 2, top) for index, name in enumerate(shown)}
    if "prometheus" in boxes:
        middle = boxes["prometheus"].top
        yield _line((middle[0], mesh_bottom), middle, Look.PLAIN)
        yield _text(middle[0] + 10, (mesh_bottom + top) / 2 + 4, "metrics", "hint")
        for left, right in itertools.pairwise(boxes.values()):
            yield _line(left.right, right.left, Look.PLAIN, tip=False)
    for name, box in boxes.items():
        yield _box(box, name.title(), actual)


def _label(middle: float, y: float, name: str, actual: _Actual) -> Iterator[str]:
    """Draw what an edge is above it, and what was seen of it below."""
    yield _text(middle, y - 10, name, f"name middle {actual.look}")
    for row, line in enumerate(actual.lines):
        yield _text(middle, y + 20 + 15 * row, line, "words middle")


def _line(start: _Point, end: _Point, look: Look, *, tip: bool = True, fork: float = 0) -> str:
    """Draw a line, with a corner at `fork` where that is given."""
    marker = f' marker-end="url(#tip-{look})"' if tip else ""
    (x1, y1), (x2, y2) = start, end
    path = f"H{fork:g}V{y2:g}H{x2 - _TIP:g}" if fork else f"L{x2 - _TIP * (y1 == y2):g} {y2:g}"
    return f'<path d="M{x1:g} {y1:g}{path}" class="edge {look}"{marker}/>'


def _box(box: _Box, name: str, actual: _Actual) -> str:
    name, told = printable(name), ", ".join(filter(None, actual.lines))
    # There is room for two lines; counts share one where they fit.
    shared = len(told) <= _LONGEST_LINE or len(actual.lines) > 2
    lines = textwrap.wrap(told, _LONGEST_LINE)[:2] if shared else actual.lines
    drawn = [
        f"<title>{escape(f'{name}: {printable(told)}')}</title>",
        f'<rect x="{box.x:g}" y="{box.y:g}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="9" class="box {actual.look}"/>',
        _text(box.x + 14, box.y + 25, _short(name, _LONGEST_NAME), "name"),
        *(
            _text(box.x + 14, box.y + 42 + 14 * row, _short(line, _LONGEST_LINE), "words")
            for row, line in enumerate(lines)
        ),
    ]
    if mark := _MARKS[actual.look]:
        x, y = box.x + _BOX_WIDTH - 18, box.y + 18
        drawn += [
            f'<circle cx="{x:g}" cy="{y:g}" r="9" class="badge {actual.look}"/>',
            _text(x, y + 4, mark, "mark middle"),
        ]
    return f"<g>{''.join(drawn)}</g>"


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(printable(text))}</text>'


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
