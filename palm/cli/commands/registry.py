"""``palm registry``."""

from __future__ import annotations

import json
import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import msgspec

from palm.cli.failures import FAILED, NOT_READY, OK, CommandFailed
from palm.errors import RegistryError
from palm.registry_api.client import Refused, RegistryClient, Unreachable
from palm.registry_api.schema import RegistryInfo
from palm.runner.registry import find_registry, read_registry, revive_registry
from palm.runtime.folders import Folders
from palm.spec.duration import format_duration
from palm.spec.size import format_size

__all__ = ["run"]

_POLL = 0.02
#: Options that are passed on as they are, and those that are there or not.
_OPTIONS = (
    "host",
    "port",
    "db",
    "retain_size",
    "retain_age",
    "move_after",
    "shrink_after",
    "certfile",
    "keyfile",
)
_FLAGS = ("tls", "json")


def run(arguments: Namespace) -> int:
    """Be a registry, in the foreground, or do something with the one that runs."""
    action: Callable[[Namespace], int] = {
        None: _serve,
        "backup": _back_up,
        "restart": _restart,
        "status": _status,
    }[arguments.action]
    return action(arguments)


def _serve(arguments: Namespace) -> NoReturn:
    folders = Folders.find()
    given = ["--run-dir", str(folders.run), "--state-dir", str(folders.state)]
    values = vars(arguments)
    for option in _OPTIONS:
        if values[option] is not None:
            given += [f"--{option.replace('_', '-')}", str(values[option])]
    for name in arguments.hostname:
        given += ["--hostname", name]
    given += [f"--{flag}" for flag in _FLAGS if values[flag]]
    if arguments.exposed:
        given.append("--i-understand-this-exposes-code-execution")
    command = [sys.executable, "-m", "palm_registry", *given]
    sys.stdout.flush()
    os.execv(sys.executable, command)  # noqa: S606 - no shell is wanted


def _client(folders: Folders) -> RegistryClient | None:
    return find_registry(folders, os.environ.get("PALM_REGISTRY", ""))


def _running(folders: Folders) -> RegistryClient:
    client = _client(folders)
    if client is None:
        raise CommandFailed("no registry runs here; start one: palm registry", FAILED)
    return client


# ---- status


def _status(arguments: Namespace) -> int:
    folders = Folders.find()
    with _running(folders) as client:
        info = client.info()
    record = read_registry(folders)
    certfile = record.certfile if record is not None and record.url == info.url else ""
    if arguments.json:
        print(msgspec.json.encode(info).decode())
        return OK
    for name, text in _described(info, certfile).items():
        print(f"{name:<12} {text}")
    return OK


def _described(info: RegistryInfo, certfile: str = "") -> dict[str, str]:
    since = datetime.fromtimestamp(info.started, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    oldest = "" if info.api_oldest == info.api else f"; {info.api_oldest} is served, too"
    age = format_duration(info.retain_age)
    found = {
        "registry": info.url,
        "version": f"palm {info.version}, version {info.api} of the API{oldest}",
        "process": f"{info.pid}, since {since}",
        "database": f"{info.database}, {info.database_size:,} bytes",
        "output kept": f"at most {format_size(info.retain_size)}, for {age}",
        "connections": f"{info.connections:,} of {info.most_connections:,}",
    }
    if info.fingerprint:
        found["certificate"] = f"{certfile}{', ' * bool(certfile)}SHA-256 {info.fingerprint}"
    return found


# ---- restart


def _restart(arguments: Namespace) -> int:
    folders = Folders.find()
    deadline = time.monotonic() + arguments.timeout
    with _running(folders) as client:
        url = _begin(folders, client)(deadline)
    print(json.dumps({"url": url}) if arguments.json else f"the registry has started anew: {url}")
    return OK


def _begin(folders: Folders, client: RegistryClient) -> Callable[[float], str]:
    """Let the registry start anew; return what waits for it until a deadline."""
    record = read_registry(folders)
    if record is None or record.url != client.url:
        run = client.info().run
        client.restart_registry()
        return lambda deadline: _wait(lambda: _elsewhere(client, run), deadline)
    try:
        client.restart_registry()
    except Refused as error:
        # One that is too old for us, or for this request, is still our process.
        if error.code not in ("version", "no-such-address"):
            raise
        os.kill(record.pid, signal.SIGHUP)
    return lambda deadline: _wait(lambda: _here(folders, record.pid, record.run), deadline)


def _elsewhere(client: RegistryClient, run: str) -> str:
    try:
        info = client.info()
    except Unreachable:
        return ""
    return info.url if info.run != run else ""


def _here(folders: Folders, pid: int, run: str) -> str:
    now = read_registry(folders)
    if now is not None and not now.is_running:
        now = revive_registry(folders)  # an old one does not start anew by itself
    return now.url if now is not None and (now.pid, now.run) != (pid, run) else ""


def _wait(look: Callable[[], str], deadline: float) -> str:
    while not (url := look()):
        if time.monotonic() > deadline:
            raise CommandFailed("the registry has not started anew in time", NOT_READY)
        time.sleep(_POLL)
    return url


# ---- backup


def _back_up(arguments: Namespace) -> int:
    path, folders = Path(arguments.file).absolute(), Folders.find()
    if path.exists() and not arguments.force:
        raise CommandFailed(f"{path} is there already; --force replaces it", FAILED)
    client = _client(folders)
    if client is None:
        _copy_file(folders, path, arguments)
    else:
        with client:
            _receive(client, path, force=arguments.force)
    size = path.stat().st_size
    if arguments.json:
        print(json.dumps({"file": str(path), "bytes": size}))
    else:
        print(f"{path}: {size:,} bytes")
    return OK


def _copy_file(folders: Folders, path: Path, arguments: Namespace) -> None:
    """Copy the database of a registry that does not run."""
    command = [sys.executable, "-m", "palm_registry", "--backup", str(path)]
    command += ["--run-dir", str(folders.run), "--state-dir", str(folders.state)]
    command += ["--force"] * arguments.force
    command += ["--db", arguments.db] if arguments.db else []
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise CommandFailed(done.stderr.strip().removeprefix("palm registry: "), FAILED)


def _receive(client: RegistryClient, path: Path, *, force: bool) -> None:
    """Have a copy sent, look for damage in it, and put it in its place: all at once, or not."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        fd = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
        with open(fd, "wb") as file:
            client.backup(file)
            file.flush()
            os.fsync(fd)
        _check(temporary)
        if force:
            temporary.replace(path)
        else:
            os.link(temporary, path)  # not over one that has come meanwhile
    except OSError as error:
        raise CommandFailed(f"{path} cannot be written: {error.strerror}", FAILED) from error
    finally:
        temporary.unlink(missing_ok=True)


def _check(path: Path) -> None:
    try:
        with closing(sqlite3.connect(path)) as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
    except sqlite3.Error as error:
        found = [str(error)]
    if found != ["ok"]:
        raise RegistryError(f"the copy is damaged: {'; '.join(found)}")
