"""What the owner of a node lets run there: ``allow`` of node.toml. Pure.

Each element is a kind, or KIND:PATTERN, where ``*`` stands for anything:

``script``   any script, cell or other file of code; ``script:PATH`` one that is on the node there
``sha256``   ``sha256:HEX``: code of exactly this content that the registry has handed over
``module``   ``module:pkg.*``: what ``python -m`` runs, and modules of functions
``entry``    ``entry:pkg.mod:main``
``command``  ``command:PROGRAM``: a program, as the component names it
``python``   ``python:PATH``: another interpreter than the runner's
``palm``     masters and hubs of palm, and its own workers for HTTP: no code of anybody's
``kernel``   components as kernels, in which whoever may attach runs anything
``env``      ``env:NAME``: a variable that changes which code is loaded, as PYTHONPATH

Without ``allow`` all is allowed; with it only what is listed.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from palm.errors import ConfigError
from palm.spec.component import ComponentSpec
from palm.spec.names import nearest

__all__ = ["KINDS", "check_allow", "refusal"]

#: Kinds that say all that there is to say, kinds that need a pattern, and those that may have one.
_ALONE = ("palm", "kernel")
_WITH = ("sha256", "env")
KINDS = ("script", "sha256", "module", "entry", "command", "python", *_ALONE, "env")
#: Variables by which other code is loaded than what is started.
_LOADING = re.compile(r"(PYTHON|LD_|DYLD_).*|PATH|BASH_ENV|ENV|IFS|GCONV_PATH|NODE_OPTIONS")
_MAX = 1000


class _Need(NamedTuple):
    """Something that must be allowed: one of the ways, each a kind and a value."""

    text: str
    ways: tuple[tuple[str, str], ...]


def check_allow(allow: Sequence[str] | None) -> None:
    """Refuse what can be no list of what is allowed, as a `ConfigError`."""
    if allow is not None and len(allow) > _MAX:
        raise ConfigError(f"{len(allow)} rules", hint=f"at most {_MAX}")
    for rule in allow or ():
        kind, colon, pattern = rule.partition(":")
        if kind not in KINDS:
            close = nearest(kind, KINDS)
            hint = f"did you mean {close!r}?" if close else f"there are: {', '.join(KINDS)}"
            raise ConfigError(f"{rule!r} allows nothing: there is no kind {kind!r}", hint=hint)
        if (colon and not pattern) or (kind in _WITH and not pattern):
            raise ConfigError(f"{rule!r} does not say which", hint=f"as in {kind}:PATTERN")
        if kind in _ALONE and colon:
            raise ConfigError(f"{rule!r} says too much", hint=f"it is just {kind!r}")


def refusal(spec: ComponentSpec, allow: Sequence[str] | None, *, laid: bool = False) -> str:
    """Return what of a component is not allowed, "" if all is.

    `laid` says that its code does not run where it was found, but as it was fetched.
    """
    if allow is None:
        return ""
    for need in _needs(spec, laid=laid):
        if not any(_allows(rule, kind, value) for rule in allow for kind, value in need.ways):
            rules = " or ".join(f"{kind}:{value}" if value else kind for kind, value in need.ways)
            return f"the owner of this node does not allow {need.text} (allow: {rules})"
    return ""


def _allows(rule: str, kind: str, value: str) -> bool:
    of, colon, pattern = rule.partition(":")
    return of == kind and (not colon or (value != "" and fnmatchcase(value, pattern)))


def _needs(spec: ComponentSpec, *, laid: bool) -> Iterator[_Need]:
    yield from _start(spec, laid=laid)
    if spec.code is not None and laid:
        for path, file in sorted(spec.code.files.items()):
            yield _Need(f"the code {path}", (("sha256", file.sha256), ("script", "")))
    if spec.python:
        yield _Need(f"the interpreter {spec.python}", (("python", spec.python),))
    if spec.kernel:
        yield _Need("kernels", (("kernel", ""),))
    for name in sorted(spec.env):
        if _LOADING.fullmatch(name):
            yield _Need(f"the variable {name}", (("env", name),))


def _start(spec: ComponentSpec, *, laid: bool) -> Iterator[_Need]:
    """What is started; a component that says nothing of it is no start at all."""
    if spec.script:
        yield _script(spec, spec.script, laid=laid)
    elif spec.argv[1:3] == ["-m", "palm"]:
        yield from _of_palm(spec, spec.argv[3:], laid=laid)
    elif spec.module == "palm":
        yield from _of_palm(spec, spec.args, laid=laid)
    elif spec.module:
        yield _Need(f"the module {spec.module}", (("module", spec.module),))
    elif spec.entry:
        yield _Need(f"the entry point {spec.entry}", (("entry", spec.entry),))
    elif program := next(iter(spec.command or spec.argv), ""):
        yield _Need(f"the command {program}", (("command", program),))


#: Commands of palm that are a component, and those of them that run code of somebody's.
_PALM = ("master", "hub", "worker", "server", "pipeline", "sink")
_TAKES_TARGET = _PALM[2:]


def _of_palm(spec: ComponentSpec, args: Sequence[str], *, laid: bool) -> Iterator[_Need]:
    role, target = next(iter(args), ""), next(iter(args[1:]), "-")
    if role not in _PALM:  # another command of palm, which may do anything
        yield _Need(f"the command palm {role}".rstrip(), (("command", "palm"),))
    elif role not in _TAKES_TARGET or (target == "--http" and "--push-file" not in args):
        yield _Need(f"palm {role}", (("palm", ""),))
    elif target.startswith("-"):  # its target is somewhere among the options
        yield _Need(f"palm {role} with its target behind options", (("command", "palm"),))
    elif ".py" in target:
        yield _script(spec, target.rpartition(":")[0] or target, laid=laid)
    else:
        module = target.partition(":")[0]
        yield _Need(f"the module {module}", (("module", module),))
    if "--push-file" in args:
        yield _Need("values that a notebook pushed", (("script", ""),))


def _script(spec: ComponentSpec, script: str, *, laid: bool) -> _Need:
    path = posixpath.normpath(posixpath.join(spec.cwd, script))
    # Where it runs in place, what is there now is what runs, whatever was hashed before.
    if not laid or spec.code is None:
        return _Need(f"the script {path}", (("script", path),))
    file = spec.code.files.get(posixpath.relpath(path, spec.code.folder))
    by_content = (("sha256", file.sha256),) if file else ()
    return _Need(f"the script {path}", (("script", ""), *by_content))
