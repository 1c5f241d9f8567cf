"""A unit of systemd: what is written, when, and what its command line does in a real process."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from palm.runner.local import runner_pid
from palm.runner.unit import UnitFile, unit_text
from palm.runtime.folders import Folders
from palm.runtime.records import is_running, process_start_time
from tests.cli.conftest import Shell
from tests.support.cluster import until

CLUSTER = """
[cluster]
name = "night"
[components.foo]
role = "master"
module = "palm"
args = ["master", "--name", "foo"]
"""


@pytest.fixture
def unit(shell: Shell) -> Path:
    """Where the unit of the cluster belongs; a manager of the user is there."""
    runtime = shell.folder / "runtime"
    runtime.joinpath("systemd").mkdir(parents=True, mode=0o700)
    shell.env["XDG_RUNTIME_DIR"] = str(runtime)
    shell.env["XDG_CONFIG_HOME"] = str(shell.folder / "config")
    return shell.folder / "config" / "systemd" / "user" / "palm-default.service"


def settings(text: str) -> dict[str, list[str]]:
    """What a unit sets, as systemd reads it; each may be set several times."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, sign, value = line.partition("=")
        if sign and not line.startswith("#"):
            found.setdefault(key, []).append(value.replace("%%", "%").replace("$$", "$"))
    return found


def environment(text: str) -> dict[str, str]:
    (pairs,) = [settings(text)["Environment"]]
    words = [word for pair in pairs for word in shlex.split(pair)]
    return dict(word.split("=", 1) for word in words)


def needs_systemctl(shell: Shell) -> None:
    """Let the command find a systemctl, where the system has none: it is never run."""
    if shutil.which("systemctl") is None:
        tools = shell.folder / "tools"
        tools.mkdir()
        tools.joinpath("systemctl").write_text("#!/bin/false\n")
        tools.joinpath("systemctl").chmod(0o755)
        shell.env["PATH"] += f"{os.pathsep}{tools}"


def test_unit_is_written_once_and_says_what_to_do_next(shell: Shell, unit: Path) -> None:
    needs_systemctl(shell)
    lines = shell.palm("up", "--install").stdout.splitlines()
    assert lines == [
        f"{unit}: written",
        "next:",
        "  systemctl --user daemon-reload",
        "  systemctl --user enable --now palm-default.service",
        "  loginctl enable-linger",
    ]
    written = unit.read_text()
    assert shell.palm("up", "--install", "--print").stdout == written
    assert json.loads(shell.palm("up", "--install", "--json").stdout)["changed"] is False
    shell.palm("up", "--install", "--linger", "2h")
    assert "--linger 2h" in unit.read_text(), "what nobody has changed is ours to change"


def test_unit_that_was_changed_by_hand_is_kept_unless_told(shell: Shell, unit: Path) -> None:
    needs_systemctl(shell)
    shell.palm("up", "--install")
    written = unit.read_text()
    changed = written.replace("RestartSec=5", "RestartSec=50")
    for text in (changed, "[Service]\nExecStart=/bin/true\n"):
        unit.write_text(text)
        done = shell.palm("up", "--install", code=1)
        assert "was changed by hand; --replace" in done.stderr
        assert unit.read_text() == text
    shell.palm("up", "--install", "--replace")
    assert unit.read_text() == written
    shell.palm("up", "--uninstall")
    assert not unit.exists()
    assert "was not there" in shell.palm("up", "--uninstall").stdout


def test_without_systemd_it_says_what_else_there_is(shell: Shell) -> None:
    shell.env["XDG_RUNTIME_DIR"] = str(shell.folder)
    shell.env["XDG_CONFIG_HOME"] = str(shell.folder / "config")
    done = shell.palm("up", "--install", code=1)
    assert "--print shows the unit" in done.stderr
    assert not (shell.folder / "config").exists()
    assert "ExecStart=" in shell.palm("up", "--install", "--print").stdout


def test_cluster_of_another_registry_is_not_installed(shell: Shell, unit: Path) -> None:
    for way in ("--install", "--foreground"):
        done = shell.palm("up", way, "--registry", "https://head:8443/", code=1)
        assert "palm runner" in done.stderr
    assert not unit.exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--print",), ("--replace",), ("--now",), ("--install", "--uninstall"),
        ("--install", "--foreground"), ("--install", "--print", "--now"),
        ("x.toml", "--uninstall"),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together_are_refused(shell: Shell, options: tuple[str]) -> None:
    assert "see palm up --help" in shell.palm("up", *options, code=2).stderr


@pytest.mark.parametrize("word", ["50%", "a b", 'say "hi"', "$HOME", "back\\slash", "ünï", "a'b"])
def test_words_reach_the_command_as_they_are(palm_home: Path, word: str) -> None:
    folders = Folders(palm_home / "run dir", palm_home / "state", "night")
    text = unit_text(folders, ["/usr/bin/python3", word], {"WORD": word})
    (line,) = settings(text)["ExecStart"]
    assert shlex.split(line) == ["/usr/bin/python3", word]
    found = environment(text)
    assert found["PALM_RUN_DIR"] == str(palm_home / "run dir")
    # Of a variable systemd takes a dollar as it is.
    assert found["WORD"] == word
    if shutil.which("systemd-analyze"):
        file = UnitFile("night", {"XDG_CONFIG_HOME": str(palm_home / "config")})
        file.write(text)
        done = subprocess.run(
            ["systemd-analyze", "--user", "verify", str(file.path)],
            env={**os.environ, "XDG_RUNTIME_DIR": str(palm_home)},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")


class Service:
    """The command of a unit in a process, with systemd's part played by this test."""

    def __init__(self, text: str, folder: Path) -> None:
        address = folder / "notify"
        address.unlink(missing_ok=True)
        self._said = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._said.bind(str(address))
        self._said.settimeout(60)
        (line,) = settings(text)["ExecStart"]
        (cwd,) = settings(text)["WorkingDirectory"]
        self.process = subprocess.Popen(
            shlex.split(line),
            env={**environment(text), "NOTIFY_SOCKET": str(address)},  # nothing of ours
            cwd=cwd, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def word(self) -> str:
        return self._said.recv(100).decode()

    def end(self) -> tuple[int, str]:
        _, err = self.process.communicate(timeout=60)
        return self.process.returncode, err

    def close(self) -> None:
        self._said.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


@contextmanager
def service(text: str, folder: Path) -> Iterator[Service]:
    found = Service(text, folder)
    try:
        yield found
    finally:
        found.close()


@pytest.mark.slow
def test_its_command_brings_the_cluster_up_and_a_restart_interrupts_nothing(
    shell: Shell, palm_home: Path
) -> None:
    file = shell.write("night.toml", CLUSTER)
    text = shell.palm("up", file, "--install", "--print").stdout
    shell.env["PALM_CLUSTER"] = "night"
    folders = Folders.find(cluster="night")
    with service(text, palm_home) as first:
        assert first.word() == "READY=1"
        assert runner_pid(folders) == first.process.pid
        until(lambda: shell.processes().get("foo", {}).get("state") == "ready", within=60)
        pid = shell.processes()["foo"]["pid"]
        start = process_start_time(pid) or 0.0
        first.process.send_signal(signal.SIGTERM)
        assert first.word() == "STOPPING=1"
        assert first.end()[0] == 0
    assert is_running(pid, start), "components outlive the runner"
    with service(text, palm_home) as second:
        assert second.word() == "READY=1"
        until(lambda: shell.processes()["foo"]["state"] == "ready", within=60)
        assert shell.processes()["foo"]["pid"] == pid, "the next runner has adopted it"
        assert b"NOTIFY_SOCKET" not in Path(f"/proc/{pid}/environ").read_bytes()
        shell.palm("down")
        code, err = second.end()
        assert code == 0, err
    assert not is_running(pid, start)


@pytest.mark.slow
def test_its_command_takes_the_place_of_a_runner_in_the_background(
    shell: Shell, palm_home: Path
) -> None:
    shell.palm("master", "--name", "foo", "-d")
    pid, before = shell.processes()["foo"]["pid"], runner_pid(Folders.find())
    text = shell.palm("up", "--install", "--print").stdout
    with service(text, palm_home) as now:
        assert now.word() == "READY=1"
        assert runner_pid(Folders.find()) == now.process.pid != before
        until(lambda: shell.processes()["foo"]["state"] == "ready", within=30)
        assert shell.processes()["foo"]["pid"] == pid
        shell.palm("down")
        assert now.end()[0] == 0
