"""What `make up` shows at its end: what to look at, on one screen; and the page, in the browser."""

from __future__ import annotations

import os
import sys
import textwrap
import webbrowser
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from names import DASHBOARD_PORTS
from sandbox.facts import KIND, Facts
from sandbox.paths import CHECKOUT

#: Of a terminal that everybody has.
WIDTH, HEIGHT = 100, 24
_PAGE = "/productpage"
_TOOLS = '  its tools         eval "$(venv/bin/python -m sandbox env)"     for kubectl, helm and pulumi'
# More than the sandbox's limit of 30 a minute.
_REQUESTS = 40
_FAILED_SHOWN = 3


@dataclass(frozen=True)
class Seen:
    """What an `up` came to. `outputs`: the stack's; `seconds`: of each step; `rehearsed`: without Pulumi's engine."""

    facts: Facts
    outputs: Mapping[str, Any]
    seconds: Mapping[str, float]
    rehearsed: bool = False
    opened: bool = False

    @property
    def url(self) -> str:
        """Where the application's page is."""
        return f"{self.outputs.get('proxyUrl') or ''}{_PAGE}"


def show(facts: Facts, outputs: Mapping[str, Any], seconds: Mapping[str, float], *, rehearsed: bool) -> None:
    """Print the screen, and open the page where somebody sees it."""
    seen = Seen(facts, outputs, seconds, rehearsed)
    if facts.kind == KIND and outputs.get("proxyUrl") and has_display():
        seen = Seen(facts, outputs, seconds, rehearsed, opened=webbrowser.open(seen.url))
    print("\n" + "\n".join(lines(seen)), flush=True)


def has_display() -> bool:
    """Return whether a browser can be opened in front of whoever started this."""
    environment = os.environ
    if environment.get("BROWSER", "").lower() == "none" or environment.get("CI") or not sys.stdout.isatty():
        return False
    if environment.get("SSH_CONNECTION") or environment.get("SSH_TTY"):
        return bool(environment.get("DISPLAY"))
    return sys.platform == "darwin" or any(environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))


def lines(seen: Seen) -> list[str]:
    """Return the screen."""
    shown = _real(seen) if seen.facts.kind == KIND else _simulated(seen)
    return [*shown, *_checks(seen.outputs.get("checks")), "", *_last(seen)]


def _real(seen: Seen) -> Iterator[str]:
    kiali, grafana = (DASHBOARD_PORTS[name] for name in ("kiali", "grafana"))
    yield f"The page            {seen.url}{'   (opened in the browser)' if seen.opened else ''}"
    yield ""
    yield "See for yourself"
    yield f"  the limit bites   curl -so/dev/null -w '%{{http_code}} ' '{seen.url}?[1-{_REQUESTS}]'"
    yield f"  Kiali's graph     make dashboards     prints its address at http://localhost:{kiali}"
    yield f"  Grafana           make dashboards     then http://localhost:{grafana}/dashboards"
    yield _TOOLS
    yield from ("", *_versions(seen))


def _simulated(seen: Seen) -> Iterator[str]:
    injection = (
        textwrap.shorten(f"none: {seen.facts.not_shown}", 80) if seen.facts.not_shown else "real, by a real istiod"
    )
    yield "Nodes are simulated: no container runs, and no request is answered. What cannot be seen:"
    yield f"  the page          nothing is at {seen.outputs.get('proxyUrl') or 'the proxy'}; where Docker runs, `make up SANDBOX=kind`"
    yield "  the limit         Kong's plugin is there; nobody is refused, as nobody asks"
    yield "  Kiali, Grafana    their Services are there; no traffic, so no graph"
    yield "Real are the API server, its controllers, every object of the stack, the order and the waits."
    yield f"  sidecars          {injection}"
    yield from ("", "See for yourself", _TOOLS)
    yield "  the pods          kubectl get pods --all-namespaces"
    plan = "venv/bin/python -m plan --stack sandbox" if seen.rehearsed else "pulumi stack output --stack sandbox"
    yield f"  the stack         {plan}"
    yield from ("", *_versions(seen), f"Charts              {_charts(seen.facts)}")


def _versions(seen: Seen) -> Iterator[str]:
    versions = seen.outputs.get("versions") or {}
    yield from _wrapped("What runs           " + ", ".join(f"{name} {version}" for name, version in versions.items()))


def _charts(facts: Facts) -> str:
    """Return how many charts came from where; `python -m sandbox status` has each."""
    sources = [
        (origin.rpartition(" (official)")[1] and "official") or origin.split(" ")[0]
        for origin in facts.origins.values()
    ]
    counts = {source: sources.count(source) for source in dict.fromkeys(sources)}
    said = ", ".join(f"{count} {'stand-ins' if source == 'stand-in' else source}" for source, count in counts.items())
    return f"{said}     (venv/bin/python -m sandbox status)"


def _checks(counts: Mapping[str, Any] | None) -> Iterator[str]:
    if not counts:
        return
    page = f"     {CHECKOUT.report.relative_to(CHECKOUT.root)}" if CHECKOUT.report.is_file() else ""
    yield f"Checks              {counts['passed']} passed, {counts['failed']} failed, {counts['notChecked']} not checked{page}"
    for name in counts["failedChecks"][:_FAILED_SHOWN]:
        yield f"  FAILED            {name}"[:WIDTH]


def _last(seen: Seen) -> Iterator[str]:
    steps = ", ".join(f"{name.partition(':')[0]} {_duration(seconds)}" for name, seconds in seen.seconds.items())
    yield from _wrapped(f"It took             {_duration(sum(seen.seconds.values()))}: {steps}")
    yield "make down           ends it and removes every trace"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _wrapped(line: str) -> Iterator[str]:
    """Yield a line in as many as it needs, under its second column."""
    yield from textwrap.wrap(line, WIDTH, subsequent_indent=" " * 20, break_long_words=False) or [""]
