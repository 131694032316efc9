"""The comment on a pull request, and the terminal: what they say, and what they never let through."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import pytest
from previews import CONTEXT, FINDING, PREVIEW, component, render, resource

from display.console import console
from policy.rule import Finding
from preview import (
    artifact,
    changed_graph,
    comment,
    schema,
    terminal,
)
from preview.changes import Change, Difference, Part, Preview
from preview.comment import MARKER
from preview.markdown import LIMIT, code, fenced

NASTY = "x`y``z | <img src=x onerror=alert(1)> @everyone #1 [a](http://evil.invalid)\n\n# title\n```\n</details>"


def outside_code(markdown: str) -> str:
    """Return what of a comment GitHub would read as Markdown, HTML or mentions."""
    without_blocks = re.sub(r"^(`{3,})[^\n]*\n.*?^\1$", "", markdown, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", "", without_blocks)


# --- What the comment says -------------------------------------------------------------------------------------------


def test_the_comment_says_what_happens_to_each_stack() -> None:
    rows = [line for line in render(PREVIEW).splitlines() if line.startswith("| **")]
    assert rows == ["| **`dev`** | **+1** | **~1** | **-1** | 3 | ✅ | 3.5 s |"]


def test_the_comment_begins_with_its_marker_and_names_commit_base_and_run() -> None:
    body = render(PREVIEW)
    assert body.startswith(MARKER)
    assert "`0123456789ab` against `main`" in body
    assert CONTEXT.run in body


def test_values_and_manifests_are_folded_with_their_counts() -> None:
    body = render(PREVIEW)
    assert "<summary><b>Values of charts</b>: 1 release <code>+1 -1</code></summary>" in body
    assert "<b>Rendered manifests of charts</b>: 1 object " in body
    assert "```diff\n@@ -1 +1 @@\n-replicaCount: 1\n+replicaCount: 2\n```" in body


def test_stacks_that_say_the_same_share_a_section() -> None:
    body = render(PREVIEW, replace(PREVIEW, stack="staging", seconds=9.0))
    assert "#### `dev` · `staging`" in body
    assert body.count("```mermaid") == 1


def test_the_stack_with_the_most_changes_comes_first_and_only_its_graph_is_open() -> None:
    small = replace(PREVIEW, stack="a", resources=(resource("one", Change.UPDATE),))
    body = render(small, PREVIEW)
    assert body.index("#### `dev`") < body.index("#### `a`")
    assert body.index("<b>Graph</b>") > body.index("#### `a`")


def test_a_stack_in_which_nothing_happens_has_its_row_only() -> None:
    body = render(replace(PREVIEW, resources=(resource("one"),), differences=()))
    assert "| **`dev`** | · | · | · | 1 |" in body
    assert "mermaid" not in body
    assert "####" not in body


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ({}, "| ✅ |"),
        ({"findings": (FINDING,)}, "| ❌ 1 |"),
        ({"findings": (replace(FINDING, severity="advisory"),)}, "| ⚠️ 1 |"),
        ({"findings": (FINDING, replace(FINDING, severity="advisory"))}, "| ❌ 1 |"),
        ({"policy_problem": "no chart"}, "| ❌ failed |"),
    ],
)
def test_a_verdict_is_the_worst_that_policies_find(said: dict[str, Any], verdict: str) -> None:
    preview = replace(PREVIEW, **said)
    assert verdict in render(preview)
    assert preview.failed == ("❌" in verdict)


def test_findings_say_which_policy_where_what_and_the_remedy() -> None:
    body = render(replace(PREVIEW, findings=(FINDING,)))
    assert "- ❌ **`images-pinned`** `give it one`\n  - `Deployment/kong` `has no tag`" in body


def test_of_many_findings_of_a_policy_the_first_are_named() -> None:
    findings = tuple(replace(FINDING, resource=f"Pod/{n}") for n in range(9))
    body = render(replace(PREVIEW, findings=findings))
    assert body.count("`images-pinned`") == 1
    assert "`Pod/2`" in body
    assert "`Pod/3`" not in body
    assert "… and 6 more" in body


def test_advice_is_folded_and_what_is_mandatory_is_not() -> None:
    advice = replace(FINDING, rule="limits-set", severity="advisory")
    body = render(replace(PREVIEW, findings=(FINDING, advice)))
    folded = body[body.index("<b>Advice of policies</b>: 1") :]
    assert "`limits-set`" in folded
    assert "`images-pinned`" not in folded


def test_a_preview_that_failed_says_why_and_so_does_a_base() -> None:
    body = render(
        Preview(stack="dev", problem="kong.replicas is 0"),
        replace(PREVIEW, stack="prod", base_problem="no such key"),
    )
    assert "| **`dev`** |  |  |  |  |  | ❌ failed |" in body
    assert "❌ `kong.replicas is 0`" in body
    assert "the base's preview failed: `no such key`" in body


def test_a_chart_that_could_not_be_rendered_says_so_in_its_section() -> None:
    note = Difference(part=Part.MANIFESTS, name="kong", note="The chart cannot be rendered: no such host")
    assert "- `kong` `The chart cannot be rendered: no such host`" in render(replace(PREVIEW, differences=(note,)))


# --- Strangers' text -------------------------------------------------------------------------------------------------


def test_no_text_of_a_preview_is_read_as_markup() -> None:
    body = render(
        replace(
            PREVIEW,
            base_problem=NASTY,
            resources=(component(NASTY), resource(NASTY, Change.CREATE, parent=0)),
            differences=(Difference(part=Part.VALUES, name=NASTY, text=f"+{NASTY}", note=NASTY),),
            findings=(Finding(rule=NASTY, severity="advisory", resource=NASTY, what=NASTY, remedy=NASTY),),
            policy_problem=NASTY,
        ),
        Preview(stack="prod", problem=NASTY),
        problems=(NASTY,),
    )
    read = outside_code(body)
    for forbidden in ("@everyone", "onerror", "evil.invalid", "# title", "#1"):
        assert forbidden not in read, forbidden
    assert body.count("<details>") == read.count("<details>") == read.count("</details>") == 2


@pytest.mark.parametrize("text", ["`", "``", "a`", "`a", "a``b`c", "| a", "\\| a", "\\", "a\n\nb", " "])
def test_text_in_a_line_stays_code(text: str) -> None:
    written = code(text)
    assert outside_code(f"{written} rest").strip() == "rest"
    assert "|" not in written
    assert "\n" not in written


@pytest.mark.parametrize("text", ["```", "a\n````\nb", "~~~", "`````x"])
def test_no_line_ends_a_block(text: str) -> None:
    fence, *lines, last = fenced(text, "diff").splitlines()
    assert last == fence.removesuffix("diff")
    assert not any(line.strip().startswith(last) for line in lines)


def test_hidden_characters_become_visible() -> None:
    hostile = "a\u202eb\u200bc\x1b[0m\x00\td\r\ne"
    preview = replace(PREVIEW, problem=hostile, differences=(Difference(part=Part.VALUES, name="n", text=hostile),))
    found = schema.read(preview.to_json().encode())
    assert (found.problem, found.differences[0].text) == ("a�b�c�[0m� d e", "a�b�c�[0m�\td\ne")


# --- GitHub's limit --------------------------------------------------------------------------------------------------


def huge(differences: int, lines: int, resources: int = 0, findings: int = 0) -> Preview:
    text = "\n".join(f"+line {number} {'😀' * 12}" for number in range(lines))
    return replace(
        PREVIEW,
        resources=(component("mesh"), *(resource(f"r{n}", Change.CREATE, parent=0) for n in range(resources))),
        differences=tuple(Difference(part=Part.VALUES, name=f"d{n}", text=text) for n in range(differences)),
        findings=(replace(FINDING, what="w" * 900, remedy="r" * 900),) * findings,
    )


@pytest.mark.parametrize(
    ("preview", "kept", "lost"),
    [
        (huge(2, 20), "+line 19", "Shortened"),
        (huge(10, 390), "+line 30", "+line 100"),
        (huge(60, 1000), "`d1` +1000 -0", "+line 1 "),
        (huge(300, 1000, resources=900, findings=300), "297 more", "```diff"),
    ],
    ids=["small", "large", "larger", "largest"],
)
def test_the_larger_a_preview_the_less_of_it_is_shown(preview: Preview, kept: str, lost: str) -> None:
    body = render(preview)
    assert len(body.encode()) <= LIMIT
    assert kept in body
    assert lost not in body
    assert "| **`dev`** |" in body
    assert "artefact" in body


def test_as_many_previews_as_are_read_always_fit() -> None:
    many = [replace(huge(300, 20, 900, 300), stack=f"{n:02}" + "s" * 60) for n in range(artifact.FILES)]
    body = comment.render(many, ["p" * 2000] * 100, CONTEXT)
    assert len(body.encode()) <= LIMIT
    assert body.count("| **`") == artifact.FILES
    assert "Shortened to fit a comment" in body


# --- The graph -------------------------------------------------------------------------------------------------------


def test_the_graph_shows_changes_in_colour_and_counts_the_rest() -> None:
    drawn = changed_graph.mermaid(PREVIEW, 8)
    assert '  subgraph r2["shop"]' in drawn
    assert '    r3["+ Deployment new"]' in drawn
    assert '    r2same["1 unchanged"]' in drawn
    assert "  class r3 create" in drawn
    assert "  class r4 delete" in drawn
    assert "  class r1 update" in drawn
    assert "  r0 --> r2" in drawn


def test_a_component_in_which_nothing_changes_is_one_node() -> None:
    resources = (component("mesh"), resource("a", parent=0), resource("b", parent=0))
    assert 'r0["mesh: 2 unchanged"]' in changed_graph.mermaid(Preview(stack="dev", resources=resources), 8)


def test_many_alike_are_one_node() -> None:
    drawn = changed_graph.mermaid(huge(0, 0, resources=9), 8)
    assert 'r0create["+ 9 created: 9 Deployment"]' in drawn


# --- The terminal -----------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_terminal_says_what_the_comment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def printed(stream: io.StringIO) -> str:
        terminal.show(replace(PREVIEW, findings=(FINDING,)), console(stream))
        return stream.getvalue()

    said = printed(io.StringIO())
    assert "dev: 1 created, 1 changed, 1 deleted, 3 unchanged" in said
    assert "  - shop / Deployment shop-deployment-old" in said
    assert "  x images-pinned (mandatory): give it one\n      Deployment/kong: has no tag" in said
    assert "\x1b" not in said
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[31m  - shop" in printed(Terminal())
