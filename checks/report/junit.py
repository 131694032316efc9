"""A run as JUnit XML, which build servers read."""

from __future__ import annotations

from xml.etree import ElementTree

from checks.framework import Outcome, Result
from checks.report import Run
from display.printable import printable


def render(run: Run) -> str:
    """Return the report as JUnit XML: not checked is `skipped` there."""
    counts = run.counts
    suite = ElementTree.Element(
        "testsuite",
        name=printable(run.subject),
        tests=str(len(run.results)),
        failures=str(counts["failed"]),
        errors="0",
        skipped=str(counts["notChecked"]),
        time=f"{run.seconds:.3f}",
        timestamp=run.started.isoformat(timespec="seconds"),
    )
    for result in run.results:
        suite.append(_case(result))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _case(result: Result) -> ElementTree.Element:
    case = ElementTree.Element(
        "testcase", classname="checks", name=printable(result.check.name), time=f"{result.seconds:.3f}"
    )
    actual = printable(result.actual)
    if result.outcome is Outcome.FAILED:
        failure = ElementTree.SubElement(case, "failure", message=actual)
        failure.text = printable(
            f"{result.check.statement}\nexpected: {result.expected}\nactual: {result.actual}\n"
            f"likely cause: {result.cause}\nlook further: {result.look}"
        )
    elif result.outcome is Outcome.NOT_CHECKED:
        ElementTree.SubElement(case, "skipped", message=actual)
    else:
        ElementTree.SubElement(case, "system-out").text = actual
    return case
