"""``palm import``."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from palm.cli.failures import FAILED, OK
from palm.errors import ConfigError
from palm.spec.names import check_name
from palm.spec.pylm import Flaw, Imported, import_pylm

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Translate a cluster file of pylm-registry; tell on stderr what is other than it was."""
    name = check_name(os.environ["PALM_CLUSTER"]) if os.environ.get("PALM_CLUSTER") else ""
    text = _read(arguments.file)
    found = import_pylm(text, arguments.file, name, pylm_replicas=arguments.pylm_replicas)
    out = Path(arguments.out) if arguments.out else None
    found.flaws += _absent(found, (out or Path(arguments.file)).parent)
    for flaw in found.flaws:
        print(f"palm: {flaw.error}", file=sys.stderr)
    if out is not None:
        _write(out, found.text, over=arguments.replace)
    if arguments.json:
        print(json.dumps(_values(found, arguments.out), indent=2))
    elif out is None:
        print(found.text, end="")
    else:
        _report(found, out)
    return OK if found.runs else FAILED


def _read(file: str) -> str:
    try:
        return Path(file).read_text("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 text") from error


def _absent(found: Imported, folder: Path) -> Iterator[Flaw]:
    """Yield scripts that are not where the cluster file says; they may come there yet."""
    for each in found.components:
        if each.start is None or each.start[0] != "script":
            continue
        path = folder / str(each.start[1])
        if not path.is_file():
            text = f"there is no {path}: pylm looked for it where its runner was started"
            hint = "put the cluster file where the scripts are"
            yield Flaw(ConfigError(text, key=f"[{each.section}] Script", hint=hint))


def _write(out: Path, text: str, *, over: bool) -> None:
    try:
        with out.open("w" if over else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigError(f"{out} is there already", hint="--replace writes over it") from error
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror}") from error


def _report(found: Imported, out: Path) -> None:
    names = ", ".join(each.name for each in found.components if each.start)
    print(f"{out}: {names or 'no components'}")
    if found.runs:
        print(f"start it with: palm up {out}")


def _values(found: Imported, out: str | None) -> dict[str, object]:
    components = [asdict(each) for each in found.components]
    for values in components:
        start = values.pop("start")
        values["start"] = dict([start]) if start else None
    flaws = [
        {
            "text": flaw.error.args[0], "file": flaw.error.file, "line": flaw.error.line,
            "key": flaw.error.key, "hint": flaw.error.hint, "fatal": flaw.fatal,
        }
        for flaw in found.flaws
    ]  # fmt: skip
    return {
        "cluster": found.cluster,
        "runs": found.runs,
        "out": out,
        "components": components,
        "flaws": flaws,
        "text": found.text,
    }
