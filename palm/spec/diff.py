"""What putting other components in force does to those that are there.

`change_of` decides it for one component. The registry asks it when it puts a component in force,
and when it only says what would happen, so that both are the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from palm.spec.code import file_changes
from palm.spec.component import Code, ComponentSpec

__all__ = [
    "ComponentChange",
    "Diff",
    "Effect",
    "FieldChange",
    "change_of",
    "compare",
    "removal_of",
    "unified",
]

#: What happens to the processes of a component. "scaled": those that stay are not touched.
Effect = Literal["started", "restarted", "scaled", "stopped", "none"]

#: Fields that may differ while what runs goes on; with the wishes for nodes, what runs where it may
#: not goes elsewhere.
_WISHES = ("labels", "node")
_FREE = ("replicas", "scales", "owner", "rollout", *_WISHES)
#: Fields that say nothing of what is wanted, or are in the name of the change.
_HIDDEN = ("name", "generation")
#: In the place of values that only a notebook has said, and no file.
NOT_SHOWN = "(not shown)"
#: Lines of two files together, beyond which finding what is common takes seconds.
_MAX_LINES = 20_000


class FieldChange(msgspec.Struct, kw_only=True):
    """A field that is different; a variable of the environment is a field ``env.NAME``.

    A file of its code is a field ``code:PATH``, with the SHA-256 of its content. None: it was, or
    is, not there.
    """

    field: str
    old: Any = None
    new: Any = None


class ComponentChange(msgspec.Struct, kw_only=True):
    """One component that is added, changed or removed.

    ``effect`` is what happens to its processes, ``text`` says so to people. ``replaces``: each of
    its processes is one of another generation afterwards.
    """

    name: str
    effect: Effect
    text: str
    replaces: bool = False
    fields: list[FieldChange] = []


class Diff(msgspec.Struct, kw_only=True):
    """What another cluster file means for the components of a cluster."""

    added: list[ComponentChange] = []
    removed: list[ComponentChange] = []
    changed: list[ComponentChange] = []
    unchanged: list[str] = []

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    @property
    def effects(self) -> dict[str, Effect]:
        """What happens to each component that is not left as it is."""
        found = (*self.added, *self.changed, *self.removed)
        return {each.name: each.effect for each in found}

    def __str__(self) -> str:
        return "\n".join(self._lines()) or "nothing changes"

    def _lines(self) -> Iterator[str]:
        signs = ((self.added, "+"), (self.changed, "~"), (self.removed, "-"))
        for changes, sign in signs:
            for change in changes:
                yield f"{sign} {change.name}: {change.text}"
                if sign == "~":
                    yield from (f"    {_shown(field)}" for field in change.fields)


def compare(
    before: Mapping[str, ComponentSpec],
    after: Mapping[str, ComponentSpec],
    stopped: Collection[str] = (),
) -> Diff:
    """Return what putting the components of a file in force would do.

    Components that a notebook declared (they have an owner) stay, unless the file has one of the
    same name.

    Parameters
    ----------
    before
        What is wanted now.
    after
        What the file says.
    stopped
        Names of those in `before` that are not to run at the moment.
    """
    diff = Diff()
    for name, spec in after.items():
        old = before.get(name)
        change = change_of(old, spec, running=name not in stopped)
        if change is None:
            diff.unchanged.append(name)
        else:
            (diff.added if old is None else diff.changed).append(change)
    for name, spec in before.items():
        if name not in after and not spec.owner:
            diff.removed.append(removal_of(spec, running=name not in stopped))
    return diff


def change_of(
    before: ComponentSpec | None, after: ComponentSpec, *, running: bool = True
) -> ComponentChange | None:
    """Return what wanting `after` does, None if nothing is different.

    `running` says whether `before` is to run at the moment, or was stopped.
    """
    if before is None:
        effect: Effect = "started" if after.replicas else "none"
        text = _count(after) + _once(after.needs) if after.replicas else "nothing is started"
        return ComponentChange(name=after.name, effect=effect, text=text, replaces=True)
    after = after.carried_over(before if running else None)
    same = replace(after, generation=before.generation)
    if _is_same_code(before.code, after.code):
        same.code = before.code
    if same == before and running:
        return None
    free = {field: getattr(before, field) for field in _FREE}
    replaces = replace(same, **free) != before
    effect = _effect(before.replicas if running else 0, after.replicas, replaces=replaces)
    return ComponentChange(
        name=after.name,
        effect=effect,
        text=_text(effect, before, after, running=running),
        replaces=replaces,
        fields=list(_fields(before, after)),
    )


def _is_same_code(before: Code | None, after: Code | None) -> bool:
    """Whether files are the same, and at the same place; which machine said so is no matter."""
    if before is None or after is None:
        return before is after
    return (before.folder, before.files) == (after.folder, after.files)


def removal_of(before: ComponentSpec, *, running: bool = True) -> ComponentChange:
    """Return what wanting a component no longer does."""
    runs = running and before.replicas > 0
    text = "stopped and forgotten" if runs else "forgotten; it does not run"
    return ComponentChange(name=before.name, effect="stopped" if runs else "none", text=text)


def _effect(old: int, new: int, *, replaces: bool) -> Effect:
    if not old and not new:
        return "none"
    if not new:
        return "stopped"
    if not old:
        return "started"
    if replaces:
        return "restarted"
    return "scaled" if old != new else "none"


def _text(effect: Effect, before: ComponentSpec, after: ComponentSpec, *, running: bool) -> str:
    if effect == "none":
        text = "nothing restarts" if running else "nothing is started"
        moves = running and any(getattr(before, w) != getattr(after, w) for w in _WISHES)
        return f"{text}, but what runs where it may not goes elsewhere" if moves else text
    if effect == "stopped":
        return f"stopped: {before.replicas} -> 0 replicas"
    if effect == "started":
        return _count(after) + _once(after.needs)
    count = f"{before.replicas} -> {after.replicas}" if before.replicas != after.replicas else ""
    if effect == "scaled":
        return f"scaled {count}"
    more = [need for need in after.needs if need not in before.needs]
    return "restarted" + (f", {count} replicas" if count else "") + _once(more)


def _count(spec: ComponentSpec) -> str:
    return "started" if spec.replicas == 1 else f"started, {spec.replicas} replicas"


def _once(needs: list[str]) -> str:
    verb = "is" if len(needs) == 1 else "are"
    return f", once {', '.join(needs)} {verb} ready" if needs else ""


def _fields(before: ComponentSpec, after: ComponentSpec) -> Iterator[FieldChange]:
    for field in ComponentSpec.__struct_fields__:
        old, new = getattr(before, field), getattr(after, field)
        if field in _HIDDEN or old == new:
            continue
        if field == "code":
            yield from _files(old, new)
        elif field == "env":
            yield from _variables(old, new, hide=bool(before.owner))
        else:
            yield FieldChange(field=field, old=old, new=new)


def _variables(old: dict[str, str], new: dict[str, str], *, hide: bool) -> Iterator[FieldChange]:
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            was = NOT_SHOWN if hide and name in old else old.get(name)
            yield FieldChange(field=f"env.{name}", old=was, new=new.get(name))


def _files(old: Code | None, new: Code | None) -> Iterator[FieldChange]:
    for path, _ in file_changes(old, new):
        was, now = (code.files.get(path) if code else None for code in (old, new))
        yield FieldChange(
            field=f"code:{path}",
            old=was.sha256 if was else None,
            new=now.sha256 if now else None,
        )


def _shown(field: FieldChange) -> str:
    if field.field.startswith("code:"):
        what = "added" if field.old is None else "removed" if field.new is None else "changed"
        return f"{field.field.removeprefix('code:')} {what}"
    old, new = (
        "none" if value is None else msgspec.json.encode(value).decode()
        for value in (field.old, field.new)
    )
    return f"{field.field}: {old} -> {new}"


def unified(before: str, after: str, names: tuple[str, str]) -> str:
    """Return the difference of two texts as `diff -u` has it, "" if there is none."""
    # Needed by few, and slow to load.
    from difflib import unified_diff

    old, new = (text.removesuffix("\n").split("\n") if text else [] for text in (before, after))
    if len(old) + len(new) > _MAX_LINES and before != after:
        return f"--- {names[0]}\n+++ {names[1]}\n(too many lines to compare)\n"
    lines = unified_diff(old, new, names[0], names[1], lineterm="")
    return "".join(f"{line}\n" for line in lines)
