"""The reports of a run: the table, JUnit XML, JSON and the page."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from checks.framework import Check, Outcome, Result
from checks.report import Part, Run, junit, machine, printed, webpage
from checks.target import RoutedApplication, Target
from display.console import console

HOSTILE = "</style></script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&\x1b[31m\x00\u202e]]>"
PASSED, FAILED, UNSEEN = Outcome.PASSED, Outcome.FAILED, Outcome.NOT_CHECKED


def result(number: str, name: str, outcome: Outcome, actual: str = "what was there", **told: str) -> Result:
    check = Check(number=number, name=name, statement=f"{name} is right.", how="GET /", look=lambda _: "")
    return Result(check=check, outcome=outcome, actual=actual, seconds=0.25, **told)


RESULTS = (
    result("1", "control plane", PASSED),
    result("2", "admission", PASSED),
    result("3b", "edge", PASSED),
    result("5", "page", FAILED, "404", expected="200", cause="no route", look="kubectl get ingress"),
    result("11", "edge in Prometheus", UNSEEN, "nodes are simulated: no container runs"),
)
PARTS = {
    "control plane": Part.CONTROL_PLANE,
    "admission": Part.GATEWAY,
    "edge": Part.EDGE,
    "page": Part.ENTRANCE,
    "edge in Prometheus": Part.EDGE,
}
SHOP = RoutedApplication(name="shop", namespace="shop", service="front", port=8080, limits={"minute": 30})


def run_of(*results: Result, target: Target | None = None) -> Run:
    return Run(
        subject="the stack dev",
        results=results,
        started=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        seconds=1.5,
        target=target or Target(context="kind", applications=(SHOP,)),
        parts=PARTS,
    )


RUN = run_of(*RESULTS)


def hostile_run(text: str) -> Run:
    """Return a run in which everything that comes from elsewhere is this text."""
    shop = dataclasses.replace(SHOP, name=text, service=text)
    run = run_of(
        result("1", "page", FAILED, text, expected=text, cause=text, look=text),
        result("2", text, PASSED, text),
        result("3", "edge", UNSEEN, text),
        target=Target(context=text, applications=(shop,)),
    )
    return dataclasses.replace(run, subject=text)


HOSTILE_RUN = hostile_run(HOSTILE)


class Page(HTMLParser):
    """Every element of a page with its attributes and the text in it; fails on elements left open."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in ("meta", "br"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)

    def classes(self, tag: str) -> list[set[str]]:
        return [set(attributes.get("class", "").split()) for name, attributes in self.elements if name == tag]


# --- The run ----------------------------------------------------------------------------------------------------------


def test_the_summary_keeps_the_three_outcomes_apart() -> None:
    assert RUN.summary == "3 passed, 1 failed, 1 not checked"
    assert RUN.counts == {"passed": 3, "failed": 1, "notChecked": 1}


@pytest.mark.parametrize(("outcomes", "code"), [([PASSED, UNSEEN], 0), ([UNSEEN], 0), ([PASSED, FAILED], 1)])
def test_only_a_failure_makes_the_exit_code(outcomes: list[Outcome], code: int) -> None:
    assert (
        run_of(*(result(str(number), str(number), outcome) for number, outcome in enumerate(outcomes))).exit_code
        == code
    )


# --- The table --------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def table(run: Run, width: int, stream: io.StringIO | None = None) -> str:
    stream = stream or io.StringIO()
    to = console(stream)
    to.width = width
    printed.show(run, to)
    return stream.getvalue()


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)


def test_the_columns_of_the_table_are_aligned() -> None:
    lines = table(RUN, 80).splitlines()
    start = lines[0].index("outcome")
    assert [line[start:].split("  ")[0] for line in lines[2:7]] == [str(one.outcome) for one in RESULTS]
    actual = lines[0].index("what was seen")
    assert [line[actual:].strip() for line in lines[2:5]] == ["what was there"] * 3


def test_wide_characters_do_not_shift_a_column() -> None:
    lines = table(run_of(result("1", "見る", PASSED), result("2", "page", PASSED)), 80).splitlines()
    # Each of the two takes two columns of a terminal.
    assert lines[2].index("passed") + 2 == lines[3].index("passed")


def test_a_long_sentence_stays_in_its_column() -> None:
    words = " ".join(f"word{number}" for number in range(40))
    lines = table(run_of(result("1", "long", PASSED, words)), 60).splitlines()
    start = lines[0].index("what was seen")
    body = lines[2:-2]
    assert len(body) > 3
    assert all(len(line) <= 60 for line in body)
    assert all(not line[:start].strip() for line in body[1:])
    assert " ".join(line[start:].strip() for line in body) == words


def test_no_word_is_cut() -> None:
    word = "".join(str(number % 10) for number in range(150))
    run = run_of(result("1", "one", FAILED, word, cause=word))
    assert "".join(re.findall(r"\d{8,}", table(run, 60))) == word * 3


@pytest.mark.parametrize("width", [30, 40, 60, 100])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert (
        max(
            len(line)
            for line in table(run_of(*(dataclasses.replace(one, look="") for one in RESULTS)), width).splitlines()
        )
        <= width
    )


def test_a_failure_is_told_in_full_below_the_table() -> None:
    told = table(RUN, 100).split("nodes are simulated: no container runs")[1]
    assert re.findall(r"(expected|actual|cause|look) +(.+?) *\n", told) == [
        ("expected", "200"),
        ("actual", "404"),
        ("cause", "no route"),
        ("look", "kubectl get ingress"),
    ]
    assert told.rstrip().endswith("3 passed, 1 failed, 1 not checked (1.5 s)")


def test_a_command_is_never_broken_over_lines() -> None:
    command = "kubectl " + " ".join(["--some-option=value"] * 20)
    told = table(run_of(result("1", "one", FAILED, look=command)), 60)
    assert command in told


@pytest.mark.usefixtures("on_a_terminal")
def test_colours_are_only_on_a_terminal_that_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[32mpassed" in table(RUN, 80, Terminal())
    assert re.sub(r"\x1b\[[\d;]*m", "", table(RUN, 80, Terminal())) == table(RUN, 80)
    assert "\x1b" not in table(RUN, 80)
    for name, value in (("NO_COLOR", ""), ("TERM", "dumb")):
        with monkeypatch.context() as settings:
            settings.setenv(name, value)
            assert "\x1b" not in table(RUN, 80, Terminal())


@pytest.mark.usefixtures("on_a_terminal")
@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_a_terminal_is_sent_nothing_that_it_would_obey(stream: type[io.StringIO]) -> None:
    sent = re.sub(r"\x1b\[(0|1|32|33|1;31)m", "", table(HOSTILE_RUN, 80, stream()))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e]", sent)


def test_text_of_elsewhere_is_no_markup() -> None:
    assert "[bold red]x[/] :boom:" in table(run_of(result("1", "page", PASSED, "[bold red]x[/] :boom:")), 80)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
def test_an_encoding_without_a_character_ends_nothing(encoding: str) -> None:
    sent = io.BytesIO()
    stream = io.TextIOWrapper(sent, encoding)
    printed.show(run_of(result("1", "page", PASSED, "Kong → shop")), console(stream))
    stream.flush()
    assert re.search(r"Kong \S shop", sent.getvalue().decode(encoding))


# --- For machines -----------------------------------------------------------------------------------------------------


def test_json_says_what_the_run_says() -> None:
    report = json.loads(machine.render(RUN))
    assert (report["passed"], report["failed"], report["notChecked"]) == (3, 1, 1)
    assert report["subject"] == "the stack dev"
    assert report["started"] == "2026-01-02T03:04:05+00:00"
    assert [(one["number"], one["outcome"]) for one in report["checks"]] == [
        (one.check.number, one.outcome.value) for one in RESULTS
    ]
    assert report["checks"][3] | {"expected": "200", "cause": "no route"} == report["checks"][3]
    assert "expected" not in report["checks"][0]


def test_junit_counts_and_places_the_outcomes() -> None:
    suite = ElementTree.fromstring(junit.render(RUN))  # noqa: S314 -- its own
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5",
        "failures": "1",
        "errors": "0",
        "skipped": "1",
    }
    children = {case.get("name"): [child.tag for child in case] for case in suite}
    assert children == {
        "control plane": ["system-out"],
        "admission": ["system-out"],
        "edge": ["system-out"],
        "page": ["failure"],
        "edge in Prometheus": ["skipped"],
    }
    told = suite.findtext("testcase/failure") or ""
    assert all(word in told for word in ("200", "404", "no route", "kubectl get ingress"))


def test_hostile_text_reaches_machines_whole() -> None:
    assert json.loads(machine.render(HOSTILE_RUN))["checks"][0]["seen"] == HOSTILE
    suite = ElementTree.fromstring(junit.render(HOSTILE_RUN))  # noqa: S314 -- its own
    message = suite[0][0].get("message")
    assert message == HOSTILE.replace("\x1b", "�").replace("\x00", "�").replace("\u202e", "�")


# --- The page ---------------------------------------------------------------------------------------------------------


def test_the_page_needs_nothing_but_itself() -> None:
    text = webpage.render(RUN)
    shown = Page(text)
    assert not {tag for tag, _ in shown.elements} & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
    }
    attributes = {name for _, held in shown.elements for name in held}
    assert not attributes & {"src", "href", "xlink:href", "srcset", "action", "style"}
    assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"https?://|@import|url\((?!#)", text)
    policies = [held["content"] for tag, held in shown.elements if "http-equiv" in held]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_hostile_text_is_text_on_the_page() -> None:
    def shape(text: str) -> list[str]:
        return [tag for tag, _ in Page(text).elements]

    hostile = webpage.render(HOSTILE_RUN)
    harmless = webpage.render(hostile_run("x" * len(HOSTILE)))
    assert shape(hostile) == shape(harmless)
    assert "alert(1)" in Page(hostile).text
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e]", hostile)


def test_the_page_tells_every_check_and_how_a_failure_came() -> None:
    text = Page(webpage.render(RUN)).text
    for one in RESULTS:
        assert one.check.statement in text
        assert one.actual in text
    for word in ("200", "no route", "kubectl get ingress", "kind", "2026-01-02 03:04:05 UTC"):
        assert word in text


def drawn(*results: Result, target: Target | None = None) -> tuple[list[str], str]:
    """Return how the edges are drawn, first those that requests take, and all words of the picture."""
    picture = re.search(r"<svg.*?</svg>", webpage.render(run_of(*results, target=target)), re.DOTALL)
    assert picture
    edges = re.findall(r'class="edge (\w+)"', picture[0])
    return edges, " ".join(Page(picture[0]).texts)


def test_the_picture_shows_the_outcome_of_each_part() -> None:
    edges, words = drawn(*RESULTS)
    assert "failed" in edges, "clients to Kong"
    assert "partly" in edges, "Kong to the application: seen by istiod, not by Prometheus"
    assert "passed" not in edges
    for word in ("clients", "Kong", "shop", "front:8080", "30 a minute", "istiod", "Prometheus", "Grafana", "Kiali"):
        assert word in words


@pytest.mark.parametrize(
    ("outcomes", "look"),
    [
        ((PASSED, PASSED), "passed"),
        ((PASSED, UNSEEN), "partly"),
        ((UNSEEN, UNSEEN), "unseen"),
        ((PASSED, FAILED), "failed"),
        ((UNSEEN, FAILED), "failed"),
    ],
)
def test_an_edge_never_looks_better_than_what_was_seen(outcomes: tuple[Outcome, Outcome], look: str) -> None:
    edges, _ = drawn(result("3b", "edge", outcomes[0]), result("11", "edge in Prometheus", outcomes[1]))
    assert set(edges) - {"plain"} == {look}


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "mutual TLS"),
        ({"routing": "guide"}, "plain text, bypasses the mesh"),
        ({"injection": False}, "plain text, no sidecars"),
    ],
)
def test_the_edge_is_called_what_the_settings_make_it(settings: dict[str, str | bool], name: str) -> None:
    _, words = drawn(*RESULTS, target=dataclasses.replace(Target(applications=(SHOP,)), **settings))  # type: ignore[arg-type]
    assert name in words


def test_dashboards_that_the_stack_has_not_are_not_drawn() -> None:
    _, words = drawn(*RESULTS, target=Target(applications=(SHOP,), prometheus=False, grafana=False, kiali=False))
    assert not [name for name in ("Prometheus", "Grafana", "Kiali", "metrics") if name in words]


def test_every_application_has_its_edge() -> None:
    apps = tuple(dataclasses.replace(SHOP, name=f"shop-{number}") for number in range(3))
    edges, words = drawn(result("3b", "edge", PASSED), target=Target(applications=apps))
    assert edges.count("passed") == 3
    assert all(app.name in words for app in apps)


def test_a_box_holds_its_words() -> None:
    three = [result(str(number), f"check {number}", outcome) for number, outcome in enumerate(Outcome)]
    run = dataclasses.replace(run_of(*three), parts={one.check.name: Part.CONTROL_PLANE for one in three})
    text = webpage.render(run)
    top, height = (float(found) for found in re.findall(r'<rect x="\S+" y="(\S+)" width="\S+" height="(\S+)"', text)[1])
    lines = [float(y) for y in re.findall(r'y="(\S+)" class="words">', text)]
    assert [y for y in lines if top < y < top + height + 30] == [y for y in lines if top < y < top + height]


def test_checks_of_no_part_have_no_picture() -> None:
    assert "<svg" not in webpage.render(run_of(result("17", "namespaces gone", PASSED)))
