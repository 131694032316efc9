"""A run as one HTML page that needs nothing but itself: no script, no address, no other file."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from importlib.resources import files

from checks.model import Outcome, Result
from checks.report import Run, drawing, printable

_CLASSES = {Outcome.PASSED: "passed", Outcome.FAILED: "failed", Outcome.NOT_CHECKED: "unseen"}
_LEGEND = (
    ("passed", "passed"),
    ("partly", "passed as far as it was checked"),
    ("unseen", "not checked"),
    ("failed", "failed"),
)
# Were something in the page to get past the escaping, no browser would run or fetch it.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render(run: Run) -> str:
    """Return the page."""
    return "".join(_page(run))


def _page(run: Run) -> Iterator[str]:
    style = files("checks.report").joinpath("page.css").read_text(encoding="utf-8")
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield f"<title>{_escaped(run.subject)}: {run.summary}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
    yield from _header(run)
    if run.target and any(result.check.name in run.parts for result in run.results):
        yield f'<figure>\n<div class="picture">{drawing.draw(run, run.target)}</div>\n{_legend()}</figure>\n'
    failures = run.having(Outcome.FAILED)
    if failures:
        yield "<h2>What failed</h2>\n"
        for result in failures:
            yield from _failure(result)
    yield from _table(run)
    yield "</main>\n</body>\n</html>\n"


def _header(run: Run) -> Iterator[str]:
    yield f'<header>\n<h1>Checks of {_escaped(run.subject)}</h1>\n<p class="when">'
    context = f"context {_escaped(run.target.context)} · " if run.target and run.target.context else ""
    yield f"{context}{run.started:%Y-%m-%d %H:%M:%S %Z} · {run.seconds:.1f} s</p>\n"
    yield '<ul class="counts">\n'
    for outcome, kind in _CLASSES.items():
        number = len(run.having(outcome))
        yield f'<li class="{kind if number else "plain"}"><strong>{number}</strong> {outcome}</li>\n'
    yield "</ul>\n</header>\n"


def _legend() -> str:
    entries = "".join(f'<li><i class="swatch {kind}"></i>{words}</li>' for kind, words in _LEGEND)
    return f'<figcaption><ul class="legend">{entries}</ul></figcaption>\n'


def _failure(result: Result) -> Iterator[str]:
    check = result.check
    yield f'<section class="failure" id="failure-{_escaped(check.number)}">\n'
    yield f"<h3>{_escaped(check.name)}</h3>\n<p>{_escaped(check.statement)}</p>\n<dl>\n"
    for label, text in (("expected", result.expected), ("seen", result.seen), ("likely cause", result.cause)):
        if text:
            yield f"<dt>{label}</dt><dd>{_escaped(text)}</dd>\n"
    if result.look:
        yield f"<dt>look further</dt><dd><pre>{_escaped(result.look)}</pre></dd>\n"
    yield "</dl>\n</section>\n"


def _table(run: Run) -> Iterator[str]:
    yield '<h2>All checks</h2>\n<div class="scroll"><table>\n<thead><tr><th>#</th><th>What must be true</th>'
    yield "<th>Outcome</th><th>What was seen, and how it was looked at</th><th>Time</th></tr></thead>\n<tbody>\n"
    for result in run.results:
        check, kind = result.check, _CLASSES[result.outcome]
        yield f'<tr class="{kind}"><td>{_escaped(check.number)}</td>'
        yield f"<td><b>{_escaped(check.name)}</b><br>{_escaped(check.statement)}</td>"
        yield f'<td><span class="pill {kind}">{result.outcome}</span></td>'
        yield f"<td>{_escaped(result.seen)}<br><small>{_escaped(check.how)}</small></td>"
        yield f"<td>{result.seconds:.1f}\xa0s</td></tr>\n"
    yield "</tbody>\n</table></div>\n"


def _escaped(text: str) -> str:
    return escape(printable(text))
