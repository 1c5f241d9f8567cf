"""What people see: help, tables on terminals of all kinds, and errors in one sentence."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shlex
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from http.server import BaseHTTPRequestHandler, HTTPServer
from termios import TIOCSWINSZ
from typing import Any

import pytest

from palm.cli.arguments import build_parser
from palm.cli.overview import EXAMPLES, GROUPS
from palm.cli.parser import HelpRequested
from palm.files import privatefile
from palm.runtime.folders import Folders
from palm.runtime.records import ComponentRecord, process_start_time, publish_record
from tests.cli.conftest import Shell
from tests.support.cluster import until

COMMANDS = sorted(next(
    action.choices for action in build_parser()._actions if action.dest == "command"
))  # fmt: skip
#: In groups before they are there: commands that are made elsewhere.
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def on_terminal(shell: Shell, *args: str, columns: int = 80, **env: str) -> str:
    """What a command shows on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    given = {
        name: value for name, value in shell.env.items() if name not in ("NO_COLOR", "COLUMNS")
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "palm", *args], stdin=theirs, stdout=theirs, stderr=theirs,
        env={**given, "TERM": "xterm-256color", **env}, cwd=shell.folder,
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        seen += part
    process.wait(60)
    os.close(ours)
    return seen.decode().replace("\r\n", "\n")


# ---- help


def test_help_shows_every_command_once_in_a_group(shell: Shell) -> None:
    text = shell.palm("--help").stdout
    for group in GROUPS:
        assert f"\n{group}:\n" in text
    shown = re.findall(r"^  ([a-z-]+)\s", text.partition("options:")[0], re.MULTILINE)
    assert sorted(shown) == COMMANDS
    assert all(len(line) <= 80 for line in text.splitlines())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_has_examples(command: str) -> None:
    with pytest.raises(HelpRequested) as asked:
        build_parser().parse_args([command, "--help"])
    _, found, examples = asked.value.text.partition("xample")
    assert found
    assert re.search(rf"palm .*{command}\b", examples)


@pytest.mark.parametrize(
    "example", [each for examples in EXAMPLES.values() for each in examples]
)  # fmt: skip
def test_examples_are_lawful(example: str) -> None:
    for part in example.rpartition(" | ")[2].partition(" > ")[0].split(" && "):
        words = shlex.split(part)
        assert words[0] == "palm"
        build_parser().parse_args(words[1:])


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (("stauts",), "did you mean status?"),
        (("docter",), "did you mean doctor?"),
        (("up", "--instal"), "did you mean --install?"),
        (("token", "lst"), "did you mean list?"),
        (("gc", "--dryrun"), "did you mean --dry-run?"),
    ],
)
def test_nearest_name_is_offered(shell: Shell, args: tuple[str, ...], hint: str) -> None:
    done = shell.palm(*args, code=2)
    assert hint in done.stderr
    assert done.stderr.count("\n") == 1


# ---- tables


@pytest.fixture
def component(shell: Shell) -> None:
    """A component with many functions."""
    pid = os.getpid()
    record = ComponentRecord(
        name="a-worker-with-quite-a-long-name-0", role="worker", instance="a.123456", pid=pid,
        start_time=process_start_time(pid) or 0.0, master="foo",
        functions=[f"function_{number}" for number in range(30)],
    )  # fmt: skip
    publish_record(Folders.find(), record)


@pytest.mark.usefixtures("component")
@pytest.mark.parametrize("columns", [80, 100])
def test_wide_tables_keep_names_whole_and_fit_the_terminal(shell: Shell, columns: int) -> None:
    lines = COLOUR.sub("", on_terminal(shell, "status", columns=columns)).splitlines()
    assert max(map(len, lines)) <= columns
    assert any("a-worker-with-quite-a-long-name-0 " in line for line in lines)
    assert any("function_29" in line.replace(" ", "") for line in lines)


@pytest.mark.usefixtures("component")
def test_states_have_a_colour_and_a_shape_and_the_word(shell: Shell) -> None:
    shown = on_terminal(shell, "status", columns=120)
    assert re.search(r"\x1b\[[0-9;]*32m● ready", shown)


@pytest.mark.usefixtures("component")
@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_without_colour_shape_and_word_stay(shell: Shell, env: dict[str, str]) -> None:
    shown = on_terminal(shell, "status", columns=120, **env)
    assert "● ready" in COLOUR.sub("", shown)
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", shown)


@pytest.mark.usefixtures("component")
def test_shapes_are_ascii_where_the_terminal_knows_no_other(shell: Shell) -> None:
    shown = on_terminal(shell, "status", columns=120, PYTHONIOENCODING="ascii")
    assert "* ready" in COLOUR.sub("", shown)


@pytest.mark.usefixtures("component")
def test_programs_get_plain_text_and_json(shell: Shell) -> None:
    plain = shell.palm("status").stdout
    assert COLOUR.search(plain) is None
    assert "●" not in plain
    json.loads(on_terminal(shell, "status", "--json", columns=20))


# ---- errors


class _FromLater(BaseHTTPRequestHandler):
    """A registry of a palm that is to come."""

    def do_GET(self) -> None:
        self.send_response_only(200)
        self.send_header("Palm-API", "99")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        """Be silent."""


@contextmanager
def later_registry() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _FromLater) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def fails(shell: Shell, *args: str, code: int = 1) -> str:
    """What a command says that fails; it is short, and no stack trace."""
    done = shell.palm(*args, code=code)
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("palm")
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


@pytest.mark.parametrize("url", ["nonsense", "http://host:port/", "ftp://host/", "http://"])
def test_registry_address_that_is_none(shell: Shell, url: str) -> None:
    assert "is not the address of a registry" in fails(shell, "--registry", url, "status")


def test_registry_address_with_a_password_is_refused_and_not_shown(shell: Shell) -> None:
    said = fails(shell, "--registry", "http://ann:secret@host/", "status")
    assert "secret" not in said
    assert "PALM_TOKEN_FILE" in said


def test_registry_that_is_not_there(shell: Shell) -> None:
    said = fails(shell, "--registry", "http://127.0.0.1:9/", "status")
    assert "there is no token for the registry" in said
    assert "palm token add" in said
    privatefile.create(shell.folder / "token", b"palm_" + b"t" * 43)
    shell.env["PALM_TOKEN_FILE"] = str(shell.folder / "token")
    said = fails(shell, "--registry", "http://127.0.0.1:9/", "status")
    assert "Connection refused; palm doctor looks for the reason" in said


def test_registry_of_another_version(shell: Shell) -> None:
    privatefile.create(shell.folder / "token", b"palm_" + b"t" * 43)
    shell.env["PALM_TOKEN_FILE"] = str(shell.folder / "token")
    with later_registry() as url:
        said = fails(shell, "--registry", url, "status")
    assert "version 99" in said
    assert "install the palm of the registry" in said


@pytest.mark.slow
def test_wrong_token(shell: Shell) -> None:
    shell.palm("up")
    privatefile.create(shell.folder / "token", b"palm_" + b"t" * 43)
    shell.env["PALM_TOKEN_FILE"] = str(shell.folder / "token")
    said = fails(shell, "status")
    assert "token" in said
    del shell.env["PALM_TOKEN_FILE"]


@pytest.mark.parametrize("command", ["up", "status", "gc"])
def test_folder_where_nothing_can_be_written(shell: Shell, command: str) -> None:
    shell.env["PALM_STATE_DIR"] = "/proc/palm"
    assert "set PALM_STATE_DIR to a folder that you may write to" in fails(shell, command)


def test_log_level_that_is_none(shell: Shell) -> None:
    shell.env["PALM_LOG_LEVEL"] = "LOUD"
    assert "no such level: 'LOUD'" in fails(shell, "up")


def test_reader_that_has_had_enough(shell: Shell) -> None:
    command = f"{sys.executable} -m palm --help | head -1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; for i in 1 2 3; do {command}; done"],
        env=shell.env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.count("usage: palm") == 3


@pytest.mark.parametrize("env", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"TERM": "dumb"}])
def test_letters_that_the_terminal_lacks(shell: Shell, env: dict[str, str]) -> None:
    shell.env |= env
    said = fails(shell, "logs", "--grep", "ü(", "foo")
    assert "is not a regular expression" in said


@pytest.mark.slow
@pytest.mark.parametrize("command", [("top",), ("master", "--name", "foo"), ("tap", "none")])
def test_interrupt_shows_no_stack_trace(shell: Shell, command: tuple[str, ...]) -> None:
    process = shell.start(*command)
    # Anywhere in its beginning, while modules are being loaded: it has set no handler yet.
    until(lambda: _has_begun(process.pid))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    assert process.returncode in (0, 130, -signal.SIGINT)


def _has_begun(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
            return "msgspec" in file.read()
    except FileNotFoundError:
        return True
