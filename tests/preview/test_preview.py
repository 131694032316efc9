"""The comment on a pull request: what may be in it, what it is written from, and where it goes."""

from __future__ import annotations

import copy
import functools
import io
import json
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from stack import make_project

from display.console import console
from plan import helm
from plan.recording import Resource
from policy.rule import Finding
from preview import (
    artifact,
    changed_graph,
    changes,
    collect,
    comment,
    compare,
    project_copies,
    publish,
    schema,
    terminal,
)
from preview.__main__ import main
from preview.changes import Change, ChangedResource, Difference, Part, Preview
from preview.collect import bounded
from preview.comment import MARKER, Context
from preview.compare import Side
from preview.github import GitHub, GitHubError
from preview.markdown import LIMIT, code, fenced
from preview.pulumi_preview import copied_stack, parsed, why, written
from preview.schema import SchemaError
from sandbox import pulumi_engine
from sandbox.paths import CHECKOUT

ROOT = CHECKOUT.root
CONTEXT = Context(head="0123456789abcdef", base="main", run="https://github.example/o/r/actions/runs/7")
NASTY = "x`y``z | <img src=x onerror=alert(1)> @everyone #1 [a](http://evil.invalid)\n\n# title\n```\n</details>"

FINDING = Finding(
    rule="images-pinned", severity="mandatory", resource="Deployment/kong", what="has no tag", remedy="give it one"
)


def resource(name: str, change: Change = Change.SAME, **more: Any) -> ChangedResource:
    return ChangedResource(**{"kind": "Deployment", "name": name, "change": change, **more})


def component(name: str, **more: Any) -> ChangedResource:
    return resource(name, kind="Application", **more)


PREVIEW = Preview(
    stack="dev",
    resources=(
        component("mesh"),
        resource("istiod", Change.UPDATE, parent=0),
        component("shop", after=(1,)),
        resource("shop-deployment-new", Change.CREATE, parent=2, after=(1,)),
        resource("shop-deployment-old", Change.DELETE, parent=2, after=(1,)),
        resource("cart", parent=2, after=(1,)),
    ),
    differences=(
        Difference(part=Part.VALUES, name="istiod", text="@@ -1 +1 @@\n-replicaCount: 1\n+replicaCount: 2"),
        Difference(part=Part.MANIFESTS, name="istiod: Deployment istiod", text="-  replicas: 1\n+  replicas: 2"),
    ),
    seconds=3.51,
)


def render(*previews: Preview, problems: tuple[str, ...] = ()) -> str:
    return comment.render(previews, problems, CONTEXT)


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
    body = render(PREVIEW, replace(PREVIEW, stack="staging", seconds=3.51))
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
def test_policies_are_good_only_where_they_were_asked(said: dict[str, Any], verdict: str) -> None:
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


# --- The JSON of a stranger ------------------------------------------------------------------------------------------


def test_what_is_written_is_what_is_read() -> None:
    assert schema.read(PREVIEW.to_json().encode()) == PREVIEW


def changed(**fields: Any) -> bytes:
    return json.dumps({**json.loads(PREVIEW.to_json()), **fields}).encode()


def resources_(**fields: Any) -> bytes:
    one: dict[str, Any] = {"kind": "K", "name": "n", "change": "same", "parent": None, "after": []}
    return changed(resources=[{**one, **fields}])


CHAIN = [{"kind": "K", "name": "n", "change": "same", "parent": (n + 1) % 9, "after": []} for n in range(9)]
BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not JSON"),
    "not JSON": (b"{", "not JSON"),
    "not UTF-8": (b'{"a": "\xff"}', "not JSON"),
    "a list": (b"[]", "just the fields"),
    "too large": (b" " * (schema.FILE_BYTES + 1), "larger"),
    "too deep": (b"[" * 100_000, "deep"),
    "deep behind a string": (b'["]]]]",' + b"[" * 50, "deep"),
    "deep behind a quote": (b'["\\"]]]]",' + b"[" * 50, "deep"),
    "a number with too many digits": (b"1" * 5000, "not JSON"),
    "infinite": (changed(seconds=float("inf")), "number"),
    "not a number": (changed(seconds=float("nan")), "number"),
    "a key twice": (b'{"version": 2, "version": 2}', "twice"),
    "another version": (changed(version=1), "version"),
    "a field more": (changed(pull_request=7), "just the fields"),
    "a stack like a path": (changed(stack="../../x"), "stack"),
    "a stack like markup": (changed(stack="dev|`"), "stack"),
    "a parent that is not there": (resources_(parent=1), "not there"),
    "its own parent": (resources_(parent=0), "parents"),
    "parents in a circle": (changed(resources=CHAIN), "parents"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_preview_is_refused_in_words_of_our_own(case: str) -> None:
    content, fragment = BAD[case]
    with pytest.raises(SchemaError, match=fragment) as error:
        schema.read(content)
    assert not re.search(r"[<>`\n]", str(error.value))


FULL = json.loads(replace(PREVIEW, findings=(FINDING,)).to_json())
JUNK: tuple[Any, ...] = (None, True, -1, 10**9, 1.5, "\ud800<b>", "x" * 30_000, [], [0] * 2000, {}, {"a": 1})


def places(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the places of all values in a JSON value."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*place, key)
        yield from places(inner, (*place, key))


@pytest.mark.parametrize("place", list(places(FULL)), ids=lambda place: ".".join(map(str, place)))
def test_junk_in_any_place_is_refused_or_harmless(place: tuple[str | int, ...]) -> None:
    for junk in JUNK:
        content = copy.deepcopy(FULL)
        holder = functools.reduce(lambda value, key: value[key], place[:-1], content)
        before, holder[place[-1]] = holder[place[-1]], junk
        try:
            found = schema.read(json.dumps(content).encode())
        except SchemaError as error:
            refusal = str(error)
        else:
            refusal = ""
            assert type(junk) is type(before) or (place[-1], junk) == ("parent", None)
            assert schema.read(found.to_json().encode()) == found
            assert "\ud800" not in render(found)
        assert not re.search(r"[<>`\n]", refusal)


def zipped(**files: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in files.items():
            opened.writestr(name, data)
    return content.getvalue()


def test_one_bad_file_does_not_hide_the_good_ones() -> None:
    found = artifact.from_zip(zipped(a=b"{", b=PREVIEW.to_json().encode()))
    assert found.readable == (PREVIEW,)
    assert [problem.split(":")[0] for problem in found.problems] == ["File 1 is no preview"]


def test_names_in_an_artefact_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    found = artifact.from_zip(zipped(**{"../evil.json": PREVIEW.to_json().encode(), "/tmp/evil.json": b"{"}))  # noqa: S108
    assert [preview.stack for preview in found.readable] == ["dev"]
    assert list(tmp_path.rglob("*.json")) == []


def test_a_bomb_is_read_no_further_than_a_file_may_be_long() -> None:
    bomb = zipped(a=b" " * (50 * 1024 * 1024))
    assert len(bomb) < 100_000
    assert "larger" in artifact.from_zip(bomb).problems[0]


@pytest.mark.parametrize("content", [b"", b"no archive", zipped(a=PREVIEW.to_json().encode())[:-30]])
def test_what_is_no_archive_is_a_sentence(content: bytes) -> None:
    assert artifact.from_zip(content).problems == ("The artefact is not a ZIP archive.",)


def test_a_damaged_member_is_no_preview() -> None:
    content = bytearray(zipped(a=PREVIEW.to_json().encode()))
    content[60:80] = bytes(20)
    assert artifact.from_zip(bytes(content)).problems


def test_too_many_files_and_the_same_stack_twice() -> None:
    found = artifact.from_zip(zipped(**{f"{n}": PREVIEW.to_json().encode() for n in range(30)}))
    assert len(found.readable) == 1
    assert sum("another file's" in problem for problem in found.problems) == artifact.FILES - 1
    assert "more than 20 files" in found.problems[-1]


# --- Before and after ------------------------------------------------------------------------------------------------

RELEASE = "kubernetes:helm.sh/v3:Release"
URN = "urn:pulumi:dev::kong-istio::{}::{}"


def state(name: str, type_: str = "kubernetes:apps/v1:Deployment", **more: Any) -> Resource:
    known: dict[str, Any] = {"custom": True, "inputs": {}, **more}
    return Resource(urn=URN.format(type_, name), type=type_, name=name, **known)


def side(*states: Resource, root: Path = ROOT) -> Side:
    return Side(root=root, resources={each.urn: each for each in states})


def release(**values: Any) -> Resource:
    return state("kong", RELEASE, inputs={"chart": "kong", "name": "kong", "namespace": "edge", "values": values})


def render_charts(monkeypatch: pytest.MonkeyPatch, template: Callable[..., str]) -> None:
    """Say what stands in for `helm template`."""
    monkeypatch.setattr(helm, "find", lambda: Path("helm"))
    monkeypatch.setattr(helm, "template", template)


def test_a_resource_changes_when_the_program_asks_for_it_otherwise() -> None:
    before = side(state("a", inputs={"x": 1}), state("b"), state("gone"))
    after = side(state("a", inputs={"x": 2}), state("b"), state("new"))
    found = {each.name: each.change for each in compare.resources(after, before)}
    assert found == {"a": Change.UPDATE, "b": Change.SAME, "gone": Change.DELETE, "new": Change.CREATE}


def test_a_component_changes_by_those_below_it_only() -> None:
    before = side(state("mesh", "kong-istio:index:IstioMesh", custom=False, inputs={"mtls": "PERMISSIVE"}))
    after = side(state("mesh", "kong-istio:index:IstioMesh", custom=False, inputs={"mtls": "STRICT"}))
    assert compare.resources(after, before)[0].change is Change.SAME
    assert list(compare.differences(after, before)) == []


def test_without_a_base_all_is_created() -> None:
    assert compare.resources(side(state("a")), None)[0].change is Change.CREATE


def test_a_graph_that_is_cut_names_no_resource_that_is_not_there() -> None:
    states = [state(f"r{n}", dependencies=frozenset([URN.format("T", "r0")])) for n in range(1200)]
    found = compare.resources(side(state("late", parent=states[-1].urn), *states), None)
    assert len(schema.read(replace(PREVIEW, resources=found).to_json().encode()).resources) == 1000


def test_values_and_what_they_render_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    def template(*_: Any, values: Any, **__: Any) -> str:
        return yaml.safe_dump({"kind": "Deployment", "metadata": {"name": "kong"}, "spec": values})

    render_charts(monkeypatch, template)
    found = list(compare.differences(side(release(replicas=2)), side(release(replicas=1))))
    assert [(each.part, each.name) for each in found] == [
        (Part.VALUES, "kong"),
        (Part.MANIFESTS, "kong: Deployment kong"),
    ]
    for each in found:
        assert "-  replicas: 1\n+  replicas: 2" in each.text


def test_a_release_that_is_the_same_is_not_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    render_charts(monkeypatch, lambda *_, **__: pytest.fail("rendered"))
    assert list(compare.differences(side(release(a=1)), side(release(a=1)))) == []


def test_a_chart_in_the_project_is_compared_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, replicas in (("before", 1), ("after", 2), ("same", 2)):
        (tmp_path / name / "kong").mkdir(parents=True)
        (tmp_path / name / "kong" / "values.yaml").write_text(f"replicas: {replicas}")
    rendered: list[str] = []

    def template(_: Path, root: Path, **__: Any) -> str:
        rendered.append(root.name)
        return f"kind: Pod\nmetadata: {{name: a, namespace: {root.name}}}"

    render_charts(monkeypatch, template)
    after, before, same = (side(release(), root=tmp_path / name) for name in ("after", "before", "same"))
    notes = {each.name: each.note for each in compare.differences(after, before)}
    assert set(rendered) == {"before", "after"}
    assert notes == {"kong: Pod after/a": "created", "kong: Pod before/a": "deleted"}
    assert list(compare.differences(after, same)) == []


def test_secrets_in_manifests_are_hidden_and_made_up_certificates_are_no_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def template(*_: Any, values: Any, **__: Any) -> str:
        secret = {"kind": "Secret", "metadata": {"name": "s"}, "data": {"key": f"c2Vj{values['n']}"}}
        hook = {"kind": "Hook", "metadata": {"name": "h"}, "client": {"caBundle": f"QUJD{values['n']}"}}
        return yaml.safe_dump_all([secret, hook])

    render_charts(monkeypatch, template)
    found = list(compare.differences(side(release(n=2)), side(release(n=1))))
    assert [each.part for each in found] == [Part.VALUES]


@pytest.mark.parametrize("program", ["find", "template"])
def test_a_chart_that_is_not_reached_is_a_note(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> str:
        raise helm.HelmError("no such host")

    render_charts(monkeypatch, fail)
    monkeypatch.setattr(helm, program, fail)
    found = list(compare.differences(side(release(n=2)), side(release(n=1))))
    assert (found[1].part, found[1].note) == (Part.MANIFESTS, "no such host")


def test_a_preview_that_is_too_large_leaves_off_the_longest() -> None:
    texts = ["+" + "😀" * 9000, "+short"]
    differences = tuple(Difference(part=Part.VALUES, name=f"d{n}", text=texts[n % 2]) for n in range(80))
    small = bounded(replace(PREVIEW, differences=differences))
    assert schema.read(small.to_json().encode()) == small
    assert sum(each.text == "+short" for each in small.differences) == 40


def test_a_difference_that_is_too_long_is_cut_at_a_line() -> None:
    cut = compare.difference(Part.VALUES, "n", "", "\n".join(["x" * 99] * 1000))
    assert len(cut.text) <= changes.DIFFERENCE.most
    assert set(cut.text.splitlines()[1:]) == {"+" + "x" * 99}
    assert cut.note == f"{1000 - cut.lines('+')} more lines are left off"


def test_what_is_too_much_to_be_read_is_cut() -> None:
    long = Finding(rule="r" * 2000, severity="advisory", resource="x", what="a\nb\x00", remedy="c")
    many = (Difference(part=Part.VALUES, name="n" * 500, text="+1"),) * 400
    found = bounded(replace(PREVIEW, problem="p" * 2000, differences=many, findings=(long, *[FINDING] * 400)))
    assert schema.read(found.to_json().encode()) == found
    assert (found.findings[0].what, found.findings[0].severity) == ("a b�", "advisory")
    assert found.differences[-1].note == "101 more differences are left off"


def test_pulumis_json_is_read() -> None:
    said = json.dumps(
        {
            "steps": [
                {"op": "create", "urn": "u::pulumi:pulumi:Stack::s", "newState": {"type": "pulumi:pulumi:Stack"}},
                {"op": "delete", "urn": "u::T::a", "oldState": {"type": "T", "custom": True, "inputs": {"x": 1}}},
            ]
        }
    )
    assert [(each.name, each.custom, each.inputs) for each in parsed(said).values()] == [("a", True, {"x": 1})]


def test_why_a_preview_failed_is_the_programs_own_sentence() -> None:
    diagnostics = [
        {"severity": "info", "message": "working"},
        {"severity": "error", "message": "error: kong.replicas is 0: set it to 1.\n"},
        {
            "severity": "error",
            "message": "error: an unhandled error occurred: program exited with non-zero exit code: 1",
        },
    ]
    assert why(json.dumps({"diagnostics": diagnostics}), "") == "kong.replicas is 0: set it to 1."
    assert why("not JSON", "error: no stack\n") == "no stack"


# --- The copy of a stack file ----------------------------------------------------------------------------------------


@pytest.mark.engine
@pytest.mark.skipif(bool(pulumi_engine.missing()), reason="Pulumi is not here")
def test_a_copy_keeps_settings_as_they_are_written_and_no_secret(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("{name: kong-istio, runtime: python}")
    (tmp_path / "Pulumi.dev.yaml").write_text("""
        encryptionsalt: v1:salt
        secretsprovider: awskms://k
        config:
          kong-istio:version: 1.30
          kong-istio:kubeconfig: ~/.kube/config
          kong-istio:rateLimit: {minute: 3, policy: yes, redis: {password: {secure: "v1:abc"}}}
          kong-istio:applications: [{name: shop, a.b: {secure: "v1:def"}}, {secure: "v1:ghi"}]
    """)
    with copied_stack(tmp_path, "dev", {"kong": "vendored/kong"}) as (file, _):
        copy = yaml.safe_load(file.read_text())
    assert copy.keys() == {"config", "encryptionsalt"}
    config = copy["config"]
    hidden = [
        config["kong-istio:rateLimit"]["redis"].pop("password"),
        config["kong-istio:applications"][0].pop("a.b"),
        config["kong-istio:applications"].pop(),
    ]
    assert all(value.keys() == {"secure"} and not value["secure"].startswith("v1:abc") for value in hidden)
    assert config == {
        "kong-istio:version": "1.30",
        "kong-istio:rateLimit": {"minute": 3, "policy": "yes", "redis": {}},
        "kong-istio:applications": [{"name": "shop"}],
        "kong-istio:charts": {"kong": "vendored/kong"},
    }


def test_a_place_in_settings_is_written_as_pulumi_takes_it() -> None:
    assert written(("kong-istio:applications", 0, 'a."b"')) == 'kong-istio:applications[0]["a.\\"b\\""]'


# --- Policies --------------------------------------------------------------------------------------------------------


def test_policies_that_fail_are_a_problem_of_the_preview(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise KeyError("x")

    monkeypatch.setattr("policy.findings", fail)
    monkeypatch.setattr("preview.pulumi_preview.preview", lambda *_: {})
    found = collect.collect("dev", ROOT, None, {})
    assert found.policy_problem == "KeyError: 'x'"
    assert found.failed


# --- Copies of the project -------------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "kept.txt").write_text("before")
    (root / "gone.txt").write_text("before")
    (root / ".gitignore").write_text("ignored\n/venv\n")
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "one"]):
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false", *words]
        subprocess.run(git, cwd=root, check=True)
    (root / "kept.txt").write_text("after")
    (root / "gone.txt").unlink()
    (root / "new.txt").write_text("after")
    (root / "ignored").write_text("secret")
    (root / "venv").mkdir()
    return root


def content(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir() if file.is_file() and file.name != ".gitignore"}


def test_both_are_copied_and_nothing_that_git_ignores(repository: Path) -> None:
    with project_copies.copies(repository, None) as (head, base):
        assert base
        assert content(head) == {"kept.txt": "after", "new.txt": "after"}
        assert content(base) == {"kept.txt": "before", "gone.txt": "before"}
        assert (head / "venv").resolve() == (base / "venv").resolve() == repository / "venv"


@pytest.mark.parametrize("name", ["nothing", "--output=/tmp/x", ""])
def test_a_commit_that_is_none_is_a_sentence(name: str, repository: Path) -> None:
    with pytest.raises(project_copies.GitError, match="no commit"), project_copies.copies(repository, name):
        pass


# --- GitHub ----------------------------------------------------------------------------------------------------------

SHA = "a" * 40
RUN = {
    "id": 7,
    "head_sha": SHA,
    "head_branch": "feature?&x=`id`",
    "head_repository": {"full_name": "stranger/fork"},
    "html_url": "https://github.example/o/r/actions/runs/7",
}


def pull(number: int, **more: Any) -> dict[str, Any]:
    head = {"sha": SHA, "repo": {"full_name": "stranger/fork"}}
    base = {"ref": "main", "repo": {"full_name": "o/r"}}
    return {"number": number, "state": "open", "head": head, "base": base, **more}


@dataclass
class Fake:
    """GitHub as far as a comment needs it."""

    address: str = ""
    of_commit: list[dict[str, Any]] = field(default_factory=list)
    of_branch: list[dict[str, Any]] = field(default_factory=list)
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    archive: bytes = b""
    comments: list[dict[str, Any]] = field(default_factory=list)
    requests: list[tuple[str, str, str]] = field(default_factory=list)

    def answer(self, method: str, path: str, sent: dict[str, Any]) -> Any:
        page = re.search(r"[?&]page=(\d+)", path)
        start = (int(page[1]) - 1) * 100 if page else 0
        route = path.partition("?")[0].removeprefix("/repos/o/r/")
        if method in ("POST", "PATCH"):
            return self._write(method, route, sent)
        lists = {f"commits/{SHA}/pulls": self.of_commit, "pulls": self.of_branch, "issues/3/comments": self.comments}
        if route in lists:
            return lists[route][start : start + 100]
        return {"artifacts": self.artifacts} if route == "actions/runs/7/artifacts" else None

    def _write(self, method: str, route: str, sent: dict[str, Any]) -> Any:
        if method == "PATCH":
            number = int(route.rsplit("/", 1)[-1])
            next(each for each in self.comments if each["id"] == number)["body"] = sent["body"]
            return {"html_url": f"https://github.example/{number}"}
        self.comments.append({"id": 900 + len(self.comments), "user": {"login": "github-actions[bot]"}, **sent})
        return {"html_url": "https://github.example/new"}


@pytest.fixture
def fake() -> Iterator[Fake]:
    found = Fake()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            sent = json.loads(self.rfile.read(length) or b"{}")
            found.requests.append((self.command, self.path, self.headers.get("Authorization") or ""))
            if self.path.endswith("/zip"):
                self.send_response(302)
                self.send_header("Location", f"{found.address}/store")
                self.end_headers()
                return
            said = found.archive if self.path == "/store" else found.answer(self.command, self.path, sent)
            self.send_response(404 if said is None else 200)
            self.end_headers()
            self.wfile.write(said if isinstance(said, bytes) else json.dumps(said).encode())

        do_GET = do_POST = do_PATCH = _serve  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    found.artifacts = [{"id": 5, "name": "previews", "size_in_bytes": 100, "expired": False}]
    found.archive = zipped(**{"dev.json": PREVIEW.to_json().encode()})
    found.of_branch = [pull(3)]
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def published(fake: Fake, run: dict[str, Any] = RUN) -> list[str]:
    return publish.publish(GitHub(fake.address, "o/r", "token"), run)


def test_a_first_run_comments_and_a_second_one_replaces_that(fake: Fake) -> None:
    assert published(fake) == ["Commented: https://github.example/new"]
    fake.archive = zipped(a=replace(PREVIEW, stack="prod").to_json().encode())
    published(fake)
    assert [each["body"].count("`prod`") > 0 for each in fake.comments] == [True]
    assert fake.comments[0]["body"].startswith(MARKER)


def test_only_our_own_comment_is_replaced_however_many_there_are(fake: Fake) -> None:
    fake.comments = [{"id": n, "user": {"login": "stranger"}, "body": f"{MARKER} mine"} for n in range(149)]
    fake.comments += [{"id": 149, "user": None, "body": f"{MARKER} mine"}]
    fake.comments += [{"id": 200, "user": {"login": "github-actions[bot]"}, "body": "of another workflow"}]
    fake.comments += [{"id": 201, "user": {"login": "github-actions[bot]"}, "body": MARKER}]
    assert published(fake) == ["Commented: https://github.example/201"]
    assert all(each["body"].endswith("mine") for each in fake.comments[:150])


@pytest.mark.parametrize(
    "other",
    [
        pull(3, head={"sha": "b" * 40, "repo": {"full_name": "stranger/fork"}}),
        pull(3, head={"sha": SHA, "repo": {"full_name": "victim/fork"}}),
        pull(3, head={"sha": SHA, "repo": None}),
        pull(3, base={"ref": "main", "repo": {"full_name": "else/where"}}),
        pull(3, state="closed"),
    ],
    ids=["newer commit", "same commit elsewhere", "fork is gone", "another repository", "closed"],
)
def test_nothing_is_written_on_a_pull_request_that_the_run_was_not_for(fake: Fake, other: dict[str, Any]) -> None:
    fake.of_commit, fake.of_branch = [other], [other]
    assert "nothing to comment on" in published(fake)[0]
    assert {method for method, _, _ in fake.requests} == {"GET"}


def test_the_branch_name_of_a_stranger_stays_one_parameter(fake: Fake) -> None:
    published(fake)
    asked = next(path for _, path, _ in fake.requests if path.startswith("/repos/o/r/pulls?"))
    assert "head=stranger%3Afeature%3F%26x%3D%60id%60&" in asked


def test_the_token_goes_to_github_only(fake: Fake) -> None:
    published(fake)
    assert {path == "/store": token for _, path, token in fake.requests} == {False: "Bearer token", True: ""}


@pytest.mark.parametrize(
    ("artifacts", "archive_", "sentence"),
    [
        ([], b"", "The run has no previews"),
        ([{"id": 5, "name": "previews", "size_in_bytes": 10**9}], b"", "larger than"),
        ([{"id": 5, "name": "previews", "size_in_bytes": 1}], b" " * (6 * 1024 * 1024), "larger than"),
        ([{"id": 5, "name": "previews", "size_in_bytes": 1}], b"no archive", "not a ZIP archive"),
        ([{"id": 5, "name": "previews", "size_in_bytes": 1, "expired": True}], b"", "The run has no previews"),
    ],
    ids=["none", "too large", "larger than it says", "no archive", "expired"],
)
def test_what_is_wrong_with_the_artefact_is_in_the_comment(
    fake: Fake, artifacts: list[dict[str, Any]], archive_: bytes, sentence: str
) -> None:
    fake.artifacts, fake.archive = artifacts, archive_
    published(fake)
    assert sentence in fake.comments[0]["body"]


def test_what_github_refuses_is_a_sentence(fake: Fake) -> None:
    with pytest.raises(GitHubError, match="refused GET /repos/o/r/nothing: 404"):
        list(GitHub(fake.address, "o/r", "token")._all("nothing"))


@pytest.fixture
def event(fake: Fake, tmp_path: Path) -> dict[str, str]:
    """Return what a workflow's environment says of a finished run."""
    (tmp_path / "event.json").write_text(json.dumps({"workflow_run": RUN}))
    return {
        "GITHUB_EVENT_PATH": str(tmp_path / "event.json"),
        "GITHUB_API_URL": fake.address,
        "GITHUB_REPOSITORY": "o/r",
        "GITHUB_TOKEN": "token",
    }


def test_the_command_takes_all_from_the_event(
    event: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in event.items():
        monkeypatch.setenv(name, value)
    assert main(["comment"]) == 0
    assert "https://github.example/new" in capsys.readouterr().out
    monkeypatch.delenv("GITHUB_EVENT_PATH")
    assert main(["comment"]) == 2


def test_whatever_comments_needs_no_package(fake: Fake, event: dict[str, str]) -> None:
    # -S: without site-packages, as in the job that has a token.
    command = [sys.executable, "-S", "-m", "preview", "comment"]
    done = subprocess.run(command, cwd=ROOT, env=event, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [each["body"].startswith(MARKER) for each in fake.comments] == [True]


# --- The command -----------------------------------------------------------------------------------------------------


def test_an_unknown_stack_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stack", "nowhere"]) == 2
    assert "There is no stack nowhere" in capsys.readouterr().err


def test_without_pulumi_the_sentence_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert main(["--stack", "dev"]) == 2
    assert "pulumi, which is not on PATH" in capsys.readouterr().err


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


@pytest.mark.engine
@pytest.mark.skipif(bool(pulumi_engine.missing()), reason="Pulumi is not here")
def test_a_change_is_previewed_without_a_cluster_or_a_secret(tmp_path: Path) -> None:
    if not shutil.which("git"):
        pytest.skip("there is no git")
    project = make_project(tmp_path.resolve())
    root = project.paths.root
    for name in ("base", "istiod"):
        (root / "vendored" / name).mkdir(parents=True)
        (root / "vendored" / name / "Chart.yaml").write_text(f"{{apiVersion: v2, name: {name}, version: 1.0.0}}")
    local = {name: f"sandbox/charts/{name}" for name in ("kong", "prometheus", "grafana", "kiali-server")}
    config: dict[str, Any] = {
        "kong-istio:kubeContext": "nowhere",
        "kong-istio:charts": {**local, **{name: f"vendored/{name}" for name in ("base", "istiod")}},
        "kong-istio:kong": {"admissionWebhook": False},
        "kong-istio:rateLimit": {
            "minute": 30,
            "policy": "redis",
            "redis": {"host": "redis.example.com", "password": {"secure": "v1:somebody:elses"}},
        },
    }
    file = root / "Pulumi.own.yaml"
    file.write_text(yaml.safe_dump({"encryptionsalt": "v1:x:v1:y", "config": config}))
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost"]
    for words in (["add", "--all"], ["commit", "--quiet", "--message", "own"]):
        assert project.run(*git, *words).returncode == 0
    config["kong-istio:rateLimit"]["minute"] = 60
    config["kong-istio:kong"]["replicas"] = 2
    file.write_text(yaml.safe_dump({"encryptionsalt": "v1:x:v1:y", "config": config}))

    command = ["-m", "preview", "--stack", "own", "--base", "HEAD", "--output", str(tmp_path / "out")]
    command += ["--summary", str(tmp_path / "summary.md")]
    subprocess.run([sys.executable, *command], cwd=root, capture_output=True, check=False)
    found = schema.read((tmp_path / "out" / "own.json").read_bytes())
    assert found.problem == ""
    assert found.base_problem == ""
    changes = {each.name for each in found.resources if each.change is Change.UPDATE}
    assert {"kong-istio", "bookinfo-route-rate-limit"} <= changes
    assert found.count(Change.CREATE) == found.count(Change.DELETE) == 0
    assert {each.part for each in found.differences} == set(Part)
    assert (tmp_path / "summary.md").read_text().startswith(MARKER)
    # What a random secret would be, or a place on this machine, would change from run to run.
    assert str(tmp_path) not in found.to_json()
