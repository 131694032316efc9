"""The comment on a pull request: short at first sight, the rest folded, and always within GitHub's limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from policy.rule import Finding
from preview import changed_graph
from preview.changes import Change, Difference, Part, Preview
from preview.markdown import LIMIT, code, details, fenced, shortened, size, table

#: By which a later run finds the comment that it replaces.
MARKER = "<!-- preview of every stack -->"

# Of one policy's findings, how many are named.
_PLACES = 3
_PARTS = {
    Part.VALUES: ("Values of charts", "release", "releases"),
    Part.MANIFESTS: ("Rendered manifests of charts", "object", "objects"),
    Part.OBJECTS: ("Other resources", "resource", "resources"),
}


@dataclass(frozen=True, kw_only=True)
class Context:
    """What the comment says of where it comes from; nothing of it is said by a preview.

    `fork`: the repository of somebody else whose code it was that made the previews.
    """

    head: str
    base: str
    run: str = ""
    fork: str = ""


@dataclass(frozen=True, kw_only=True)
class Detail:
    """How much is shown. `nodes`: resources of a component that a graph names; None for no graph."""

    nodes: int | None
    lines: int
    differences: int
    findings: int
    groups: bool = True


#: From the most to the least: the first that fits is taken.
DETAILS = (
    Detail(nodes=8, lines=400, differences=60, findings=50),
    Detail(nodes=0, lines=60, differences=40, findings=30),
    Detail(nodes=0, lines=0, differences=30, findings=15),
    Detail(nodes=None, lines=0, differences=0, findings=5),
    Detail(nodes=None, lines=0, differences=0, findings=0, groups=False),
)


def render(previews: Sequence[Preview], problems: Sequence[str], context: Context) -> str:
    """Return the comment; `problems` are sentences on files that could not be read."""
    for detail in DETAILS:
        body = _body(previews, problems, context, detail)
        if size(body) <= LIMIT:
            return body
    # Only more stacks than anybody has come here.
    return _body((), [f"{len(previews)} previews are too many to show."], context, DETAILS[-1])


def _body(previews: Sequence[Preview], problems: Sequence[str], context: Context, detail: Detail) -> str:
    blocks = [MARKER, f"### Preview of {code(context.head[:12])} against {code(context.base)}"]
    if context.fork:
        blocks.append(
            f"⚠️ **Computed by the code of {code(context.fork)}**, a fork, which may write here what it likes: read the change itself."
        )
    if previews:
        blocks.append(_overview(previews))
    blocks += [f"❌ {code(problem, 500)}" for problem in problems[:10]]
    if detail.groups:
        blocks += _groups(previews, detail)
    blocks.append(_footer(context, detail))
    return "\n\n".join(blocks) + "\n"


def _overview(previews: Sequence[Preview]) -> str:
    head = ("Stack", "Created", "Changed", "Deleted", "Same", "Policies", "Preview")
    return table(head, [_row(preview) for preview in previews])


def _row(preview: Preview) -> list[str]:
    name = f"**{code(preview.stack)}**"
    if preview.problem:
        return [name, "", "", "", "", "", "❌ failed"]

    changes = (Change.CREATE, Change.UPDATE, Change.DELETE)
    counts = [f"**{change.sign}{count}**" if (count := preview.count(change)) else "·" for change in changes]
    return [name, *counts, str(preview.count(Change.SAME)), _verdict(preview), f"{preview.seconds:.1f} s"]


def _verdict(preview: Preview) -> str:
    if preview.policy_problem:
        return "❌ failed"
    if mandatory := sum(each.mandatory for each in preview.findings):
        return f"❌ {mandatory}"
    return f"⚠️ {len(preview.findings)}" if preview.findings else "✅"


def _groups(previews: Sequence[Preview], detail: Detail) -> Iterator[str]:
    """Yield a section for the stacks that have the same to say, those with the most first, and open only its graph."""
    groups: dict[tuple[str, str, str], list[Preview]] = {}
    for preview in previews:
        content = _said(preview, detail), _graph(preview, detail.nodes), _differences(preview, detail)
        if any(content):
            groups.setdefault(content, []).append(preview)
    ordered = sorted(groups.items(), key=lambda group: -_changes(group[1][0]))
    for number, ((said, drawn, differences), alike) in enumerate(ordered):
        title = f"#### {' · '.join(code(preview.stack) for preview in alike)}"
        if number and drawn:
            drawn = details("<b>Graph</b>", drawn)
        yield "\n\n".join(filter(None, [title, said, drawn, differences]))


def _said(preview: Preview, detail: Detail) -> str:
    if preview.problem:
        return f"❌ {code(preview.problem, 800)}"
    blocks = []
    if preview.base_problem:
        blocks.append(f"Nothing to compare with, the base's preview failed: {code(preview.base_problem, 800)}")
    return "\n\n".join([*blocks, *_findings(preview, detail)])


def _changes(preview: Preview) -> int:
    return len(preview.resources) - preview.count(Change.SAME)


def _findings(preview: Preview, detail: Detail) -> Iterator[str]:
    if preview.policy_problem:
        yield f"❌ The policies could not be asked: {code(preview.policy_problem, 800)}"
    for mandatory in (True, False):
        found = preview.by_rule(mandatory=mandatory)
        if not found:
            continue
        content = _judged(found, detail.findings)
        # Advice is said of every change again: it must not hide the rest.
        summary = f"<b>Advice of policies</b>: {sum(map(len, found))}"
        yield content if mandatory else details(summary, content)


def _judged(rules: Sequence[Sequence[Finding]], most: int) -> str:
    """Return `most` findings, rule by rule, with the first places of each."""
    lines: list[str] = []
    for places in rules:
        shown = places[: min(_PLACES, most)]
        most -= len(shown)
        if not shown:
            break
        first = places[0]
        lines.append(f"- {'❌' if first.mandatory else '⚠️'} **{code(first.rule, 80)}** {code(first.remedy, 200)}")
        lines += [f"  - {code(each.resource, 120)} {code(each.what, 200)}" for each in shown]
        if len(places) > len(shown):
            lines.append(f"  - … and {len(places) - len(shown)} more")
    return "\n".join(lines) or f"{sum(map(len, rules))} findings."


def _graph(preview: Preview, nodes: int | None) -> str:
    if nodes is None or not _changes(preview):
        return ""
    drawn = changed_graph.mermaid(preview, nodes)
    if len(drawn) > changed_graph.LIMIT:
        drawn = changed_graph.mermaid(preview, 0)
    if len(drawn) > changed_graph.LIMIT:
        return "The graph is too large to be drawn."
    return fenced(drawn, "mermaid")


def _differences(preview: Preview, detail: Detail) -> str:
    parts = [(part, [each for each in preview.differences if each.part is part]) for part in Part]
    return "\n\n".join(_part(part, found, detail) for part, found in parts if found)


def _part(part: Part, found: Sequence[Difference], detail: Detail) -> str:
    title, one, many = _PARTS[part]
    added, removed = (sum(each.lines(sign) for each in found) for sign in "+-")
    counts = f" <code>+{added} -{removed}</code>" if added or removed else ""
    summary = f"<b>{title}</b>: {len(found)} {one if len(found) == 1 else many}{counts}"
    shown = found[: detail.differences]
    # What has no lines to show stands in a list before the rest.
    listed = [each for each in shown if not (each.text and detail.lines)]
    content = ["\n".join(f"- {_title(each)}" for each in listed)] if listed else []
    content += [_diff(each, detail.lines) for each in shown if each not in listed]
    if len(found) > len(shown):
        content.append(f"… and {len(found) - len(shown)} more.")
    return details(summary, "\n\n".join(content))


def _title(difference: Difference) -> str:
    lines = f"+{difference.lines('+')} -{difference.lines('-')}" if difference.text else ""
    return " ".join(filter(None, [code(difference.name, 200), lines, code(difference.note, 500)]))


def _diff(difference: Difference, most: int) -> str:
    lines = difference.text.splitlines()
    shown = fenced("\n".join(shortened(line, 300) for line in lines[:most]), "diff")
    left = f"\n… {len(lines) - most} more lines" if len(lines) > most else ""
    return f"{_title(difference)}\n{shown}{left}"


def _footer(context: Context, detail: Detail) -> str:
    run = f'<a href="{context.run}">the run</a>' if context.run else "the run"
    shortened_ = "" if detail is DETAILS[0] else "<b>Shortened to fit a comment.</b> "
    return f"<sub>{shortened_}All of it, as JSON: the artefact <code>previews</code> of {run}.</sub>"
