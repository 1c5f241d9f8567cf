"""Completion, by the words themselves and in shells that run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from palm.cli.completing import candidates
from palm.runtime.folders import Folders
from palm.runtime.records import ComponentRecord, process_start_time, publish_record
from tests.cli.conftest import Shell


def publish(
    name: str, role: str, *functions: str, cluster: str = "default", master: str = ""
) -> None:
    """Let a component run, as far as others can see: this process is it."""
    pid = os.getpid()
    record = ComponentRecord(
        name=name, role=role, instance=f"{name}.123456", pid=pid, master=master,
        start_time=process_start_time(pid) or 0.0, functions=list(functions),
    )  # fmt: skip
    publish_record(Folders.find(cluster=cluster), record)


@pytest.fixture
def names(palm_home: Path) -> None:
    publish("foo", "master")
    publish("foo-worker-0", "worker", "double", "half", master="foo")
    publish("night-master", "master", cluster="night")


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("stat", {"status"}),
        ("--clu", {"--cluster"}),
        ("--cluster ", {"default", "night"}),
        ("--cluster=n", {"--cluster=night"}),
        ("--cluster = n", {"night"}),
        ("--cluster =", {"default", "night"}),
        ("--cluster = night logs ", {"night-master"}),
        ("logs ", {"foo", "foo-worker", "foo-worker-0"}),
        ("logs foo-", {"foo-worker", "foo-worker-0"}),
        ("--cluster night logs ", {"night-master"}),
        ("logs --cluster night ", {"night-master"}),
        ("logs -n 5 --grep x f", {"foo", "foo-worker", "foo-worker-0"}),
        ("logs -n ", set()),
        ("stop foo ", {"foo-worker", "foo-worker-0"}),
        ("stop --gr", {"--grace"}),
        ("token ", {"add", "list", "revoke"}),
        ("token add x --scope ", {"admin", "operator", "runner", "viewer"}),
        ("worker words.py --master ", {"foo", "foo-worker", "foo-worker-0"}),
        ("worker wo", set()),
        ("top --sort c", {"cpu"}),
        ("completion ", {"bash", "fish", "zsh"}),
        ("nonsense ", set()),
        ("comp", {"completion"}),
    ],
)
def test_last_word_is_completed(line: str, found: set[str]) -> None:
    words = line.split(" ")
    shown = set(candidates(words))
    assert shown == found


@pytest.mark.usefixtures("names")
def test_dead_components_are_not_offered() -> None:
    record = Folders.find().components / "gone.json"
    record.write_text('{"name": "gone", "role": "master", "pid": 4194305}')
    (Folders.find().components / "broken.json").write_text("{")
    assert "gone" not in candidates(["logs", ""])


def test_shells_are_asked_without_a_registry_and_nothing_is_made(shell: Shell) -> None:
    folders = Folders.locate()
    assert shell.palm("complete", "--", "logs", "").stdout == ""
    assert not folders.run.exists()
    assert not folders.state.exists()


def test_completion_is_quick(shell: Shell) -> None:
    publish("foo", "master")
    shell.palm("complete", "--", "logs", "f")  # compiles what is not compiled yet
    command = [sys.executable, "-m", "palm", "complete", "--", "logs", "f"]
    spent = []
    for _ in range(5):
        before = os.times()
        done = subprocess.run(command, env=shell.env, capture_output=True, text=True, timeout=30)
        after = os.times()
        assert done.stdout == "foo\n"
        spent.append(after.children_user + after.children_system
                     - before.children_user - before.children_system)  # fmt: skip
    # The processor's time, since this machine may be busy: that of a start, and no more.
    assert min(spent) < 0.5


def tools(shell: Shell) -> Path:
    """A folder with a command palm, as an installation has it."""
    folder = shell.folder / "bin"
    folder.mkdir()
    command = folder / "palm"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m palm "$@"\n')
    command.chmod(0o755)
    return folder


BASH = r"""
source <(palm completion bash)
try() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    _palm
    printf '%s\n' "${COMPREPLY[@]}"
}
complete -p palm
try palm stat
echo --
try palm logs fo
echo --
try palm token add x --scope adm
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_commands_and_names(shell: Shell) -> None:
    publish("foo", "master")
    env = {**shell.env, "PATH": f"{tools(shell)}{os.pathsep}{shell.env['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", BASH], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "complete -o default -F _palm palm", "status", "--", "foo", "--", "admin",
    ]  # fmt: skip


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_at_the_tab_key(shell: Shell) -> None:
    pexpect = pytest.importorskip("pexpect")
    publish("foo-of-the-night", "master")
    env = {**shell.env, "PATH": f"{tools(shell)}{os.pathsep}{shell.env['PATH']}", "PS1": "$ "}
    child = pexpect.spawn("bash", ["--norc", "--noprofile", "-i"], env=env, encoding="utf-8")
    try:
        child.sendline("source <(palm completion bash); echo set-$((20 + 1))")
        child.expect("set-21")
        child.send("palm logs fo\t")
        child.expect("palm logs foo-of-the-night", timeout=30)
    finally:
        child.close(force=True)


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_scripts_are_lawful_for_their_shell(shell: Shell, name: str) -> None:
    script = shell.palm("completion", name).stdout
    assert "complete -- " in script
    if shutil.which(name):
        subprocess.run([name, "-n"], input=script, text=True, check=True, timeout=30)


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh")
def test_zsh_reads_the_script(shell: Shell) -> None:
    env = {**shell.env, "PATH": f"{tools(shell)}{os.pathsep}{shell.env['PATH']}"}
    script = "autoload -U compinit; compinit -u; source <(palm completion zsh); print $_comps[palm]"
    done = subprocess.run(
        ["zsh", "-fc", script], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "_palm\n"


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
def test_fish_completes_names(shell: Shell) -> None:
    publish("foo", "master")
    env = {**shell.env, "PATH": f"{tools(shell)}{os.pathsep}{shell.env['PATH']}"}
    script = "palm completion fish | source; complete -C 'palm logs fo'"
    done = subprocess.run(
        ["fish", "-c", script], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "foo\n"
