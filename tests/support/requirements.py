"""What some tests need of the machine, and why it may not be there."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


def chromium_path() -> str | None:
    """The browser: ``CHROMIUM``, or the first one on the PATH."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def missing_chromium() -> str | None:
    """Why no browser can be driven, or None."""
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed (pip install playwright)"
    if chromium_path() is None:
        return "there is no Chromium (apt-get install chromium, or set CHROMIUM)"
    return None


def missing_node() -> str | None:
    """Why the panel's modules cannot be run, or None."""
    if shutil.which("node") is None:
        return "there is no node (apt-get install nodejs, version 20 or later)"
    made = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
    major = made.stdout.lstrip("v").partition(".")[0]
    if not major.isdecimal() or int(major) < 20:
        return f"node is {made.stdout.strip() or 'broken'}: version 20 or later is needed"
    return None


def missing_sshd() -> str | None:
    """Why no SSH server can be started, or None."""
    if importlib.util.find_spec("asyncssh") is None:
        return "asyncssh is not installed (pip install asyncssh)"
    if not Path("/usr/sbin/sshd").exists() or shutil.which("ssh-keygen") is None:
        return "there is no sshd (apt-get install openssh-server openssh-client)"
    return None


def mpiexec_path() -> str | None:
    """What starts ranks of MPI: that of this Python's environment, or the first on the PATH."""
    own = Path(sys.executable).parent / "mpiexec"
    return str(own) if own.exists() else shutil.which("mpiexec")


@functools.cache
def missing_mpi() -> str | None:
    """Why no ranks of MPI can be started, or None."""
    if importlib.util.find_spec("mpi4py") is None:
        return "mpi4py is not installed (pip install mpi4py mpich)"
    if mpiexec_path() is None:
        return "there is no mpiexec (pip install mpich, or apt-get install openmpi-bin)"
    loads = [sys.executable, "-c", "import mpi4py.MPI"]
    if subprocess.run(loads, capture_output=True, check=False).returncode:
        return "mpi4py finds no library of MPI (pip install mpich, or apt-get install openmpi-bin)"
    return None


def missing_root() -> str | None:
    """Why this process cannot act as another user, or None."""
    return None if os.geteuid() == 0 else "it acts as another user, which needs root"


@functools.cache
def missing_netns() -> str | None:
    """Why no network namespace can be made, or None."""
    if missing_root():
        return "network namespaces need root"
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        return "there is no ip or unshare (apt-get install iproute2 util-linux)"
    made = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return None if made.returncode == 0 else "the kernel allows no network namespaces here"


@functools.cache
def missing_tmpfs() -> str | None:
    """Why no small disk can be mounted, or None."""
    if missing_root():
        return "it mounts a small disk, which needs root"
    if shutil.which("mount") is None or shutil.which("unshare") is None:
        return "there is no mount or unshare (apt-get install mount util-linux)"
    mount = ["unshare", "--mount", "mount", "-t", "tmpfs", "-o", "size=4m", "palm-test", "/mnt"]
    made = subprocess.run(mount, capture_output=True, check=False)
    return None if made.returncode == 0 else "the kernel allows no mounts here"


def postgres_folder() -> Path:
    """The programs of PostgreSQL: ``POSTGRES_BIN``, or the newest of Debian's packages."""
    if named := os.environ.get("POSTGRES_BIN"):
        return Path(named)
    packages = Path("/usr/lib/postgresql").glob("[0-9]*/bin")
    return max(packages, key=lambda path: int(path.parent.name), default=Path("/usr/bin"))


def missing_postgres() -> str | None:
    """Why no server of PostgreSQL can be started, or None."""
    if importlib.util.find_spec("psycopg") is None:
        return "psycopg is not installed (pip install 'psycopg[binary]')"
    if not all((postgres_folder() / name).exists() for name in ("initdb", "pg_ctl", "postgres")):
        return "there is no PostgreSQL (apt-get install postgresql, or set POSTGRES_BIN)"
    return None


#: Marker -> why its tests cannot run here.
REQUIREMENTS: dict[str, Callable[[], str | None]] = {
    "browser": missing_chromium,
    "mpi": missing_mpi,
    "netns": missing_netns,
    "node": missing_node,
    "postgres": missing_postgres,
    "root": missing_root,
    "sshd": missing_sshd,
    "tmpfs": missing_tmpfs,
}


def require(what: str) -> None:
    """Skip the test, with the reason, where the machine lacks what it needs; in CI fail it."""
    reason = REQUIREMENTS[what]()
    if reason is None:
        return
    if in_ci():
        pytest.fail(f"in CI this test must run, but {reason}", pytrace=False)
    pytest.skip(reason)


def in_ci() -> bool:
    """Whether the environment says CI."""
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def require_chromium() -> str:
    """Skip, or in CI fail, without a browser; its path otherwise."""
    require("browser")
    return chromium_path() or ""


def require_root() -> None:
    """Skip, or in CI fail, without the rights of root."""
    require("root")


def require_netns() -> None:
    """Skip, or in CI fail, without network namespaces."""
    require("netns")


def require_tmpfs() -> None:
    """Skip, or in CI fail, where no small disk can be mounted."""
    require("tmpfs")


def require_postgres() -> None:
    """Skip, or in CI fail, where no server of PostgreSQL can be started."""
    require("postgres")
