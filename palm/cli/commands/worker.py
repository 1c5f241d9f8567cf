"""``palm worker``."""

from __future__ import annotations

import os
import re
from argparse import Namespace
from pathlib import Path
from typing import Any

from palm.cli.failures import OK
from palm.cli.foreground import log_level, tie
from palm.cli.loading import check_target, load, show_failure
from palm.errors import ConfigError, PalmError
from palm.runtime.targets import Functions, Target
from palm.servers import Worker

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Be a worker until stopped, or start one in the background."""
    if arguments.http:
        return _post(arguments)
    check_target(arguments)
    name = _name(arguments) or _make_name(arguments.target)
    if arguments.detach:
        return _detach(arguments, name)
    tie()
    offer = load(arguments, Worker)
    worker = _make(offer, name, arguments)
    try:
        worker.start()
    except Exception as error:
        if error is not worker.initialize_error or isinstance(error, PalmError):
            raise
        raise show_failure(error, f"{name} cannot be made ready") from None
    return OK


def _post(arguments: Namespace) -> int:
    """Be a worker whose functions are behind a URL."""
    name = _name(arguments) or f"http-{os.urandom(2).hex()}"
    if arguments.detach:
        return _detach(arguments, name)
    from palm.gateways.httpworker import HttpWorker  # loads what other workers do not need

    tie()
    HttpWorker(
        name,
        arguments.master,
        arguments.http,
        functions=arguments.functions.split(",") if arguments.functions else None,
        pool=arguments.pool or 4,
        token_file=arguments.token_file,
        allow_pickle=arguments.allow_pickle,
        log_level=log_level(),
    ).start()
    return OK


def _make(offer: type[Worker] | Functions, name: str, arguments: Namespace) -> Worker:
    options = {"max_tasks": arguments.max_tasks, "max_rss": arguments.max_rss}
    # A class of the user's may know no options of later versions.
    more: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    if arguments.dask or arguments.executor:
        if not isinstance(offer, dict):
            raise ConfigError(
                f"{arguments.target} offers {offer.__name__}, whose methods stay in this process",
                key="dask" if arguments.dask else "executor",
                hint="an executor runs functions: give a module or file that has no Worker class",
            )
        more |= {"executor": _executor(arguments), "slots": arguments.slots}
    if isinstance(offer, dict):
        more["functions"] = offer
        offer = Worker
    return offer(name, master=arguments.master, log_level=log_level(), **more)


def _executor(arguments: Namespace) -> Any:
    """Return what makes the executor that is to run the functions."""
    from palm.engines import dask, named  # few workers need one

    if arguments.dask:
        return dask.executor_of(arguments.dask)
    return named.maker_of(arguments.executor)


def _name(arguments: Namespace) -> str:
    """Return the name that was given, be it by the runner that started us as a component."""
    ours = "" if arguments.detach else os.environ.get("PALM_COMPONENT", "")
    return arguments.name or ours


def _make_name(target: str) -> str:
    stem = re.sub(r"[^A-Za-z0-9_-]", "_", Path(Target.parse(target).place).stem)
    return f"{stem[:50] or 'worker'}-{os.urandom(2).hex()}"


def _detach(arguments: Namespace, name: str) -> int:
    from palm.cli.background import start  # loads what a component does not need

    args = ["--master", arguments.master] if arguments.master else []
    if arguments.max_tasks:
        args += ["--max-tasks", str(arguments.max_tasks)]
    if arguments.max_rss:
        args += ["--max-rss", str(arguments.max_rss)]
    for option in ("http", "functions", "pool", "token_file", "dask", "executor", "slots"):
        if value := getattr(arguments, option):
            args += [f"--{option.replace('_', '-')}", str(value)]
    args += ["--allow-pickle"] if arguments.allow_pickle else []
    return start("worker", name, arguments.target, args, arguments)
