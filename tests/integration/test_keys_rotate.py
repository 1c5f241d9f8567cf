"""New keys for a cluster that is at work, on two nodes with tcp between them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from palm.clients import Client
from palm.transport.keys import read_keyring
from tests.cli.conftest import Shell
from tests.support.nodes import Runner, eventually
from tests.support.registry import ROOT, RegistryProcess

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
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT}/registry")
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    registry = RegistryProcess(palm_home).start()
    monkeypatch.setenv("PALM_REGISTRY", registry.record["url"])
    monkeypatch.setenv("PALM_TOKEN_FILE", registry.record["token_file"])
    runners = [Runner(palm_home, name) for name in ("n1", "n2")]
    with registry.client() as client:
        client.create_cluster("default")
        try:
            for runner in runners:
                run = palm_home / f"r{runner.name}"
                run.mkdir(mode=0o700)
                with monkeypatch.context() as there:
                    there.setenv("PALM_RUN_DIR", str(run))
                    runner.start("--address", "127.0.0.1")
            client.set_cluster("default", FILE, folder=str(tmp_path))
            assert eventually(lambda: client.cluster_status("default").ready, 40)
            monkeypatch.setenv("PALM_RUN_DIR", str(palm_home / "rn2"))
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
        finally:
            client.end_cluster("default")
            codes = [runner.wait() for runner in runners if runner.process is not None]
    assert codes == [0, 0]
    registry.stop()
