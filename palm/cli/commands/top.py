"""``palm top``."""

from __future__ import annotations

import json
import shutil
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict
from itertools import count, islice
from typing import TYPE_CHECKING, Any, Final

from palm.cli.attach import attached, in_shells
from palm.cli.failures import OK
from palm.cli.loadtable import headline, tables
from palm.clusters import Cluster, Load, Observer, Status
from palm.clusters.load import FIRST
from palm.errors import RegistryError
from palm.runtime.folders import Folders

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

__all__ = ["run"]

#: Columns of what is no terminal, unless COLUMNS says otherwise.
WIDTH: Final = 140


def run(arguments: Namespace) -> int:
    """Show how much the components have to do, again and again."""
    with attached() as cluster:
        loads = _loads(cluster, arguments.interval)
        if arguments.json:
            for load in islice(loads, 1, _last(arguments)):
                print(json.dumps(as_values(load)), flush=True)
            return OK
        first = next(loads)
        if not first.components:
            print(f"nothing runs in cluster {first.cluster!r}")
        elif sys.stdout.isatty():
            _show_live(first, loads, arguments)
        else:
            for load in islice(loads, arguments.n):
                print("\n".join([*_lines(load, WIDTH, arguments), ""]), flush=True)
    return OK


def _last(arguments: Namespace) -> int | None:
    """Return behind which look it ends; the first one knows no rates."""
    return None if arguments.n is None else arguments.n + 1


def _loads(cluster: Cluster | None, interval: float) -> Iterator[Load]:
    """Look at what there is, at even intervals."""
    observer = Observer(Folders.find())
    yield observer.look(_status(cluster))
    time.sleep(max(interval, FIRST))
    begun = time.monotonic()
    for number in count(1):
        yield observer.look(_status(cluster))
        due = begun + number * interval
        late = time.monotonic() - due
        if late > interval:  # stopped for a while, or slow: what was missed is not made up for
            begun += late
        time.sleep(max(0.0, -late))


def _status(cluster: Cluster | None) -> Status:
    if cluster is not None:
        try:
            return cluster.status()
        except RegistryError:  # it may come back; who runs says so without it
            pass
    return in_shells()


# Programs


def as_values(load: Load) -> dict[str, Any]:
    """A load as JSON has it."""
    return {
        "cluster": load.cluster,
        "time": load.time,
        "components": [asdict(each) for each in load.components],
    }


# People


def _lines(load: Load, width: int, arguments: Namespace) -> list[str]:
    width = shutil.get_terminal_size((width, 24)).columns
    clock = time.strftime("%H:%M:%S", time.localtime(load.time))
    lines = [f"{clock}  {headline(load)}"]
    for table in tables(
        load,
        width,
        functions=arguments.functions,
        edges=arguments.edges,
        sort=arguments.sort,
    ):
        lines += ["", table.head, *table.rows]
    return lines


def _show_live(first: Load, loads: Iterator[Load], arguments: Namespace) -> None:
    """Show loads in place of one another, on a screen of their own if there is no end to them."""
    from rich.console import Console  # slow to load, and of use on a terminal only
    from rich.live import Live

    console = Console()
    forever = arguments.n is None
    live: AbstractContextManager[Live] = Live(
        console=console, screen=forever, auto_refresh=False, transient=False
    )
    with live as shown:
        shown.update(_screen(first, console, arguments, forever=forever), refresh=True)
        for load in islice(loads, arguments.n):
            shown.update(_screen(load, console, arguments, forever=forever), refresh=True)


def _screen(load: Load, console: Any, arguments: Namespace, *, forever: bool) -> Text:
    from rich.text import Text

    width, height = console.size
    lines = _lines(load, width, arguments)
    if forever and len(lines) > height - 1:
        left = len(lines) - (height - 2)
        lines = [*lines[: height - 2], f"... {left} more lines; --sort brings others to the top"]
    text = Text(no_wrap=True, overflow="crop")
    heads = {at + 1 for at, line in enumerate(lines) if not line}
    for at, line in enumerate(lines):
        text.append(f"{line}\n", style="bold" if at in heads or not at else "")
    return text
