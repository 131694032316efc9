"""What `make up` shows at its end."""

from __future__ import annotations

import sys
import webbrowser
from typing import Any

import pytest

from sandbox import screen
from sandbox.facts import KIND, SIMULATED, Facts
from sandbox.screen import HEIGHT, WIDTH, Seen
from versions import CHARTS

COUNTS = {"passed": 27, "failed": 0, "notChecked": 0, "failedChecks": []}
OUTPUTS = {
    "proxyUrl": "http://localhost:31999",
    "versions": {
        "kubernetes": "1.35.8",
        "istio": "1.30.3",
        "kong": "3.9.1",
        "kongController": "3.5.13",
        "kongChart": "3.4.1-standin",
        "prometheus": "v3.14.0",
        "grafana": "13.2.0",
        "kiali": "v2.26.0",
    },
    "checks": COUNTS,
}
SECONDS = {"sandbox: a kind cluster of its own, in a container": 61.2, "images": 130.0, "pulumi up": 95.5}
REPOSITORY = "https://charts.example.org 1.2.3 (official)"


def facts(kind: str, **entries: Any) -> Facts:
    origins = dict.fromkeys(CHARTS, REPOSITORY)
    return Facts(
        **{"ports": {}, "charts": {}, "origins": origins, "istiod": "", "not_shown": "", "kind": kind, **entries}
    )


@pytest.mark.parametrize("kind", [KIND, SIMULATED])
@pytest.mark.parametrize("failed", [0, 1, 40])
@pytest.mark.parametrize(
    "not_shown", ["", "there is no Go on this machine, and no official build of istiod: install Go " * 3]
)
def test_it_fits_on_one_screen(kind: str, failed: int, not_shown: str) -> None:
    names = [f"check {number} of something with a name" for number in range(failed)]
    outputs = {**OUTPUTS, "checks": {**COUNTS, "failed": failed, "failedChecks": names}}
    shown = screen.lines(Seen(facts(kind, not_shown=not_shown if kind == SIMULATED else ""), outputs, SECONDS))
    assert len(shown) < HEIGHT, "\n".join(shown)
    assert max(map(len, shown)) <= WIDTH, max(shown, key=len)


def test_it_says_where_the_page_is_how_to_see_the_rest_and_what_the_checks_found() -> None:
    shown = "\n".join(screen.lines(Seen(facts(KIND), OUTPUTS, SECONDS)))
    assert "http://localhost:31999/productpage" in shown
    assert "curl" in shown
    for word in (
        "Kiali's graph",
        "Grafana",
        "make dashboards",
        "27 passed, 0 failed, 0 not checked",
        "4 min 47 s",
        "make down",
    ):
        assert word in shown


def test_a_check_that_failed_is_named() -> None:
    outputs = {**OUTPUTS, "checks": {**COUNTS, "failed": 2, "failedChecks": ["page", "no route"]}}
    shown = screen.lines(Seen(facts(KIND), outputs, SECONDS))
    assert [line.split()[1:] for line in shown if "FAILED" in line] == [["page"], ["no", "route"]]


def test_the_simulated_one_says_what_cannot_be_seen() -> None:
    shown = "\n".join(screen.lines(Seen(facts(SIMULATED), OUTPUTS, SECONDS)))
    assert shown.startswith("Nodes are simulated: no container runs, and no request is answered. What cannot be seen:")
    assert "curl" not in shown
    assert "make up SANDBOX=kind" in shown


DISPLAY = {"DISPLAY": ":0"}


@pytest.mark.parametrize(
    ("environment", "terminal", "opened"),
    [
        (DISPLAY, True, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, True, True),
        ({"BROWSER": "wslview"}, True, True),
        ({}, True, False),
        (DISPLAY, False, False),
        ({**DISPLAY, "BROWSER": "none"}, True, False),
        ({**DISPLAY, "CI": "true"}, True, False),
        ({"SSH_CONNECTION": "192.0.2.1 1 192.0.2.2 22", "BROWSER": "lynx"}, True, False),
        ({"SSH_TTY": "/dev/pts/1", **DISPLAY}, True, True),
    ],
)
def test_the_page_is_opened_where_somebody_sees_it(
    environment: dict[str, str], terminal: bool, opened: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages: list[str] = []
    monkeypatch.setattr(webbrowser, "open", pages.append)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "CI", "SSH_CONNECTION", "SSH_TTY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    screen.show(facts(KIND), OUTPUTS, SECONDS, rehearsed=False)
    assert pages == (["http://localhost:31999/productpage"] if opened else [])


def test_no_page_is_opened_where_nothing_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "has_display", lambda: True)
    monkeypatch.setattr(webbrowser, "open", lambda _: pytest.fail("opened"))
    screen.show(facts(SIMULATED), OUTPUTS, SECONDS, rehearsed=False)
