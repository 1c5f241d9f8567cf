"""``palm token`` and ``palm user``, and what commands do with a token of somebody else."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from palm.registry_api.client import RegistryClient
from tests.cli.conftest import Shell
from tests.support.cluster import until
from tests.support.registry import spec

pytestmark = pytest.mark.slow

SAY = ["sh", "-c", "echo hello; exec sleep 99"]


def record(home: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((home / "run" / "registry.json").read_text())
    return found


def owner(home: Path) -> RegistryClient:
    where = record(home)
    return RegistryClient(where["url"], Path(where["token_file"]).read_text().strip())


def test_a_token_is_made_shown_once_listed_and_revoked(shell: Shell, palm_home: Path) -> None:
    shell.palm("up")
    token = shell.palm("token", "add", "ci", "--scope", "viewer", "--expires", "30d").stdout.strip()
    assert token.startswith("palm_")
    listed = shell.palm("token", "list").stdout
    assert token not in listed
    line = next(line for line in listed.splitlines() if line.startswith("ci"))
    assert line.split() == [
        "ci", "viewer", "owner", "all", *line.split()[4:7], "never", "in", "30", "d",
    ]  # fmt: skip
    with RegistryClient(record(palm_home)["url"], token) as ci:
        assert [info.key for info in ci.cluster_list()] == ["default"]
    assert "already" in shell.palm("token", "add", "ci", "--scope", "viewer", code=1).stderr
    assert shell.palm("token", "revoke", "ci").stdout == "ci: revoked\n"
    missing = shell.palm("token", "revoke", "ownr", code=3).stderr
    assert "did you mean 'owner'?" in missing
    found = json.loads(shell.palm("token", "list", "--json").stdout)["tokens"]
    assert [(each["name"], each["scope"]) for each in found] == [("owner", "admin")]


def test_a_token_goes_into_a_file_of_ones_own_or_is_not_made(shell: Shell, palm_home: Path) -> None:
    shell.palm("up")
    command = ("token", "add", "ci", "--scope", "operator", "--out")
    file = shell.folder / "ci.token"
    told = json.loads(shell.palm(*command, str(file), "--json").stdout)
    assert told["token_file"] == str(file)
    assert "token" not in told
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for path in (file, shell.folder / "nowhere" / "x"):
        failed = shell.palm(
            "token", "add", "other", "--scope", "viewer", "--out", str(path), code=1
        )
        assert "cannot be written" in failed.stderr
    with owner(palm_home) as client:
        assert [token.name for token in client.tokens()] == ["ci", "owner"]


def test_a_user_has_an_own_cluster_and_leaves_the_registry_running(
    shell: Shell, palm_home: Path
) -> None:
    shell.palm("up")
    assert "palm token add" in shell.palm("user", "add", "alice").stdout
    file = shell.folder / "alice.token"
    shell.palm("token", "add", "a", "--user", "alice", "--scope", "operator", "--out", str(file))
    url = record(palm_home)["url"]

    shell.env |= {"PALM_TOKEN_FILE": str(file), "PALM_REGISTRY": url}
    assert "cannot be used" in shell.palm("up", code=1).stderr  # the owner's
    shell.palm("--cluster", "hers", "up")
    assert "not enough" in shell.palm("token", "list", code=1).stderr
    assert shell.palm("--cluster", "hers", "down").stdout == "the cluster 'hers' has ended\n"

    del shell.env["PALM_TOKEN_FILE"], shell.env["PALM_REGISTRY"]
    with owner(palm_home) as client:
        states = {info.key: (info.owner, info.state) for info in client.cluster_list()}
        assert states == {"default": ("owner", "alive"), "hers": ("alice", "ended")}
        client.delete_cluster("hers")
    listed = json.loads(shell.palm("user", "list", "--json").stdout)["users"]
    assert [(u["name"], u["clusters"]) for u in listed] == [("alice", []), ("owner", ["default"])]
    assert shell.palm("user", "remove", "alice").stdout == "alice: removed\n"
    shell.palm("user", "remove", "alice", code=3)
    shell.palm("down")


def test_a_runner_works_with_a_token_that_may_nothing_else(shell: Shell, palm_home: Path) -> None:
    """And stops being a node when the token is revoked; its processes are its own."""
    shell.palm("token", "list")  # a registry is there
    with owner(palm_home) as client:
        client.create_cluster("far", linger=None)
        file = shell.folder / "node.token"
        shell.palm(
            "--cluster", "far", "token", "add", "node", "--scope", "runner", "--out", str(file)
        )
        shell.env |= {"PALM_TOKEN_FILE": str(file), "PALM_REGISTRY": client.url}
        assert "not enough" in shell.palm("--cluster", "far", "status", code=1).stderr
        runner = shell.start("--cluster", "far", "runner")
        client.declare("far", spec("say", command=SAY, ready="delay:0"))
        until(lambda: client.cluster_status("far").ready)
        until(lambda: "hello" in "".join(r.text or "" for r in client.output("far").records))
        assert next(t for t in client.tokens() if t.name == "node").used is not None
        client.revoke_token("node")
        until(lambda: not any(node.alive for node in client.nodes("far")))
        runner.terminate()  # what it started goes on, and ends with the cluster
        runner.wait(20)
