"""Run examples: ``python -m examples NAME ...``, ``--all`` or ``--list``.

The components of a folder run as processes of their own, in palm folders of their own, then
``client.py``, whose exit code says whether all was well. What they write is shown with their
names in front. Nothing of it is left behind.

Every ``*.py`` in a folder is a component, but for ``client.py`` and ``addresses.py``. Where that
does not fit, ``example.toml`` says what is started; each of its keys may be missing::

    start = ["master.py --db {address0}", "worker.py --db {address0}", "palm gateway > {home}/said"]
    client = { run = "client.py {home}/said", after = "{home}/said" }    # when that file is there
    cluster = "cluster.toml"                # started by `palm up`

``{home}`` is a folder of this run; ``{port0}`` to ``{port10}`` are ports that are free, and
``{address0}`` is ``tcp://127.0.0.1:{port0}``. Scripts find the first port in ``EXAMPLE_PORT``.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
#: Ports that an example may use. They are below those that the system gives to connections.
PORTS = 11
PORTS_FROM, PORTS_TO = 12000, 32000
#: Seconds that a component has to end.
GRACE = 10.0
#: What is in a folder and no component.
NO_COMPONENTS = ("client.py", "addresses.py")
PRINTING = threading.Lock()


class Line(NamedTuple):
    """A command, and a file that has to be there before."""

    run: str
    after: str = ""

    @classmethod
    def of(cls, said: str | dict[str, str]) -> Line:
        """Return what a string, or a table with both keys, says."""
        return cls(said) if isinstance(said, str) else cls(**said)


class Example(NamedTuple):
    """What is started: components, or a cluster file, and the client."""

    folder: Path
    start: list[Line]
    client: Line
    cluster: str

    @property
    def about(self) -> str:
        """The first line of its README."""
        heading = (self.folder / "README.md").read_text("utf-8").partition("\n")[0]
        return heading.lstrip("# ").partition(": ")[2] or heading


def names() -> list[str]:
    """Return the names of all examples."""
    return sorted(path.name for path in HERE.iterdir() if (path / "README.md").exists())


def load(name: str) -> Example:
    """Return an example, as its ``example.toml`` or its files say."""
    folder = HERE / name
    path = folder / "example.toml"
    said = tomllib.loads(path.read_text("utf-8")) if path.exists() else {}
    unknown = set(said) - set(Example._fields[1:])
    if unknown:
        raise SystemExit(f"{path}: there is no key {', '.join(sorted(unknown))}")
    found = sorted(path.name for path in folder.glob("*.py") if path.name not in NO_COMPONENTS)
    cluster = said.get("cluster", "")
    start = [Line.of(each) for each in said.get("start", [] if cluster else found)]
    return Example(folder, start, Line.of(said.get("client", "client.py")), cluster)


class Process:
    """A process whose lines are shown with its name in front, and are put into a file if wanted."""

    def __init__(
        self, name: str, argv: list[str], folder: Path, env: dict[str, str], file: str = ""
    ) -> None:
        self.name = name
        self._file = Path(file) if file else None
        self._process = subprocess.Popen(
            argv,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._show, daemon=True)
        self._reader.start()

    def _show(self) -> None:
        for line in self._process.stdout or ():
            if self._file is not None:
                with self._file.open("a", encoding="utf-8") as file:
                    file.write(line)
            say(self.name, line.rstrip("\n"))

    @property
    def exit_code(self) -> int | None:
        """How it ended, None while it runs."""
        return self._process.poll()

    def wait(self, timeout: float) -> int | None:
        """Return its exit code, None if it has not ended in time."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        self._reader.join(GRACE)
        return code

    def stop(self) -> None:
        """Ask it to end."""
        if self.exit_code is None:
            self._process.send_signal(signal.SIGTERM)

    def end(self, timeout: float) -> int | None:
        """Return its exit code, None if it had to be killed."""
        code = self.wait(timeout)
        if code is None:
            self._process.kill()
            self.wait(GRACE)
        return code


class Run:
    """One run of an example; ``home`` is a folder of its own."""

    def __init__(self, example: Example, home: Path, port: int) -> None:
        self._example = example
        self._names = {"home": str(home)}
        for at in range(PORTS):
            self._names[f"port{at}"] = str(port + at)
            self._names[f"address{at}"] = f"tcp://127.0.0.1:{port + at}"
        paths = [str(HERE.parent), os.environ.get("PYTHONPATH", "")]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PALM_")}
        self._env = kept | {
            "PALM_RUN_DIR": str(home / "run"),
            "PALM_STATE_DIR": str(home / "state"),
            "PALM_CLUSTER": "example",
            "EXAMPLE_PORT": str(port),
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PYTHONUNBUFFERED": "1",
        }
        self._components: list[Process] = []
        self._client: Process | None = None

    def run(self, order: str, timeout: float) -> list[str]:
        """Start all, wait for the client, stop all; return what was wrong."""
        try:
            wrong = self._start(order, timeout) or self._wait_for_client(timeout)
        finally:
            left = self._stop()
        return list(dict.fromkeys(wrong + left))

    def _start(self, order: str, timeout: float) -> list[str]:
        if self._example.cluster:
            code = self._palm("up", self._example.cluster)
            if code:
                return [f"'palm up {self._example.cluster}' ended with {code}"]
        start = list(self._example.start)
        if order == "reversed":
            start.reverse()
        elif order == "random":
            random.shuffle(start)
        start.sort(key=lambda line: bool(line.after))
        client = self._example.client
        start.insert(0 if order == "reversed" and not client.after else len(start), client)
        for line in start:
            wrong = self._wait_for_file(line.after, timeout)
            if wrong:
                return wrong
            self._start_one(line)
        return []

    def _start_one(self, line: Line) -> None:
        if line is self._example.client:
            self._client = self._process(line.run, "client")
        else:
            self._components.append(self._process(line.run))

    def _wait_for_file(self, name: str, timeout: float) -> list[str]:
        """Wait until somebody has written something into a file."""
        path = Path(self._filled_in(name))
        deadline = time.monotonic() + timeout
        while name and not (path.exists() and path.stat().st_size):
            if time.monotonic() > deadline or self._ended():
                return self._ended() or [f"{path.name} is not there within {timeout:g} s"]
            time.sleep(0.02)
        return []

    def _ended(self) -> list[str]:
        """Say which components have ended, though nobody asked them to."""
        return [
            f"{each.name} ended with exit code {each.exit_code}"
            for each in self._components
            if each.exit_code is not None
        ]

    def _process(self, line: str, name: str = "") -> Process:
        command, _, file = self._filled_in(line).partition(" > ")
        words = shlex.split(command)
        stem = words[1] if words[0] == "palm" else Path(words[0]).stem
        same = sum(re.fullmatch(rf"{stem}(-\d+)?", each.name) is not None for each in self._all())
        name = name or (f"{stem}-{same + 1}" if same else stem)
        python = [sys.executable, *(["-m"] if words[0] == "palm" else [])]
        return Process(name, python + words, self._example.folder, self._env, file)

    def _filled_in(self, text: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda found: self._names[found[1]], text)

    def _all(self) -> list[Process]:
        return self._components + ([self._client] if self._client is not None else [])

    def _wait_for_client(self, timeout: float) -> list[str]:
        """Wait until the client has ended, or a component has."""
        deadline = time.monotonic() + timeout
        while self._client is not None and (code := self._client.wait(0.2)) is None:
            if ended := self._ended():
                return ended
            if time.monotonic() > deadline:
                return [f"the client has not ended within {timeout:g} s"]
        if self._client is None:
            return []
        return [f"the client ended with exit code {code}"] if code else []

    def _stop(self) -> list[str]:
        wrong = []
        for each in reversed(self._all()):
            each.stop()
        for each in reversed(self._all()):
            code = each.end(GRACE)
            if each is not self._client and code not in (0, -signal.SIGTERM):
                how = "had to be killed" if code is None else f"ended with exit code {code}"
                wrong.append(f"{each.name} {how}")
        if self._example.cluster and self._palm("down"):
            wrong.append("'palm down' failed")
        return wrong

    def _palm(self, *words: str) -> int | None:
        argv = [sys.executable, "-m", "palm", *words]
        return Process("palm", argv, self._example.folder, self._env).end(120.0)


def say(name: str, line: str) -> None:
    """Show a line, not into the middle of another."""
    with PRINTING:
        print(f"{name:>10} | {line}", flush=True)


@contextmanager
def ports() -> Iterator[int]:
    """Yield the first of `PORTS` free ports; the one before is held, so nobody else gets them."""
    starts = list(range(PORTS_FROM, PORTS_TO, PORTS + 1))
    random.shuffle(starts)
    for start in starts:
        with socket.socket() as guard:
            if _is_bound(guard, start) and all(map(_is_free, range(start + 1, start + PORTS + 1))):
                yield start + 1
                return
    raise SystemExit("there are no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        return _is_bound(tried, port)


def _is_bound(tried: socket.socket, port: int) -> bool:
    try:
        tried.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


@contextmanager
def home() -> Iterator[Path]:
    """Yield a folder for one run; its path is short, as those of sockets have to be."""
    made = Path(tempfile.mkdtemp(prefix="palm-example-"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def run(name: str, order: str, timeout: float) -> bool:
    """Run an example, say how it went, and return whether all was well."""
    began = time.monotonic()
    with ports() as port, home() as folder:
        wrong = Run(load(name), folder, port).run(order, timeout)
    took = f"{time.monotonic() - began:.1f} s"
    say(name, "; ".join(wrong) if wrong else f"all is well, {took}")
    return not wrong


def main() -> int:
    """Return 0 if all was well, 1 if not, 2 if there is no such example."""
    parser = argparse.ArgumentParser(prog="python -m examples", description="Run examples.")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true", help="name all examples")
    parser.add_argument("--all", action="store_true", help="run all, one after the other")
    orders = ("forward", "reversed", "random")
    parser.add_argument("--order", choices=orders, default="forward", help="order of the start")
    parser.add_argument("--timeout", type=float, default=90.0, help="seconds for the client")
    args = parser.parse_args()
    if args.list:
        for name in names():
            print(f"{name:<16} {load(name).about}")
        return 0
    wanted = names() if args.all else args.names
    unknown = [name for name in wanted if name not in names()]
    if unknown or not wanted:
        parser.error(f"there is no example {unknown[0]}" if unknown else "name one, or --all")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    failed = [name for name in wanted if not run(name, args.order, args.timeout)]
    if len(wanted) > 1:
        print(f"{len(wanted) - len(failed)} of {len(wanted)} are well", *failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
