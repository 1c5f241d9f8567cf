"""A fork server that counts, and a component that writes down what it is."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from palm.runner.forking import Forked, ForkServer
from palm.spec.process import ProcessSpec

ROOT = str(Path(__file__).parents[2])

#: Run as the target of a ``palm server``: all that a program can see of how it was started.
FACTS = """
import atexit, faulthandler, gc, json, locale, multiprocessing, os, random, resource, signal, sys
import tempfile, threading, time, uuid

def square(x):
    return x * x

def look():
    main = sys.modules["__main__"]
    streams = {}
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        streams[name] = [
            getattr(stream, each, None)
            for each in ("encoding", "errors", "line_buffering", "write_through", "mode", "name")
        ] + [type(stream.buffer).__name__, stream is getattr(sys, f"__{name}__"), stream.fileno()]
    with open("/proc/self/status") as file:
        kept = ("Umask", "SigB", "SigI", "SigC", "Shd", "Cap", "NoNewPrivs", "Cpus_al", "Groups")
        status = [line for line in file if line.startswith(kept)]
    mask = os.umask(0o77)
    os.umask(mask)
    fds = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            fds[fd] = os.readlink(f"/proc/self/fd/{fd}").partition("[")[0].rpartition("/")[2]
        except OSError:
            pass  # that of the listing
    return {
        "argv": sys.argv, "orig_argv": sys.orig_argv, "path": sys.path, "flags": list(sys.flags),
        "warnings": sys.warnoptions, "options": sys._xoptions, "cwd": os.getcwd(), "umask": mask,
        "executable": [sys.executable, sys.prefix, sys.exec_prefix],
        "env": {k: v for k, v in os.environ.items() if not k.endswith("_FD")},
        "leads": [os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid()],
        "parent": os.getppid(), "stdio": streams, "status": status, "fds": sorted(fds.values()),
        "handlers": [str(signal.getsignal(each)) for each in sorted(signal.valid_signals())
                     if each not in (signal.SIGTERM, signal.SIGINT)],
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "main": [main.__name__, main.__spec__.name, main.__file__, main.__package__,
                 main.__spec__.origin, type(main.__loader__).__name__, main.__cached__,
                 main.__doc__, sorted(vars(main))],
        "limits": [resource.getrlimit(getattr(resource, each)) for each in sorted(dir(resource))
                   if each.startswith("RLIMIT_")],
        "faulthandler": faulthandler.is_enabled(), "gc": [gc.isenabled(), gc.get_threshold()],
        "locale": [locale.setlocale(locale.LC_CTYPE), locale.getpreferredencoding(), time.tzname],
        "recursion": sys.getrecursionlimit(), "switch": sys.getswitchinterval(),
        "threads": sorted(each.name for each in threading.enumerate()),
        "main_thread": threading.current_thread() is threading.main_thread(),
        "native": threading.get_native_id() == os.getpid(),
        "temporary": tempfile.gettempdir(), "method": multiprocessing.get_start_method(),
        "cmdline": open("/proc/self/cmdline").read(), "comm": open("/proc/self/comm").read(),
        "oom": open("/proc/self/oom_score_adj").read(),
        "home": sys.modules["palm"].__file__,
    }

def own():
    return {
        "pid": os.getpid(), "random": random.random(), "uuid": str(uuid.uuid4()),
        "urandom": os.urandom(8).hex(), "name": next(tempfile._get_candidate_names()),
        "authkey": bytes(multiprocessing.current_process().authkey).hex(),
        "environ": open("/proc/self/environ", "rb").read().decode(),
        "forked": "palm.runner.forkserver" in sys.modules,
    }

text = json.dumps({"same": look(), "own": own()})
with open(os.environ["FACTS"] + ".new", "w") as file:
    file.write(text)
os.replace(os.environ["FACTS"] + ".new", os.environ["FACTS"])

def serve(payload):
    return payload
"""


class CountingForks(ForkServer):
    """Counts the components that were forked, and those that were not."""

    def __init__(self) -> None:
        super().__init__()
        self.forked: list[int] = []
        self.started = 0

    def fork(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        folder: str,
        outputs: tuple[int, int],
        pipes: Mapping[str, int],
    ) -> Forked | None:
        """Fork, and count."""
        found = super().fork(argv, environment, folder, outputs, pipes)
        if found is None:
            self.started += 1
        else:
            self.forked.append(found.pid)
        return found

    def await_ready(self) -> None:
        """Wait until it forks."""
        self.start()
        deadline = time.monotonic() + 30
        while not self.is_ready():
            assert time.monotonic() < deadline, "the fork server is not ready"
            time.sleep(0.005)
            self.start()


def palm(name: str, command: str, *args: str, **options: Any) -> ProcessSpec:
    """A component of ours."""
    env = {"PYTHONPATH": ROOT} | options.pop("env", {})
    argv = (sys.executable, "-m", "palm", command, *args, "--name", name)
    return ProcessSpec(name, argv, env=env, **options)


def read_facts(path: Path) -> dict[str, Any]:
    """Wait for what a component writes."""
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, "it wrote nothing"
        time.sleep(0.005)
    return dict(json.loads(path.read_text()))
