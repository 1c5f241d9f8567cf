"""``palm registry``: one in the foreground, its new start, its copy, and a whole cluster at it."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from palm.cli.arguments import ArgumentsError, build_parser
from palm.cli.commands.registry import _described
from palm.registry_api.schema import RegistryInfo
from tests.cli.conftest import Shell


def parse(line: str) -> dict[str, Any]:
    return vars(build_parser("palm").parse_args(line.split()))


def start(shell: Shell, *options: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """Start a registry in the foreground, and wait until it says where it is."""
    process = shell.start("registry", "--json", *options)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def stop(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert process.stderr is not None
    return process.stderr.read()


# ---- the command line


def test_what_is_not_given_is_left_to_the_registry() -> None:
    found = parse("registry")
    assert found["action"] is None
    options = ("host", "port", "db", "retain_size", "retain_age", "certfile", "keyfile")
    assert [found[option] for option in options] == [None] * 7
    assert (found["tls"], found["exposed"], found["hostname"]) == (False, False, [])
    found = parse("registry --retain-size 500M --retain-age 7d --hostname a --hostname b:1 --tls")
    assert (found["retain_size"], found["retain_age"]) == ("500M", "7d")
    assert found["hostname"] == ["a", "b:1"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("registry --retain-size 10X", "500M"),
        ("registry --retain-age soon", "not a duration"),
        ("registry --port 70000", "not a port"),
        ("registry --tsl", "did you mean --tls"),
        ("registry bakcup x", "did you mean backup"),
        ("registry backup", "FILE"),
        ("registry --tls restart", "--tls is for a start"),
        ("registry --hostname a status", "--hostname is for a start"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_way_out(line: str, said: str) -> None:
    with pytest.raises(ArgumentsError) as refused:
        parse(line)
    assert said in str(refused.value)


def test_the_status_is_told_for_people() -> None:
    info = RegistryInfo(
        version="1.2", api=2, api_oldest=1, run="r", pid=7, started=0.0, url="https://h:1/",
        database="sqlite", database_size=12345, retain_size=None, retain_age=86400.0,
        fingerprint="AB", connections=1, most_connections=8192,
    )  # fmt: skip
    assert _described(info) == {
        "registry": "https://h:1/",
        "version": "palm 1.2, version 2 of the API; 1 is served, too",
        "process": "7, since 1970-01-01 00:00:00 UTC",
        "database": "sqlite, 12,345 bytes",
        "output kept": "at most none, for 1d",
        "connections": "1 of 8,192",
        "certificate": "SHA-256 AB",
    }
    assert _described(info, "/a/registry.crt")["certificate"] == "/a/registry.crt, SHA-256 AB"


# ---- a registry


@pytest.mark.slow
def test_one_in_the_foreground_is_described_copied_and_started_anew(
    shell: Shell, palm_home: Path
) -> None:
    process, where = start(shell, "--retain-size", "1G", "--retain-age", "forever")
    assert where["pid"] == process.pid  # it is that process, not a child of it
    status = json.loads(shell.palm("registry", "status", "--json").stdout)
    assert (status["retain_size"], status["retain_age"]) == (1 << 30, None)
    assert status["url"] == where["url"]
    assert "palm 0" in shell.palm("registry", "status").stdout

    copy = palm_home / "copy.db"
    said = json.loads(shell.palm("registry", "backup", str(copy), "--json").stdout)
    assert said == {"file": str(copy), "bytes": copy.stat().st_size}
    assert copy.stat().st_mode & 0o777 == 0o600
    assert "--force" in shell.palm("registry", "backup", str(copy), code=1).stderr
    shell.palm("registry", "backup", str(copy), "--force")
    assert [path.name for path in palm_home.glob("*copy*")] == ["copy.db"]

    assert shell.palm("registry", "restart").stdout.strip().endswith(where["url"])
    after = json.loads(shell.palm("registry", "status", "--json").stdout)
    assert (after["pid"], after["url"]) == (status["pid"], status["url"])
    assert after["run"] != status["run"]
    stop(process)

    # One that does not run is copied from its file.
    assert "start one: palm registry" in shell.palm("registry", "status", code=1).stderr
    shell.palm("registry", "backup", str(palm_home / "later.db"))
    connection = sqlite3.connect(palm_home / "later.db")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    url = "postgresql://u:secret@h/d"
    refused = shell.palm("registry", "backup", str(palm_home / "no.db"), "--db", url, code=1)
    assert "pg_dump" in refused.stderr
    assert "secret" not in refused.stderr
    nowhere = f"sqlite:///{palm_home}/nowhere.db"
    refused = shell.palm("registry", "backup", str(palm_home / "no.db"), "--db", nowhere, code=1)
    assert "unable to open" in refused.stderr
    assert not (palm_home / "nowhere.db").exists()


@pytest.mark.slow
def test_a_cluster_works_at_a_registry_with_tls_as_at_any_other(
    shell: Shell, palm_home: Path
) -> None:
    process, where = start(shell, "--tls")
    assert where["url"].startswith("https://")
    shell.write(
        "work.py", "def double(x):\n    print('doubling', x, flush=True)\n    return 2 * x\n"
    )
    shell.palm("master", "--name", "foo", "-d")
    shell.palm("worker", "work.py", "--master", "foo", "--name", "w", "-d")
    assert {c["name"]: c["state"] for c in shell.status()} == {"foo": "ready", "w": "ready"}
    program = (
        "from palm.clients import Client\n"
        "with Client('foo') as client:\n    print(client.eval('foo.double', 21))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=shell.env, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip().endswith("42"), done.stderr
    end = time.monotonic() + 30
    while "doubling 21" not in shell.palm("logs", "w").stdout:
        assert time.monotonic() < end
    follower = shell.start("logs", "w", "-f")
    assert follower.stdout is not None
    while "doubling 21" not in follower.stdout.readline():  # the live feed, over TLS
        assert time.monotonic() < end
    follower.send_signal(signal.SIGINT)
    follower.wait(30)
    shell.palm("registry", "restart")
    assert {c["name"]: c["state"] for c in shell.status()} == {"foo": "ready", "w": "ready"}
    assert shell.palm("ui").stdout.startswith("https://")
    shell.palm("down")
    said = stop(process)
    assert "ERROR" not in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_registry_elsewhere_is_known_by_its_certificate_alone(
    shell: Shell, palm_home: Path, tmp_path: Path
) -> None:
    """As from another machine: only the address, the token and the certificate are known."""
    process, where = start(shell, "--tls", "--host", "0.0.0.0")
    other = tmp_path / "other"
    elsewhere = Shell(tmp_path)
    elsewhere.env |= {
        "PALM_RUN_DIR": str(other / "run"),
        "PALM_STATE_DIR": str(other / "state"),
        "PALM_REGISTRY": where["url"],
        "PALM_TOKEN_FILE": str(palm_home / "state" / "tokens" / "owner"),
    }
    assert "PALM_CA_FILE" in elsewhere.palm("registry", "status", code=1).stderr
    elsewhere.env["PALM_CA_FILE"] = where["certfile"]
    assert where["url"] in elsewhere.palm("registry", "status").stdout
    assert where["url"] in elsewhere.palm("registry", "restart").stdout
    elsewhere.palm("registry", "backup", str(tmp_path / "far.db"))
    stop(process)


@pytest.mark.slow
def test_a_port_that_somebody_has_is_told(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = shell.start("registry", "--port", port)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"cannot listen at 127.0.0.1:{port}" in said
    assert "Traceback" not in said
    assert os.path.basename(sys.executable) not in said
