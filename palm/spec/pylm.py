"""Cluster files of pylm-registry, as cluster files of palm.

A section is a service: ``Script`` is how it is started, options that begin with ``--`` are its
arguments, and values that begin with ``_`` are addresses that services share. ``Connected`` says
what it waits for. Its manager started one process more than ``Replicas`` said.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from string import Formatter

from palm.errors import ConfigError
from palm.spec.cluster import check_cluster
from palm.spec.component import MAX_REPLICAS, SINGLE_ROLES, PalmRole, Role
from palm.spec.ini import Option, Section, read_ini
from palm.spec.names import check_name, nearest
from palm.spec.tomltext import comment, item

__all__ = ["Flaw", "Found", "Imported", "import_pylm"]

#: What pylm knew, in the case in which its pages wrote it.
_KNOWN = ("Script", "Connected", "Role", "Replicas")
#: Keys of the files that described machines.
_NODE_KEYS = {"name", "ip", "processors", "ports_from"}
_PYTHON = re.compile(r"(.*/)?python(?P<version>\d+(\.\d+)?)?")
_SOCKET = re.compile(r"_[^{}\[\].!:]*")
#: Options of pylm's own scripts, and the role of what has them.
_WORKERS_PORTS = {"wpush", "wpull", "workerpush", "workerpull"}
#: Characters of a name that leave room for the numbers of replicas.
_LONGEST = 59


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something that is other than it was, or than was meant; ``fatal``: it would not run."""

    error: ConfigError
    fatal: bool = False


@dataclass(slots=True)
class Found:
    """A service, as a component. ``start`` is the way it is started: key and value."""

    name: str
    section: str
    line: int
    role: Role = "process"
    start: tuple[str, str | list[str]] | None = None
    python: str = ""
    args: list[str] = field(default_factory=list)
    replicas: int = 1
    needs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Imported:
    """A cluster file, and what was found on the way to it."""

    cluster: str
    text: str
    components: list[Found]
    flaws: list[Flaw]

    @property
    def runs(self) -> bool:
        """Whether all that it had can be started."""
        return not any(flaw.fatal for flaw in self.flaws)


def import_pylm(
    text: str, file: str, cluster: str = "", *, pylm_replicas: bool = False
) -> Imported:
    """Return what a cluster file of pylm-registry means.

    Parameters
    ----------
    text, file
        The file, and its name in messages.
    cluster
        Name of the cluster; that of the file if empty.
    pylm_replicas
        Run as many processes as pylm did: one more than the file says.

    Raises
    ------
    ConfigError
        It is no such file.
    """
    sections, errors = read_ini(text, file)
    defaults = next((each.options for each in sections if each.name == "DEFAULT"), [])
    services = [each for each in sections if each.name != "DEFAULT"]
    if not services:
        if {option.name.lower() for option in defaults} & _NODE_KEYS:
            hint = "it needs no translation: a node has what palm runner finds on its machine"
            raise ConfigError("this describes a node, not a cluster", file=file, hint=hint)
        raise ConfigError("there is no section", file=file, hint="[NAME], and Script = ...")
    reading = _Reading(file, services, defaults, pylm_replicas)
    reading.flaws += [Flaw(error, fatal=True) for error in errors]
    name = cluster or _slug(file.rsplit("/", 1)[-1].rsplit(".", 1)[0]) or "default"
    components = reading.components()
    written = _written(name, file, components)
    _, wrong = check_cluster(written, "the result")
    reading.flaws += [Flaw(error, fatal=True) for error in wrong]
    flaws = sorted(reading.flaws, key=lambda flaw: flaw.error.line or 0)
    return Imported(name, written, components, flaws)


class _Service:
    """A section with what it has of ``[DEFAULT]``."""

    def __init__(self, section: Section, defaults: Iterable[Option], name: str) -> None:
        self.section = section
        self.name = name
        own = {option.name.lower(): option for option in section.options}
        self.options = [o for o in defaults if o.name.lower() not in own] + section.options
        self._by_name = {option.name.lower(): option for option in self.options}

    def get(self, key: str) -> Option | None:
        """Return an option that pylm knew."""
        return self._by_name.get(key.lower())

    @property
    def starts(self) -> bool:
        """Whether it says what to start."""
        option = self.get("Script")
        return option is not None and bool(option.value)

    @property
    def arguments(self) -> list[Option]:
        """Options of its command line."""
        return [option for option in self.options if option.name.startswith("--")]

    @property
    def others(self) -> list[Option]:
        """Options that pylm did not know."""
        known = {key.lower() for key in _KNOWN}
        return [o for o in self.options
                if not o.name.startswith("--") and o.name.lower() not in known]  # fmt: skip

    @property
    def connected(self) -> list[str]:
        """Names of the sections that it waits for."""
        option = self.get("Connected")
        names = (option.value or "").split(",") if option else []
        return [name.strip() for name in names if name.strip()]

    @property
    def binds(self) -> bool:
        """Whether it is more likely to open addresses than to use those of others."""
        role = self.get("Role")
        return not self.connected and (role is None or (role.value or "").lower() != "worker")


class _Reading:
    """One reading of a file; ``flaws`` holds what is to be told."""

    def __init__(
        self, file: str, sections: Sequence[Section], defaults: list[Option], one_more: bool
    ) -> None:
        self.flaws: list[Flaw] = []
        self._file = file
        self._one_more = one_more
        names = _names([section.name for section in sections])
        self._services = [
            _Service(section, defaults, name) for section, name in zip(sections, names, strict=True)
        ]
        # What cannot be started opens no address, and nobody waits for it.
        self._sockets = _sockets([each for each in self._services if each.starts])
        self._needs: dict[str, list[str]] = {service.name: [] for service in self._services}

    def components(self) -> list[Found]:
        """Return every service as a component."""
        return [self._component(service) for service in self._services]

    def _component(self, service: _Service) -> Found:
        section = service.section
        found = Found(service.name, section.name, section.line)
        found.role = self._role(service, found)
        self._start(service, found)
        for option in service.arguments if service.starts else ():
            self._argument(service, option, found)
        found.needs = self._needs[service.name]
        self._connect(service, found)
        found.replicas = self._replicas(service, found)
        for option in service.others:
            close = nearest(option.name.lower(), [key.lower() for key in _KNOWN])
            meant = next((key for key in _KNOWN if key.lower() == close), None)
            hint = f"did you mean {meant}?" if meant else "it is left out"
            self._tell(found, option, "pylm had no use for it, and palm has none", hint)
        return found

    # ---- how it is started

    def _start(self, service: _Service, found: Found) -> None:
        option = service.get("Script")
        if option is None or not option.value:
            place = option or Option("Script", None, service.section.line)
            text = "it does not say what to start"
            self._tell(found, place, text, "Script = python3 FILE.py", fatal=True)
            return
        words = self._words(option, found)
        match = _PYTHON.fullmatch(words[0])
        if match is None:
            self._program(option, words, found)
            return
        rest = words[1:]
        if match[1]:
            found.python = words[0]
        elif match["version"] and match["version"] != "3":
            hint = 'python = "PATH" names another, which has palm'
            self._tell(found, option, f"palm's own Python runs it, not {words[0]}", hint)
        while rest and rest[0] == "-u":  # palm has every component write at once
            rest = rest[1:]
        if rest[:1] == ["-m"] and len(rest) > 1:
            found.start, found.args = ("module", rest[1]), self._filled(rest[2:], option, found)
        elif rest and not rest[0].startswith("-"):
            found.start, found.args = ("script", rest[0]), self._filled(rest[1:], option, found)
        else:
            found.python = ""
            found.start = ("command", self._filled(words, option, found))

    def _program(self, option: Option, words: list[str], found: Found) -> None:
        if not words[0].endswith(".py"):
            found.start = ("command", self._filled(words, option, found))
            return
        if "/" not in words[0]:
            text = f"pylm looked for {words[0]} on the PATH, palm beside this file"
            self._tell(found, option, text, "or write command = [...]")
        found.start = ("script", words[0])
        found.args = self._filled(words[1:], option, found)

    def _words(self, option: Option, found: Found) -> list[str]:
        value = option.value or ""
        try:
            words = shlex.split(value)
        except ValueError as error:
            self._tell(found, option, f"its quotes do not match: {error}", "it is split at spaces")
            words = []
        return words or value.split()

    def _filled(self, words: Iterable[str], option: Option, found: Found) -> list[str]:
        return [each for word in words for each in self._word(word, option, found)]

    def _word(self, word: str, option: Option, found: Found) -> Iterator[str]:
        """Yield a word of a command line as arguments: pylm put addresses where {_N} was."""
        try:
            parts = list(Formatter().parse(word))
        except ValueError:
            parts = []
        sockets = [name for _, name, _, _ in parts if name and _SOCKET.fullmatch(name)]
        if not sockets:
            yield _literal(word)
            return
        name = sockets[0]
        before = word.partition("{")[0]
        if not word.endswith("}") or len(sockets) > 1 or not re.fullmatch(r"(--?[\w-]+=)?", before):
            text = f"an address can only be a whole argument, not part of {word!r}"
            self._tell(found, option, text, "write the argument another way", fatal=True)
            return
        address = self._address(name, option, found)
        if address is not None:
            yield from (before.removesuffix("="), address) if before else (address,)

    # ---- arguments

    def _argument(self, service: _Service, option: Option, found: Found) -> None:
        name, value = option.name, option.value
        if name != name.lower():
            hint = f"write {name.lower()}, if that is what the script takes"
            self._tell(found, option, f"pylm gave the script {name.lower()}, palm {name}", hint)
        found.args.append(_literal(name))
        if not value:
            return
        bare = value[1:-1] if value.startswith("{_") and value.endswith("}") else value
        if not _SOCKET.fullmatch(bare):
            found.args.append(_literal(value))
            return
        address = self._address(bare, option, found)
        if address is None:
            found.args.pop()
            return
        found.args.append(address)
        if not service.binds and self._sockets[bare][1] == 1:
            self._tell(found, option, f"no other section has {bare}", self._meant(bare))

    def _address(self, name: str, option: Option, found: Found) -> str | None:
        if name in self._sockets:
            return f"${{socket:{self._sockets[name][0]}}}"
        text = f"no section has an address {name}"
        self._tell(found, option, text, self._meant(name), fatal=True)
        return None

    def _meant(self, name: str) -> str:
        others = sorted(each for each in self._sockets if each != name)
        close = nearest(name, others)
        if close:
            return f"did you mean {close}?"
        return f"there are: {', '.join(others)}" if others else "there is none"

    # ---- roles, numbers and order

    def _role(self, service: _Service, found: Found) -> Role:
        option = service.get("Role")
        given = (option.value or "").lower() if option else ""
        if option and given == "worker":
            return "worker"
        if option and given != "master":
            close = nearest(given, ("master", "worker"))
            hint = f"did you mean {close.capitalize()}?" if close else "Master or Worker"
            self._tell(found, option, f"there is no role {option.value!r}", hint)
        guessed = _guess({re.sub("[-_]", "", o.name.lower()) for o in service.arguments})
        if guessed is None:
            return "master" if given == "master" else "process"
        return guessed

    def _replicas(self, service: _Service, found: Found) -> int:
        option = service.get("Replicas")
        if option is None:
            return 1
        value = option.value or ""
        if not re.fullmatch(r"[+-]?\d{1,9}", value):
            self._tell(found, option, f"{value!r} is not a number", "Replicas = 2", fatal=True)
            return 1
        given, ran = max(0, int(value)), max(0, int(value) + 1)
        wanted = ran if self._one_more else given
        if wanted > 1 and found.role in SINGLE_ROLES:
            text = f"a {found.role} cannot have {wanted} replicas: its addresses can be bound once"
            self._tell(found, option, text, "it has 1 here")
            return 1
        if wanted > MAX_REPLICAS:
            text = f"{wanted} replicas are more than {MAX_REPLICAS}"
            self._tell(found, option, text, "it has as many here", fatal=True)
            return MAX_REPLICAS
        if found.role in SINGLE_ROLES:  # of two that pylm started one found its addresses taken
            return wanted
        if self._one_more:
            found.notes.append(f"Replicas = {value} there, of which pylm started {ran}")
        else:
            text = f"{given} here; pylm started {ran}, one more than this says"
            self._tell(found, option, text, f"--pylm-replicas gives {ran}")
        return wanted

    def _connect(self, service: _Service, found: Found) -> None:
        """Note what a component needs, leaving out what is not there, and rings."""
        option = service.get("Connected")
        if option is None:
            return
        names = {each.section.name: each for each in self._services}
        for section in dict.fromkeys(service.connected):
            other = names.get(section)
            if other is None:
                close = nearest(section, names)
                hint = f"did you mean {close}?" if close else f"there are: {', '.join(names)}"
                self._tell(found, option, f"there is no section {section!r}", hint)
            elif not other.starts:
                self._tell(found, option, f"{section!r} cannot be started", "it is left out")
            elif service.name in _reached(other.name, self._needs):
                text = f"{section!r} waits for this one, and this cannot wait for it, too"
                self._tell(found, option, text, "it is left out")
            else:
                found.needs.append(other.name)

    # ---- telling

    def _tell(
        self, found: Found, option: Option, text: str, hint: str, *, fatal: bool = False
    ) -> None:
        found.notes.append(f"{_shown(option)}: {text} ({hint})")
        key = f"[{found.section}] {option.name}"
        error = ConfigError(text, file=self._file, line=option.line, key=key, hint=hint)
        self.flaws.append(Flaw(error, fatal))


def _shown(option: Option) -> str:
    return option.name if option.value is None else f"{option.name} = {option.value}"


def _guess(options: set[str]) -> PalmRole | None:
    """Return the role of a script of pylm by the addresses that it takes, None if it has none."""
    takes_streams = any(option.startswith("sub") for option in options)
    if options & _WORKERS_PORTS:
        return "hub" if takes_streams else "master"
    if takes_streams:
        return "pipeline"
    return "server" if {"pull", "pub"} <= options else None


def _sockets(services: Sequence[_Service]) -> dict[str, tuple[str, int]]:
    """Return each shared address as COMPONENT.PORT, and how many sections have it.

    It is that of the section that most likely opens it, under the name of the option there.
    """
    users: dict[str, list[tuple[_Service, Option]]] = {}
    for service in services:
        for option in service.arguments:
            value = (option.value or "").removeprefix("{").removesuffix("}")
            if value.startswith("_") and _SOCKET.fullmatch(value):
                users.setdefault(value, []).append((service, option))
    found: dict[str, tuple[str, int]] = {}
    taken: set[str] = set()
    for name, uses in users.items():
        service, option = min(uses, key=lambda use: not use[0].binds)
        port = _unique(_slug(option.name) or "port", taken, f"{service.name}.")
        found[name] = port, len({id(each) for each, _ in uses})
    return found


def _reached(name: str, needs: dict[str, list[str]]) -> set[str]:
    """Return all that a component needs, itself included, and what that needs."""
    found: set[str] = set()
    left = [name]
    while left:
        each = left.pop()
        if each not in found:
            found.add(each)
            left += needs[each]
    return found


def _names(sections: Sequence[str]) -> list[str]:
    """Return a component's name for each section; one that can stay as it is does."""
    taken: set[str] = {name for name in sections if _is_name(name)}
    return [
        name if _is_name(name) else _unique(_slug(name).lower() or "component", taken)
        for name in sections
    ]


def _is_name(name: str) -> bool:
    try:
        return len(check_name(name)) <= _LONGEST
    except ConfigError:
        return False


def _unique(name: str, taken: set[str], before: str = "") -> str:
    number, found = 1, f"{before}{name}"
    while found in taken:
        number += 1
        found = f"{before}{name}-{number}"
    taken.add(found)
    return found


def _slug(text: str) -> str:
    """Return the letters, digits, "_" and "-" of a text, with "-" for what is between."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_]+", "-", plain).strip("-_")[:_LONGEST]


def _literal(text: str) -> str:
    """Return an argument that palm gives on as this very text."""
    return text.replace("${", "$${")


# ---- writing


def _written(cluster: str, file: str, components: Iterable[Found]) -> str:
    head = (
        comment(f"Made by palm import of {file}, a file of pylm-registry."),
        comment("Scripts import palm in the place of pylm."),
        comment("Relative paths begin at the folder of this file."),
    )
    blocks = ["\n".join(head), f"[cluster]\n{item('name', cluster)}"]
    blocks += ["\n".join(_block(found)) for found in components]
    return "\n\n".join(blocks) + "\n"


def _block(found: Found) -> Iterator[str]:
    yield comment(f"[{found.section}], line {found.line}")
    yield from map(comment, found.notes)
    if found.start is None:
        yield f"# [components.{found.name}]"
        return
    yield f"[components.{found.name}]"
    yield item("role", found.role)
    yield item(*found.start)
    if found.python:
        yield item("python", found.python)
    if found.args:
        yield item("args", found.args)
    if found.replicas != 1:
        yield item("replicas", found.replicas)
    if found.needs:
        yield item("needs", found.needs)
