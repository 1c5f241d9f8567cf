"""New keys for a cluster that is at work, on two nodes with tcp between them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from palm.clients import Client
from palm.transport.keys import read_keyring
from tests.cli.conftest import Shell
from tests.support.nodes import two_nodes

FILE = """
[components.foo]
role = "master"
module = "palm"
args = ["master", "--name", "foo"]
node = "n1"
[components.w]
role = "worker"
module = "palm"
args = ["worker", "functions.py", "--master", "foo", "--name", "${name}"]
node = "n2"
replicas = 2
"""
FUNCTIONS = """
import time

def double(x):
    time.sleep(0.002)
    return 2 * x
"""
COUNT = 6000


@pytest.mark.slow
def test_47_keys_change_under_load_and_no_message_is_lost(
    palm_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    with two_nodes(palm_home, tmp_path, FILE, monkeypatch):
        folder = palm_home / "state" / "default" / "keys"
        before = read_keyring(folder)
        with Client("foo") as caller:
            job = caller.job("foo.double", range(COUNT))
            found = [next(job) for _ in range(100)]
            shell = Shell(tmp_path)
            done = json.loads(shell.palm("--json", "keys", "rotate", "--overlap", "1m").stdout)
            assert done["restarted"] == ["foo", "w"]
            assert job.progress.done < COUNT  # it was at work meanwhile
            found += list(job)
        assert sorted(found) == [2 * x for x in range(COUNT)]
        after = read_keyring(folder)
        assert after.owner.curve_publickey != before.owner.curve_publickey
        with Client("foo") as caller:
            assert caller.eval("foo.double", 21) == 42
