"""What is measured: each class is a measurement of one or several figures, one run at a time."""

from __future__ import annotations

import os
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import yaml

from kube import Cluster
from sandbox import kwok_cluster, whole_stack
from sandbox.bench import contenders, kong
from sandbox.bench.contenders import NAMESPACES, Answered, fresh, pulumi, write_settings
from sandbox.bench.measuring import Run, timed
from sandbox.machine_settings import SALT
from sandbox.paths import CHECKOUT
from sandbox.slow_pods import SlowPods

_BASELINE = CHECKOUT.root / "sandbox" / "bench" / "baseline"
_APPLICATIONS = 20
_MODULE = (sys.executable, "-m")


@dataclass(frozen=True)
class Side:
    """One contender of a figure, and what its runs came to."""

    name: str
    values: list[float]

    @property
    def median(self) -> float:
        """The median of its runs."""
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """Half of what lies between its lowest and its highest run."""
        return (max(self.values) - min(self.values)) / 2


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One row of the table. `below`: what `above` is divided by; without it the median itself is the figure.

    `goal`: the most that the figure may be; without one it is for information.
    """

    name: str
    title: str
    above: Side
    below: Side | None = None
    goal: float | None = None
    unit: str = "s"
    remark: str = ""

    @property
    def value(self) -> float:
        """The ratio of the medians, or the median."""
        return self.above.median / self.below.median if self.below else self.above.median

    @property
    def reached(self) -> bool | None:
        """Whether the goal is; None without one."""
        return None if self.goal is None else self.value <= self.goal


@dataclass
class Measurement:
    """What is measured together, as one run serves several figures. `wanted`: the figures' names."""

    wanted: Collection[str]
    runs: dict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))

    name: ClassVar[str] = ""
    #: Figure -> what it says, and its goal.
    figures: ClassVar[dict[str, tuple[str, float | None]]] = {}
    #: About how many seconds one run takes.
    seconds: ClassVar[float] = 60
    #: The figures that there are only with Pulumi's engine.
    by_engine: ClassVar[Collection[str]] = ()

    def run(self, number: int, /) -> None:
        """Measure every contender once; `number`: of the run, from 0 on."""
        raise NotImplementedError

    def results(self) -> list[Figure]:
        """Return the figures of the runs so far that are wanted."""
        raise NotImplementedError

    def _figure(self, name: str, above: str, below: str | None = None, **also: Any) -> Figure:
        """Return the figure of two contenders' seconds."""
        title, goal = self.figures[name]
        sides = [Side(side, [run.seconds for run in self.runs[side]]) for side in (above, below) if side]
        return Figure(name=name, title=title, goal=goal, above=sides[0], below=sides[1] if below else None, **also)


def in_turn(number: int, contenders: Sequence[Callable[[], None]]) -> None:
    """Call each, in every second run in the other order: what a machine does better or worse by then falls on both."""
    for contender in contenders if number % 2 == 0 else reversed(contenders):
        contender()


STACK, TYPED, EQUAL = "up of the stack", "guide, the charts' own values", "guide, the stack's values"


class _Ups(Measurement):
    """The stack, the guide as its reader types it, and the guide with the stack's values, each on a fresh sandbox."""

    #: Whether pods are as slow as real ones.
    slow: ClassVar[bool]

    def run(self, number: int, /) -> None:
        """Bring up the stack, and the guide of both kinds."""
        in_turn(
            number,
            [
                lambda: self._stack(number),
                lambda: self._guide(number, TYPED, own_values=True),
                lambda: self._guide(number, EQUAL, own_values=False),
            ],
        )

    def _fresh(self, number: int) -> Cluster:
        """Return a new sandbox; all contenders of a run have the same pods' times."""
        return fresh(SlowPods(number + 1) if self.slow else None)

    def _stack(self, number: int) -> None:
        cluster = self._fresh(number)
        write_settings()
        self.runs[STACK].append(contenders.stack(cluster))
        self._after_stack()

    def _guide(self, number: int, name: str, *, own_values: bool) -> None:
        cluster = self._fresh(number)
        self.runs[name].append(contenders.guide(cluster, own_values=own_values))
        if not own_values:
            self._after_equal_guide()

    def _after_stack(self) -> None:
        pass

    def _after_equal_guide(self) -> None:
        pass

    def _compared(self) -> list[Figure]:
        """Return the stack against both kinds of the guide: the whole, and until the first answer."""
        whole, equal, first, first_equal = list(self.figures)[:4]
        return [
            self._figure(whole, STACK, TYPED),
            self._figure(equal, STACK, EQUAL),
            self._first_answer(first, TYPED),
            self._first_answer(first_equal, EQUAL),
        ]

    def _first_answer(self, name: str, guide: str) -> Figure:
        sides = [
            Side(f"first answer, {side}", [run.first_answer or run.seconds for run in self.runs[side]])
            for side in (STACK, guide)
        ]
        return Figure(name=name, title=self.figures[name][0], above=sides[0], below=sides[1])


CHECKS = "python -m checks run"


class AtOnce(_Ups):
    """Pods that are ready at once; and the checks on the stack, where nothing is wrong."""

    name = "at-once"
    slow = False
    seconds = 75
    figures: ClassVar = {
        "up-guide": ("up ÷ guide as its reader types it, pods ready at once", 0.8),
        "up-equal-guide": ("up ÷ guide with the stack's values, pods ready at once", 0.8),
        "up-first-answer": ("first answer ÷ that of the guide as typed, pods ready at once", None),
        "up-equal-first-answer": ("first answer ÷ that of the guide with the stack's values, pods ready at once", None),
        "checks": ("checks, nothing wrong, without load ÷ up without checks", 0.2),
    }

    def _after_stack(self) -> None:
        if "checks" in self.wanted:
            command = [*_MODULE, "checks", "run", "--stack", whole_stack.STACK]
            self.runs[CHECKS].append(timed(command))

    def results(self) -> list[Figure]:
        """Return the stack against both kinds of the guide, and the checks against the `up`."""
        found = self._compared()
        if self.runs[CHECKS]:
            found.append(self._figure("checks", CHECKS, STACK, remark=self.runs[CHECKS][-1].lines[-1][1]))
        return found


DESTROY, DELETE = "pulumi destroy", "kubectl delete namespace"


class Slow(_Ups):
    """Pods as slow as real ones, the `up` against its own graph, and the destroy against the namespaces' deletion."""

    name = "slow"
    slow = True
    seconds = 240
    by_engine = ("critical-path", "destroy")
    figures: ClassVar = {
        "slow-guide": ("up ÷ guide as its reader types it, slow pods", 0.7),
        "slow-equal-guide": ("up ÷ guide with the stack's values, slow pods", 0.7),
        "slow-first-answer": ("first answer ÷ that of the guide as typed, slow pods", None),
        "slow-equal-first-answer": ("first answer ÷ that of the guide with the stack's values, slow pods", None),
        "critical-path": ("up ÷ critical path of its own graph, slow pods", 1.10),
        "kong-ready": ("Kong: Ready ÷ configuration pushed, from its containers' start, slow pods", 1.2),
        "destroy": ("destroy ÷ kubectl delete namespace of the same three, slow pods", 1.2),
    }

    def _after_stack(self) -> None:
        if "destroy" in self.wanted:
            self.runs[DESTROY].append(timed(pulumi("destroy", "--yes", "--skip-preview")))

    def _after_equal_guide(self) -> None:
        if "destroy" in self.wanted:
            self.runs[DELETE].append(timed(["kubectl", "delete", "namespace", *NAMESPACES]))

    def results(self) -> list[Figure]:
        """Return the stack against both kinds of the guide, its graph, and the deletion of its namespaces."""
        found = self._compared()
        ups = [run for run in self.runs[STACK] if isinstance(run, Answered)]
        if paths := [run.path.seconds for run in ups if run.path]:
            title, goal = self.figures["critical-path"]
            up, path = Side(STACK, [run.seconds for run in ups]), Side("its critical path", paths)
            found.append(Figure(name="critical-path", title=title, goal=goal, above=up, below=path))
        found.append(self._kong_ready(ups))
        if self.runs[DESTROY]:
            each = ", ".join(f"{run.seconds:.0f}" for run in self.runs[DESTROY])
            found.append(self._figure("destroy", DESTROY, DELETE, remark=f"every destroy: {each} s"))
        return found

    def _kong_ready(self, ups: Sequence[Answered]) -> Figure:
        """Return how long Kong's pod takes to be Ready against what its proxy takes until it has a configuration."""
        ready, pushed = Side("Ready", []), Side("configuration pushed", [])
        for number, run in enumerate(ups):
            for name, times in run.pods.items():
                if name.startswith(kong.WORKLOAD) and times.running is not None and times.ready is not None:
                    ready.values.append(times.ready - times.running)
                    pushed.values.append(kong.pushed(SlowPods(number + 1)))
        title, goal = self.figures["kong-ready"]
        return Figure(name="kong-ready", title=title, goal=goal, above=ready, below=pushed)


EMPTY, PREVIEW, AWAY, UNCHANGED = "preview of the empty program", "pulumi preview", "pulumi preview, no cluster", "up"
LISTED, LISTED_AWAY = "the same resources from a list", "the same resources from a list, no cluster"


class Previews(Measurement):
    """Previews of a stack that is up, and one without a cluster, in turn with those of a program that makes nothing."""

    name = "previews"
    seconds = 20
    figures: ClassVar = {
        "preview": ("unchanged preview ÷ preview of the empty program", 1.6),
        "preview-away": ("preview without a cluster ÷ the same", 1.5),
        "unchanged-up": ("unchanged up ÷ the same", None),
        "preview-listed": ("unchanged preview of the same resources from a list ÷ the same", None),
        "preview-listed-away": ("preview of the same resources from a list, without a cluster ÷ the same", None),
    }
    by_engine = tuple(figures)

    def run(self, number: int, /) -> None:
        """Preview and bring up what is up already; the first run brings it up."""
        if number == 0:
            self._prepare()
        unchanged = pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
        same = pulumi("preview", "--expect-no-changes")
        in_turn(
            number,
            [
                lambda: self._time(EMPTY, pulumi("preview", config=_file("empty"), stack="empty"), cwd=_BASELINE),
                lambda: self._time(PREVIEW, same),
                lambda: self._time(LISTED, same, cwd=_listed()),
                lambda: self._time(AWAY, pulumi("preview", config=_file("away"), stack="away")),
                lambda: self._time(LISTED_AWAY, pulumi("preview", config=_file("away"), stack="away"), cwd=_listed()),
                lambda: self._time(UNCHANGED, unchanged),
            ],
        )

    def results(self) -> list[Figure]:
        """Return each against the empty program's preview."""
        return [
            self._figure("preview", PREVIEW, EMPTY),
            self._figure("preview-away", AWAY, EMPTY),
            self._figure("unchanged-up", UNCHANGED, EMPTY),
            self._figure("preview-listed", LISTED, EMPTY),
            self._figure("preview-listed-away", LISTED_AWAY, EMPTY),
        ]

    def _prepare(self) -> None:
        cluster = fresh()
        write_settings()
        contenders.stack(cluster)
        contenders.write_listed(_listed())
        away = yaml.safe_load(CHECKOUT.stack_file.read_text())
        nowhere = f"{CHECKOUT.sandbox.name}/no-such-kubeconfig"
        away["config"] |= {"kong-istio:sandbox": False, "kong-istio:kubeconfig": nowhere}
        # The salt is the other stack's.
        away.pop(SALT, None)
        _file("away").write_text(yaml.safe_dump(away))
        _file("empty").write_text("config: {}\n")
        whole_stack.create("away", CHECKOUT.root / "Pulumi.yaml", _file("away"))
        whole_stack.create("empty", _BASELINE / "Pulumi.yaml", _file("empty"))

    def _time(self, name: str, command: list[str], **options: Any) -> None:
        self.runs[name].append(timed(command, **options))


def _listed() -> Path:
    return CHECKOUT.sandbox / "listed"


def _file(stack: str) -> Path:
    return CHECKOUT.sandbox / f"Pulumi.{stack}.yaml"


MANY, ONE = f"up, {_APPLICATIONS} applications", "up, 1 application"


class Applications(Measurement):
    """Many applications behind Kong against one, on slow pods."""

    name = "applications"
    seconds = 160
    by_engine = ("applications",)
    figures: ClassVar = {
        "applications": (f"up with {_APPLICATIONS} applications behind Kong ÷ with 1, slow pods", 1.5),
    }

    def run(self, number: int, /) -> None:
        """Bring up many applications, and one."""
        in_turn(number, [lambda: self._up(number, MANY, _APPLICATIONS), lambda: self._up(number, ONE, 1)])

    def _up(self, number: int, name: str, count: int) -> None:
        cluster = fresh(SlowPods(number + 1))
        described = [_application(f"application-{each}") for each in range(1, count + 1)]
        write_settings(applications=described)
        self.runs[name].append(contenders.stack(cluster, [each["namespace"] for each in described]))

    def results(self) -> list[Figure]:
        """Return the times' ratio; what state and memory come to is its remark."""
        sizes = [
            f"{name.removeprefix('up, ')}: state {(runs[-1].state_bytes or 0) / 1e6:.1f} MB, memory {runs[-1].memory_mib:.0f} MiB"
            for name in (ONE, MANY)
            if (runs := self.runs[name])
        ]
        return [self._figure("applications", MANY, ONE, remark="; ".join(sizes))]


def _application(name: str) -> dict[str, Any]:
    route = {"service": "web", "port": 80, "path": f"/{name}"}
    return {"name": name, "namespace": name, "manifests": "sandbox/bench/application.yaml", "route": route}


SANDBOX, SECOND = "python -m sandbox up", "make up, the second time"


class Start(Measurement):
    """The start of a sandbox, with its tools there."""

    name = "start"
    seconds = 6
    figures: ClassVar = {"sandbox-start": ("sandbox start, tools there, istiod included", 4.0)}

    def run(self, _number: int, /) -> None:
        """Start a sandbox as people do."""
        kwok_cluster.down()
        self.runs[SANDBOX].append(timed([*_MODULE, "sandbox", "up"], environment=os.environ))

    def results(self) -> list[Figure]:
        """Return how long that takes."""
        return [self._figure("sandbox-start", SANDBOX)]


class SecondUp(Measurement):
    """`make up` where all is up already."""

    name = "second-up"
    seconds = 15
    figures: ClassVar = {"second-up": ("second make up", 4.0)}

    def run(self, number: int, /) -> None:
        """Run what `make up` runs, before the first run once more."""
        command = [*_MODULE, "sandbox", "up", "--with-stack"]
        if number == 0:
            kwok_cluster.down()
            timed(command, environment=os.environ)
        self.runs[SECOND].append(timed(command, environment=os.environ))

    def results(self) -> list[Figure]:
        """Return how long that takes."""
        return [self._figure("second-up", SECOND)]


class Sidecars(Measurement):
    """Ups in a row, each in a fresh sandbox: how many pods were without a sidecar, however briefly."""

    name = "sidecars"
    seconds = 25
    figures: ClassVar = {"sidecars": ("pods without a sidecar, in so many ups in a row", 0.0)}

    def run(self, _number: int, /) -> None:
        """Bring the stack up."""
        cluster = fresh()
        write_settings()
        self.runs[STACK].append(contenders.stack(cluster, sidecars_required=False))

    def results(self) -> list[Figure]:
        """Return how many pods each `up` left without a sidecar, and which."""
        title, goal = self.figures["sidecars"]
        found = [sorted(run.without_sidecar) for run in self.runs[STACK] if isinstance(run, Answered)]
        named = ", ".join(name for names in found for name in names)
        remark = f"{len(found)} ups in a row{f': {named}' if named else ''}"
        counts = Side(STACK, [float(len(names)) for names in found])
        return [Figure(name="sidecars", title=title, goal=goal, above=counts, unit="pods", remark=remark)]


MEASUREMENTS: tuple[type[Measurement], ...] = (AtOnce, Slow, Previews, Applications, Start, SecondUp, Sidecars)
