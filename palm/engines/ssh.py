"""A runner on another machine, over SSH: its host is checked, and no secret is in a command line.

What is run there is a command line of ours, quoted word by word; the join string goes in on stdin.
"""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from palm.errors import ConfigError, PalmError

if TYPE_CHECKING:
    from asyncssh import SSHClientConnection

__all__ = ["Host", "Python", "SSHFailed", "from_home", "join_over_ssh", "parse_host"]

#: Seconds until a connection must be there, and for a Python to say what it has.
CONNECT = 15.0
PROBE = 30.0
#: Kinds of host keys in the order in which ssh asks for them, so that both show the same one.
_HOST_KEYS = (
    "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
    "rsa-sha2-512", "rsa-sha2-256",
)  # fmt: skip
#: Characters of what a command there wrote that are repeated.
_SHOWN = 2000

_PROBE = """\
import json, sys
try:
    from palm import __version__ as version
    from palm.registry_api.schema import API as api
except Exception as error:
    found = {"python": sys.executable, "error": f"{type(error).__name__}: {error}"}
else:
    found = {"python": sys.executable, "version": version, "api": api}
print(json.dumps(found))
"""


class SSHFailed(PalmError):  # noqa: N818 - says what happened, as palm's own errors do
    """The other machine cannot be reached, or what was run there failed."""


@dataclass(frozen=True, slots=True)
class Host:
    """Where sshd is; what is empty, or 0, is as ``~/.ssh/config`` has it."""

    name: str
    user: str = ""
    port: int = 0
    known_hosts: str = ""
    identity: str = ""

    def __str__(self) -> str:
        host = f"[{self.name}]" if ":" in self.name else self.name
        user = f"{self.user}@" if self.user else ""
        return f"{user}{host}" + (f":{self.port}" if self.port else "")


@dataclass(frozen=True, slots=True)
class Python:
    """A Python on the other machine that has palm; ``api`` is the version of what it speaks."""

    path: str
    version: str
    api: int


def parse_host(text: str, known_hosts: str = "", identity: str = "") -> Host:
    """Return what ``[USER@]HOST[:PORT]`` says.

    Raises
    ------
    ConfigError
        It is no such thing.
    """
    user, _, rest = text.rpartition("@")
    name, colon, port = rest.rpartition(":")
    if not colon or (":" in name and not name.endswith("]")):  # a bare address of IPv6
        name, port = rest, ""
    name = name.removeprefix("[").removesuffix("]")
    wrong = (
        not name or name.startswith("-") or any(c.isspace() or not c.isprintable() for c in text)
    )
    if wrong or (colon and port and not (port.isdecimal() and 0 < int(port) < 65536)):
        raise ConfigError(f"{text!r} is no host", key="HOST", hint="USER@HOST, or USER@HOST:PORT")
    return Host(name, user, int(port or 0), known_hosts, identity)


def join_over_ssh(
    host: Host,
    pythons: Sequence[str],
    options: Sequence[str],
    join_string: Callable[[Python], str],
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Let another machine join, and return what ``palm nodes join`` says there.

    Parameters
    ----------
    pythons
        Interpreters to try there, the best first.
    options
        For ``palm nodes join``.
    join_string
        Called once a Python is found, may refuse it; it returns the secret, so it comes late.
    say
        Is told what is done.

    Raises
    ------
    SSHFailed
        The machine, or something on it, is not as it must be; with the way out.
    ConfigError
        asyncssh is not installed.
    """
    return asyncio.run(_join(host, pythons, options, join_string, say))


async def _join(
    host: Host,
    pythons: Sequence[str],
    options: Sequence[str],
    join_string: Callable[[Python], str],
    say: Callable[[str], None],
) -> dict[str, Any]:
    say(f"connects to {host}")
    connection = await _connect(host)
    try:
        say("looks for a Python that has palm")
        python = await _find_python(connection, host, pythons)
        say(f"palm {python.version} is there: {python.path}")
        secret = join_string(python)
        say("starts a runner")
        command = [python.path, "-m", "palm", "--json", "nodes", "join", "-", "-d", *options]
        done = await _run(connection, command, f"{secret}\n", None)
        if done.code:
            raise SSHFailed(f"the runner on {host} did not start: {done.stderr or done.stdout}")
        return _parsed(done.stdout)
    finally:
        connection.close()
        await connection.wait_closed()


@dataclass(frozen=True, slots=True)
class _Done:
    code: int
    stdout: str
    stderr: str


async def _run(
    connection: SSHClientConnection, command: Sequence[str], stdin: str, within: float | None
) -> _Done:
    try:
        done = await connection.run(shlex.join(command), input=stdin, check=False, timeout=within)
    except TimeoutError as error:
        raise SSHFailed(f"{command[0]} says nothing for {within:g} s") from error
    stdout, stderr = (str(text or "").strip()[-_SHOWN:] for text in (done.stdout, done.stderr))
    return _Done(-1 if done.exit_status is None else done.exit_status, stdout, stderr)


async def _find_python(
    connection: SSHClientConnection, host: Host, pythons: Sequence[str]
) -> Python:
    seen = []
    for path in dict.fromkeys(map(from_home, pythons)):
        done = await _run(connection, [path, "-c", _PROBE], "", PROBE)
        found = _parsed(done.stdout) if not done.code else {}
        if "version" in found:
            return Python(found["python"], found["version"], found["api"])
        seen.append(f"{path}: {found.get('error') or done.stderr or 'it does not run'}")
    tried = "\n  ".join(seen)
    install = "python3 -m venv ~/palm-env && ~/palm-env/bin/pip install palm-cluster"
    raise SSHFailed(
        f"no Python on {host} has palm:\n  {tried}\n"
        f"on that machine: {install}\nthen here: --python '~/palm-env/bin/python'"
    )


def from_home(path: str) -> str:
    """Return a path there so that no shell has to know what ``~/`` is: commands begin at home."""
    return f"./{path.removeprefix('~/')}" if path.startswith("~/") else path


def _parsed(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text.splitlines()[-1]) if text else {}
    except ValueError:
        found = {}
    return found if isinstance(found, dict) else {}


async def _connect(host: Host) -> SSHClientConnection:
    asyncssh = _library()
    options: dict[str, Any] = {"connect_timeout": CONNECT, "keepalive_interval": 15}
    options |= {"username": host.user} if host.user else {}
    options |= {"port": host.port} if host.port else {}
    options |= {"known_hosts": host.known_hosts} if host.known_hosts else {}
    options |= {"client_keys": [host.identity]} if host.identity else {}
    try:
        found: SSHClientConnection = await asyncssh.connect(host.name, **options)
    except asyncssh.HostKeyNotVerifiable as error:
        raise SSHFailed(await _unknown_host(asyncssh, host, str(error))) from error
    except asyncssh.PermissionDenied as error:
        raise SSHFailed(
            f"{host} does not let you in: {error.reason}; try: ssh {host.name}, or --identity FILE"
        ) from error
    except (OSError, asyncssh.Error, TimeoutError) as error:
        reason = getattr(error, "reason", "") or str(error) or "nobody answers in time"
        raise SSHFailed(f"{host} cannot be reached: {reason}") from error
    return found


async def _unknown_host(asyncssh: Any, host: Host, reason: str) -> str:
    """Say which key it shows, and how to see whether it is the right one. It is never taken."""
    port = host.port or 22
    told = f"{host} shows a key that is not known: {reason}"
    asked = asyncssh.get_server_host_key(host.name, port, server_host_key_algs=_HOST_KEYS)
    try:
        key = await asyncio.wait_for(asked, CONNECT)
    except (OSError, asyncssh.Error, TimeoutError):
        key = None
    shown = f"\n  {key.get_algorithm()} {key.get_fingerprint()}" if key is not None else ""
    kind = "*" if key is None else _kind(key.get_algorithm())
    at = f"-p {port} " if port != 22 else ""
    user = f"{host.user}@" if host.user else ""
    return (
        f"{told}{shown}\n"
        "compare it with what the machine itself says:"
        f" ssh-keygen -lf /etc/ssh/ssh_host_{kind}_key.pub\n"
        f"if it is the same, take it once by: ssh {at}{user}{host.name}"
    )


def _kind(algorithm: str) -> str:
    """Return the word for a kind of key that is in the name of its file."""
    return next((each for each in ("ed25519", "ecdsa", "rsa") if each in algorithm), "*")


def _library() -> Any:
    try:
        import asyncssh  # few need it, and it is an extra
    except ImportError as error:
        raise ConfigError(
            "nodes are added over SSH only with the package asyncssh",
            hint="pip install 'palm-cluster[ssh]', or palm nodes join-string",
        ) from error
    return asyncssh
