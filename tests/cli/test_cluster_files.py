"""Cluster files by command: check, diff, apply, history and rollback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from palm.cli.absence import absent
from palm.cli.arguments import build_parser
from palm.cli.commands import apply
from palm.cli.failures import CommandFailed
from palm.clusters import ClusterFile, attach
from palm.files import privatefile
from palm.spec.diff import Diff
from tests.cli.conftest import WORK, Shell
from tests.support.cluster import until

FILE = """\
[components.foo]
role = "master"
module = "palm"
args = ["master", "--name", "foo"]

[components.w]
role = "worker"
module = "palm"
args = ["worker", "work.py", "--master", "foo", "--name", "${{name}}"]
replicas = {replicas}
needs = ["foo"]
"""

IDLE = """\
[components.idle]
command = ["sleep", "600"]
replicas = {replicas}
"""

FOO = FILE[: FILE.index("[components.w]")]

WRONG = """\
[components.foo]
role = "mastr"
module = "palm"

[components.w]
script = "w.py"
replicas = "two"
needs = ["fo"]
"""


# check


def test_all_errors_of_a_file_are_told_with_their_places(shell: Shell) -> None:
    shell.write("c.toml", WRONG)
    done = shell.palm("check", "c.toml", code=1)
    lines = done.stderr.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["c.toml:2", "c.toml:7", "c.toml:8"]
    assert "there is no role 'mastr' (did you mean 'master'?)" in lines[0]
    assert "components.w.replicas: expected a whole number, got a text" in lines[1]
    assert "did you mean 'foo'?" in lines[2]
    assert done.stdout == ""
    found = json.loads(shell.palm("--json", "check", "c.toml", code=1).stdout)
    assert found["valid"] is False
    assert [(each["line"], each["key"]) for each in found["problems"]] == [
        (2, "components.foo.role"), (7, "components.w.replicas"), (8, "components.w.needs"),
    ]  # fmt: skip


def test_file_that_is_well_says_what_it_would_start_without_any_registry(shell: Shell) -> None:
    shell.write("work.py", WORK)
    shell.write("c.toml", FILE.format(replicas=2))
    done = shell.palm("check", "c.toml")
    lines = done.stdout.splitlines()
    assert lines[0] == "c.toml: 2 components, 3 processes in cluster 'default'"
    assert lines[3].split() == [
        "w", "worker", "2", *("python", "-m", "palm", "worker", "work.py", "--master", "foo"),
        "--name", "'${name}'", "foo", "palm",
    ]  # fmt: skip
    assert done.stderr == ""
    assert not list(Path(shell.env["PALM_RUN_DIR"]).glob("registry*")), "it asked a registry"
    found = json.loads(shell.palm("check", "c.toml", "--json").stdout)
    assert [each["name"] for each in found["components"]] == ["foo", "w"]


@pytest.mark.parametrize(
    ("component", "line", "said"),
    [
        ('script = "wrok.py"', 2, "there is no file"),
        ('script = "wrok.py"', 2, "did you mean work.py?"),
        ('script = "work.py"\ncwd = "nowhere"', 3, "there is no folder"),
        ('script = "work.py"\npython = "pyhton9"', 3, "there is no interpreter pyhton9"),
        ('command = ["slep", "1"]', 2, "there is no program slep"),
        ('module = "json.toool"', 2, "there is no module 'json.toool'"),
        ('entry = "work:doubel"', 2, "work.py has no function 'doubel' (did you mean double?)"),
        (
            'module = "palm"\nrole = "worker"\nargs = ["worker", "wrk.py", "--master", "foo"]',
            4,
            "there is no file wrk.py (did you mean work.py?)",
        ),
        (
            'module = "palm"\nrole = "worker"\nargs = ["worker", "work.py:No", "--master", "foo"]',
            4,
            "work.py has no class 'No'",
        ),
        (
            'module = "palm"\nrole = "worker"\nargs = ["worker", "work.py", "--master", "fo"]',
            4,
            "there is no component 'fo' in this file (did you mean foo?)",
        ),
        ('module = "palm"\nargs = ["master", "--name", "x", "--pbu", "y"]', 3, "mean --pub?"),
    ],
)  # fmt: skip
def test_what_is_not_here_is_a_warning(
    tmp_path: Path, component: str, line: int, said: str
) -> None:
    (tmp_path / "work.py").write_text(WORK)
    text = f"[components.c]\n{component}\n\n{FOO}"
    file = ClusterFile(text, "c.toml", str(tmp_path))
    config, errors = file.check()
    assert config is not None and not errors
    (warning,) = absent(file, config)
    assert str(warning).startswith(f"c.toml:{line}: components.c.")
    assert said in str(warning)


def test_what_is_here_is_no_warning(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(WORK)
    for way in ('script = "work.py"', 'module = "json.tool"', 'entry = "work:double"',
                'command = ["sh"]', 'module = "work"', 'entry = "os.path:join"'):  # fmt: skip
        file = ClusterFile(f"[components.c]\n{way}\n", "c.toml", str(tmp_path))
        config, errors = file.check()
        assert config is not None and not errors
        assert absent(file, config) == [], way


def test_warnings_fail_only_where_they_are_to(shell: Shell) -> None:
    shell.write("c.toml", 'components.c = { script = "wrok.py" }\n')
    done = shell.palm("check", "c.toml")
    assert "palm: warning: c.toml:1: components.c.script: there is no file" in done.stderr
    shell.palm("check", "c.toml", "--strict", code=1)


def test_file_may_come_on_stdin(shell: Shell) -> None:
    text = IDLE.format(replicas=1).replace("sleep", "slep")
    done = subprocess.run(
        [sys.executable, "-m", "palm", "check", "-"], input=text, capture_output=True, text=True,
        env=shell.env, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.startswith("<stdin>: 1 component, 1 process in cluster")
    assert "palm: warning: <stdin>:2: components.idle.command: there is no program" in done.stderr


# what needs a cluster


def test_without_a_cluster_the_way_to_one_is_told(shell: Shell) -> None:
    shell.write("c.toml", IDLE.format(replicas=1))
    for words in (["apply", "c.toml"], ["diff", "c.toml"]):
        done = shell.palm(*words, code=3)
        text = "palm: there is no cluster 'default' (to start it: palm up c.toml)\n"
        assert done.stderr == text
    for words in (["history"], ["rollback"], ["diff"], ["nodes"], ["scale", "w", "1"]):
        done = shell.palm(*words, code=3)
        assert done.stderr == "palm: there is no cluster 'default' (to start it: palm up)\n"
    assert shell.palm("apply", "absent.toml", code=1).stderr.startswith(
        "palm: absent.toml cannot be read: No such file"
    )
    assert shell.palm("diff", "absent.toml", code=2).stderr.startswith(
        "palm: absent.toml cannot be read: No such file"
    )


@pytest.mark.parametrize(
    ("words", "code"), [("apply c.toml", 1), ("diff c.toml", 2), ("scale w 1", 1), ("events", 1)]
)
def test_registry_that_does_not_answer_is_told_in_a_line(
    shell: Shell, words: str, code: int
) -> None:
    shell.write("c.toml", IDLE.format(replicas=1))
    # Without a token, that is what is told: nobody is asked then.
    privatefile.create(shell.folder / "token", b"palm_" + b"t" * 43)
    shell.env["PALM_TOKEN_FILE"] = str(shell.folder / "token")
    done = shell.palm("--registry", "http://127.0.0.1:9/", *words.split(), code=code)
    assert done.stderr.startswith("palm: the registry at http://127.0.0.1:9/ does not answer: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_versions_from_the_first_to_the_way_back(cluster_shell: Shell) -> None:
    shell = cluster_shell
    shell.palm("up")
    assert "no cluster file was in force" in shell.palm("history").stdout
    assert "there is nothing to go back to" in shell.palm("rollback", code=1).stderr
    shell.palm("diff", code=3)
    shell.write("work.py", WORK)
    shell.write("c.toml", FILE.format(replicas=1))

    done = shell.palm("diff", "c.toml", code=1)
    assert done.stdout == "+ foo: started\n+ w: started, once foo is ready\n"
    done = shell.palm("apply", "c.toml", "--dry-run")
    assert done.stdout == "+ foo: started\n+ w: started, once foo is ready\n"
    assert shell.status() == []
    lines = shell.palm("apply", "c.toml").stdout.splitlines()
    assert lines[2] == "version 1 is in force"
    assert lines[-1].split()[:4] == ["w", "worker", "ready", "1/1"]
    assert shell.palm("diff", "c.toml").stdout == "nothing changes\n"

    shell.write("c.toml", FILE.format(replicas=2) + 'env = { A = "1" }\n')
    done = shell.palm("diff", "c.toml", "-u", code=1)
    assert done.stdout.startswith(
        "~ w: restarted, 1 -> 2 replicas\n    replicas: 1 -> 2\n"
        '    env.A: none -> "1"\n  unchanged: foo\n'
    )
    assert '+env = { A = "1" }\n' in done.stdout
    before = shell.processes()
    done = shell.palm("--json", "apply", "c.toml", "--note", "more of it")
    found = json.loads(done.stdout)
    assert (found["version"], found["changed"]) == (2, True)
    assert [each["name"] for each in found["diff"]["changed"]] == ["w"]
    assert found["status"]["ready"] is True
    after = shell.processes()
    assert after["foo"]["pid"] == before["foo"]["pid"], "what is not changed runs on"
    assert after["w-0"]["pid"] != before["w-0"]["pid"]

    shell.palm("scale", "w", "1")
    done = shell.palm("diff", code=1)
    assert done.stdout.startswith("~ w: scaled 1 -> 2"), "by hand since the file was in force"

    done = shell.palm("rollback", "--dry-run")
    assert done.stdout.startswith("back to version 1, from 2:\n~ w: restarted")
    lines = shell.palm("rollback").stdout.splitlines()
    assert "version 3 is in force" in lines
    rows = [line.split() for line in shell.palm("history").stdout.splitlines()]
    assert rows[0] == ["VERSION", "TIME", "BY", "FILE", "CHANGES", "NOTE"]
    assert rows[1][:2] == ["*", "3"] and rows[1][-4:] == ["back", "to", "version", "1"]
    assert rows[2][0] == "2" and rows[2][-3:] == ["more", "of", "it"]
    assert rows[3][0] == "1" and rows[3][-2:] == ["the", "first"]
    versions = json.loads(shell.palm("history", "--json").stdout)["versions"]
    assert [(each["version"], each["in_force"]) for each in versions] == [
        (3, True), (2, False), (1, False),
    ]  # fmt: skip
    assert shell.palm("history", "1").stdout == FILE.format(replicas=1)
    assert shell.palm("diff", "1", "3").stdout == "nothing changes\n"
    done = shell.palm("history", "9", code=3)
    assert "has no version 9 of its file (there are versions 1 to 3)" in done.stderr
    for words in (["rollback", "9"], ["diff", "9"], ["diff", "1", "9"]):
        shell.palm(*words, code=3)


@pytest.mark.slow
def test_history_is_there_when_all_has_ended(shell: Shell) -> None:
    shell.write("c.toml", IDLE.format(replicas=1))
    shell.palm("up", "c.toml")
    shell.palm("down")
    assert "the first" in shell.palm("history").stdout
    assert shell.palm("history", "1").stdout == IDLE.format(replicas=1)


@pytest.mark.slow
def test_what_is_not_ready_in_time_is_told_with_its_last_words(cluster_shell: Shell) -> None:
    shell = cluster_shell
    shell.palm("up")
    shell.write("c.toml", 'components.c = { command = ["sh", "-c", "echo no luck >&2; exit 3"] }\n')
    text = Path(shell.folder, "c.toml").read_text()
    shell.write("c.toml", text.replace(" }", ', ready = "delay:30" }'))
    done = shell.palm("apply", "c.toml", "--timeout", "1.5", code=4)
    assert "missing: 1 of c" in done.stdout
    assert "c wrote last:\n\nno luck" in done.stderr
    shell.palm("apply", "c.toml", "--no-wait")
    shell.write("c.toml", text.replace(" }", ', ready = "delay:30", restart = "never" }'))
    done = shell.palm("apply", "c.toml", code=1)
    assert "no luck" in done.stderr, "what has failed for good is not waited for"
    shell.write("c.toml", IDLE.format(replicas=1))
    done = shell.palm("apply", "c.toml")
    assert "- c: stopped and forgotten" in done.stdout


@pytest.mark.slow
def test_what_others_run_does_not_make_a_file_fail(cluster_shell: Shell) -> None:
    shell = cluster_shell
    shell.palm("up")
    cluster = attach()
    assert cluster is not None
    with cluster:
        shell.write("bad.py", "raise SystemExit(3)\n")
        cluster.start("worker", "bad", str(shell.folder / "bad.py"), args=("--master", "x"))
        until(lambda: cluster["bad"].state in ("failed", "backing-off"))
    shell.write("c.toml", IDLE.format(replicas=1))
    shell.palm("apply", "c.toml", "--timeout", "20")


@pytest.mark.slow
def test_two_people_do_not_overwrite_one_another(
    cluster_shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster_shell.palm("up")
    mine = cluster_shell.folder / "mine.toml"
    mine.write_text(IDLE.format(replicas=1))
    monkeypatch.setenv("PALM_CLUSTER", os.environ["PALM_CLUSTER"])

    def another_is_faster(diff: Diff) -> None:
        cluster = attach()
        assert cluster is not None
        with cluster:
            cluster.put(ClusterFile(IDLE.format(replicas=2)))

    monkeypatch.setattr(apply, "show_diff", another_is_faster)
    arguments: Namespace = build_parser().parse_args(["apply", str(mine)])
    with pytest.raises(CommandFailed) as caught:
        apply.run(arguments)
    assert caught.value.code == 1
    assert str(caught.value) == (
        "nothing was changed: version 1 was put in force by owner since you looked"
        " (see palm history 1 and palm diff, then try again)"
    )
    found = json.loads(cluster_shell.palm("history", "--json").stdout)["versions"]
    assert len(found) == 1
