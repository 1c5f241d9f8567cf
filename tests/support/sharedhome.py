"""Machines with one home folder, as in a computing centre: names, processes and addresses apart.

Each is a host of `tests.support.hosts` with namespaces of its own for its name, its processes and
its mounts: the user's home there is a folder that all have.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.hosts import ROOT, Hosts

#: Name, passwd and hosts of a machine; it is there until its first process is ended.
_SETUP = (
    'hostname "$0" && mount --bind "$1" /etc/passwd && mount --bind "$2" /etc/hosts'
    " && echo ready && exec sleep infinity"
)


class SharedHome:
    """Machines by name; ``home`` is the folder that they share."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.home = folder / "home"
        self.home.mkdir(mode=0o700, parents=True)
        self.hosts = Hosts(folder / "hosts", *names)
        kept = {k: v for k, v in os.environ.items() if not k.startswith("PALM_")}
        self.environment = {
            **kept,
            "HOME": str(self.home),
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'registry'}",
        }
        self._first: dict[str, int] = {}
        try:
            self._set_up(folder, names)
        except BaseException:
            self.close()
            raise

    def _set_up(self, folder: Path, names: tuple[str, ...]) -> None:
        passwd, addresses = folder / "passwd", folder / "addresses"
        passwd.write_text(f"root:x:0:0:root:{self.home}:/bin/sh\n")
        lines = [f"{self.hosts[name].address} {name}\n" for name in names]
        addresses.write_text("127.0.0.1 localhost\n" + "".join(lines))
        apart = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
        for name in names:
            enter = ["ip", "netns", "exec", self.hosts[name].namespace, *apart]
            process = subprocess.Popen(
                [*enter, "sh", "-c", _SETUP, name, str(passwd), str(addresses)],
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
            self.hosts[name].processes.append(process)
            assert process.stdout is not None
            with process.stdout as said:
                assert said.readline() == b"ready\n"
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            self._first[name] = int(children)

    def _command(self, name: str, *arguments: str) -> list[str]:
        enter = ["nsenter", "--target", str(self._first[name]), "--mount", "--uts", "--pid"]
        return [*enter, "--net", f"--wd={self.home}", sys.executable, *arguments]

    def run(self, name: str, *arguments: str, code: int = 0) -> str:
        """Run Python on a machine, in the home folder, to its end; return what it printed."""
        done = subprocess.run(
            self._command(name, *arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stderr}"
        return done.stdout if not code else done.stderr

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start Python on a machine; what it says is in the file ``log`` of its host."""
        with (self.hosts[name].home / "log").open("ab") as log:
            process = subprocess.Popen(
                self._command(name, *arguments),
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.hosts[name].processes.append(process)
        return process

    def close(self) -> None:
        """End all that runs there."""
        self.hosts.close()


@contextmanager
def shared_home(folder: Path, *names: str) -> Iterator[SharedHome]:
    """Machines with one home folder while they are needed."""
    machines = SharedHome(folder, *names)
    try:
        yield machines
    finally:
        machines.close()
