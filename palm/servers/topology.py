"""Components that are linked: ``server >> pipeline >> sink``."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import TopologicalSorter
from math import inf
from typing import ClassVar, Final, NamedTuple, Protocol, Self, TypeGuard

from palm.errors import ConfigError, PalmError
from palm.runtime.component import GRACE, Component, Signals, State
from palm.runtime.lifeline import tie_to_supervisor
from palm.servers.listening import Listening
from palm.spec.component import STAGE_ROLES

__all__ = ["Link", "Stage", "Topology", "link", "stages_behind"]

#: Seconds beyond its grace after which a component that does not end is left behind.
_MARGIN: Final = 2.0


class Stage(Protocol):
    """What a topology needs of a component; `palm.servers.staged.Staged` has it."""

    role: ClassVar[str]
    name: str
    state: State
    pipelined: bool
    _links: list[Link]

    def _has_topics(self) -> bool:
        """Whether its results may have topics of their own."""

    def _take_from(self, name: str, topic: str) -> None:
        """Take what component ``name`` publishes under a topic."""

    def open(self) -> None:
        """Make ready."""

    def serve(self) -> None:
        """Serve until stopped."""

    def stop(self, grace: float = GRACE) -> None:
        """Ask it to stop."""

    def close(self) -> None:
        """Let go of all that is open."""


class Link(NamedTuple):
    """Results of ``source`` go to ``target``: those of a topic, or "": those that have none."""

    source: Stage
    topic: str
    target: Stage


class Topology:
    """All components that are linked with one another; ``>>`` makes one.

    ``a >> b`` has the results of ``a`` go to ``b``, not to the client. Either side may be a list:
    ``a >> [b, c] >> d``. In a mapping on the right side, ``a >> {"even": b, "odd": c}``, the keys
    are the topics that ``handle_stream`` of ``a`` returns; results without a topic still go to
    the client, unless they go to another component, too.

    `start` serves all of them, in threads of this process. ``with topology:`` does so in the
    background, for a notebook or a test.
    """

    def __init__(self, first: Sequence[Stage], last: Sequence[Stage]) -> None:
        #: Where messages come in, and where results come out, for what is linked to it.
        self.first, self.last = tuple(first), tuple(last)
        # Reentrant: a signal may ask to stop while its thread does just that.
        self._changed = threading.Condition(threading.RLock())
        self._running: dict[str, Stage] = {}
        self._deadline: float | None = None
        self._error: BaseException | None = None

    @property
    def components(self) -> list[Stage]:
        """The components, each behind those whose results it takes."""
        return _all_linked([*self.first, *self.last])

    @property
    def links(self) -> list[tuple[str, str, str]]:
        """Name of the one, topic, name of the other; the topic "" is that of all without one."""
        return [
            (each.source.name, each.topic, each.target.name)
            for component in self.components
            for each in _links_from(component)
        ]

    def __rshift__(self, behind: object) -> Topology:
        return link(self, behind)

    def __rrshift__(self, before: object) -> Topology:
        return link(before, self)

    # Serving

    def start(self) -> None:
        """Serve all until stopped, or SIGTERM or SIGINT; then return.

        What fails ends the others, and is raised.
        """
        with Signals(self.stop):
            self.open()
            tie_to_supervisor(self.stop, GRACE)
            self.wait()

    def open(self) -> None:
        """Open all, and serve each in a thread of its own; on failure nothing is left open."""
        components = self.components
        opened: list[Stage] = []
        try:
            for component in reversed(components):  # who is to take something is there first
                component.open()
                opened.append(component)
        except BaseException:
            for component in opened:
                component.close()
            raise
        self._running = {component.name: component for component in components}
        for component in components:
            # A function that does not end must not keep the process.
            threading.Thread(
                target=self._serve, args=(component,), name=f"palm-{component.name}", daemon=True
            ).start()
        if self._deadline is not None:  # asked while they were opened
            self.stop(0.0)

    def stop(self, grace: float = GRACE) -> None:
        """Ask all to stop within ``grace`` seconds; any thread may, any number of times."""
        with self._changed:
            deadline = time.monotonic() + grace
            self._deadline = min(deadline, self._deadline or deadline)
            for component in list(self._running.values()):
                component.stop(grace)
            self._changed.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all have ended, and return whether they have.

        Raises
        ------
        PalmError
            A component did not end in time when it was asked to.
        Exception
            What the first component that failed raised.
        """
        until = inf if timeout is None else time.monotonic() + timeout
        with self._changed:
            while self._running:
                now = time.monotonic()
                if now >= until:
                    return False
                given_up = inf if self._deadline is None else self._deadline + _MARGIN
                if now >= given_up:
                    raise PalmError(f"did not end in time: {', '.join(self._running)}")
                due = min(until, given_up)
                self._changed.wait(None if due == inf else due - now)
        if self._error is not None:
            raise self._error
        return True

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.stop()
        try:
            self.wait()
        except BaseException:
            if kind is None:  # else what happened within says more
                raise

    def _serve(self, component: Stage) -> None:
        try:
            component.serve()
        except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits
            with self._changed:
                self._error = self._error or error
            self.stop()
        finally:
            try:
                component.close()
            finally:
                with self._changed:
                    del self._running[component.name]
                    self._changed.notify_all()

    # Showing

    def __repr__(self) -> str:
        from palm.servers.picture import draw_text  # a component that serves draws nothing

        return draw_text(self._roles(), self.links)

    def _repr_pretty_(self, printer: _Printer, cycle: bool) -> None:
        printer.text(repr(self))

    def _repr_html_(self) -> str:
        from palm.servers.picture import draw_svg  # as above

        return draw_svg(self._roles(), self.links)

    def _roles(self) -> dict[str, str]:
        return {component.name: component.role for component in self.components}


class _Printer(Protocol):
    def text(self, text: str) -> None: ...


class _Side(NamedTuple):
    """One side of ``>>``: where messages come in, by topic, and where results come out."""

    entries: list[tuple[str, Stage]]
    exits: list[Stage]


def link(before: object, behind: object) -> Topology:
    """Link what is on both sides of ``>>``; on failure nothing has changed.

    Raises
    ------
    ConfigError
        They cannot be linked.
    """
    if isinstance(before, Mapping):
        raise ConfigError(
            "topics of nobody", hint='they stand behind a component: a >> {"topic": b}'
        )
    left, right = _side(before), _side(behind)
    new = [
        Link(source, "" if topic == source.name else topic, target)
        for source in left.exits
        for topic, target in right.entries
    ]
    for each in new:
        _check_link(each)
    _check_all(new)
    for each in new:
        _join(each)
    return Topology([stage for _, stage in left.entries], right.exits)


def _join(new: Link) -> None:
    if new in new.source._links:
        return
    new.source._links.append(new)
    new.target._links.append(new)
    new.target._take_from(new.source.name, new.topic or new.source.name)
    if not new.topic:
        new.source.pipelined = True


def _side(value: object) -> _Side:
    if _is_stage(value):
        return _Side([("", value)], [value])
    if isinstance(value, Topology):
        return _Side([("", stage) for stage in value.first], list(value.last))
    if isinstance(value, Mapping):
        return _together(_under(topic, each) for topic, each in value.items())
    if isinstance(value, list | tuple):
        return _together(_side(each) for each in value)
    if isinstance(value, Component):
        raise ConfigError(
            f"'{value.name}' is a {value.role}: it cannot be linked", hint="link its master"
        )
    if isinstance(value, type) and issubclass(value, Component):
        raise ConfigError(f"{value.__name__} is a class", hint=f"{value.__name__}(NAME, ...)")
    raise ConfigError(
        f"{value!r} is no component",
        hint="link components, lists of them, or behind one a mapping of topics to them",
    )


def _is_stage(value: object) -> TypeGuard[Stage]:
    return isinstance(value, Listening)


def _under(topic: object, value: object) -> _Side:
    if not isinstance(topic, str) or not topic:
        raise ConfigError(f"{topic!r} is no topic", hint="a text, as handle_stream returns it")
    if isinstance(value, Mapping):
        raise ConfigError(f"topics below the topic {topic!r}", hint="a component, or a list")
    side = _side(value)
    return _Side([(topic, stage) for _, stage in side.entries], side.exits)


def _together(sides: Iterable[_Side]) -> _Side:
    found = _Side([], [])
    for side in sides:
        found.entries.extend(side.entries)
        found.exits.extend(stage for stage in side.exits if stage not in found.exits)
    if not found.exits:
        raise ConfigError("there is nothing to link", hint="a list has at least one component")
    return found


def _check_link(new: Link) -> None:
    source, topic, target = new
    if source is target:
        raise ConfigError(f"'{source.name}' cannot take its own results")
    if target.role not in STAGE_ROLES:
        other = "Hub" if target.role == "master" else "Pipeline"
        raise ConfigError(
            f"'{target.name}' is a {target.role}: it takes messages from clients, not from"
            f" '{source.name}'",
            hint=f"make it a {other}",
        )
    for each in (source, target):
        if each.state is not State.NEW:
            raise ConfigError(
                f"'{each.name}' is {each.state.value}: it cannot be linked any more",
                hint="link components before they are opened",
            )
    if topic and not source._has_topics():
        raise ConfigError(
            f"'{source.name}' has no topics", hint="give it handle_stream, which returns them"
        )


def _check_all(new: Sequence[Link]) -> None:
    """Refuse rings, and names that two components have."""
    stages = _all_linked([stage for each in new for stage in (each.source, each.target)])
    names: dict[str, Stage] = {}
    for stage in stages:
        if names.setdefault(stage.name, stage) is not stage:
            raise ConfigError(f"two components are called '{stage.name}'")
    for each in new:
        way = _way(each.target, each.source, new)
        if way:
            ring = " >> ".join(stage.name for stage in [each.source, *way])
            raise ConfigError(f"the results would go in a ring: {ring}")


def _way(start: Stage, goal: Stage, new: Sequence[Link]) -> list[Stage]:
    """Return the components from ``start`` to ``goal``, along links; none: there is no way."""
    ways = [[start]]
    seen = {start.name}
    for way in ways:
        if way[-1] is goal:
            return way
        for each in [*way[-1]._links, *new]:
            if each.source is way[-1] and each.target.name not in seen:
                seen.add(each.target.name)
                ways.append([*way, each.target])
    return []


def stages_behind(stage: Stage) -> list[tuple[str, list[str]]]:
    """Return the name of who takes results of a component, and their topic, for each link."""
    return [(each.target.name, [each.topic or stage.name]) for each in _links_from(stage)]


def _links_from(stage: Stage) -> Iterator[Link]:
    return (each for each in stage._links if each.source is stage)


def _links_to(stage: Stage) -> Iterator[Link]:
    return (each for each in stage._links if each.target is stage)


def _all_linked(stages: Iterable[Stage]) -> list[Stage]:
    """Return components and all that are linked with them, each behind what it takes from."""
    found = list(dict.fromkeys(stages))
    for stage in found:
        for each in stage._links:
            found += [end for end in (each.source, each.target) if end not in found]
    graph = {stage: [each.source for each in _links_to(stage)] for stage in found}
    return list(TopologicalSorter(graph).static_order())
