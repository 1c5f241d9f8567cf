"""Another user of the machine gets nothing from the registry: F37."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.registry import RegistryProcess, piece

pytestmark = [pytest.mark.root, pytest.mark.slow]

NOBODY = 65534

INTRUDER = f"""
import encodings.idna, http.client, json, os, sys

plan = json.loads(sys.stdin.readline())
os.setgroups([])
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
done = {{}}

def attempt(what, act):
    try:
        done[what] = act()
    except OSError as error:
        done[what] = type(error).__name__

def ask(method, path, headers):
    connection = http.client.HTTPConnection("127.0.0.1", plan["port"], timeout=10)
    body = b"{{}}" if method != "GET" else None
    connection.request(method, path, body, {{"Content-Type": "application/json", **headers}})
    answer = connection.getresponse()
    data = answer.read()
    if plan["secret"].encode() in data:
        return "leaked"
    return answer.status

attempt("health", lambda: ask("GET", "/health", {{}}))
for method, path in plan["paths"]:
    for name, headers in plan["headers"].items():
        attempt(f"{{method}} {{path}} {{name}}", lambda: ask(method, path, headers))
for path in plan["files"]:
    attempt(f"read {{path}}", lambda: len(open(path, "rb").read()))
    attempt(f"remove {{path}}", lambda: os.unlink(path))
for path in plan["folders"]:
    attempt(f"list {{path}}", lambda: os.listdir(path))
    attempt(f"write {{path}}", lambda: open(path + "/x", "w").close())
for part in ("environ", "mem", "maps", "fd"):
    name = f"/proc/{{plan['pid']}}/{{part}}"
    attempt(part, lambda: os.listdir(name) if part == "fd" else len(open(name, "rb").read()))
attempt("signal", lambda: os.kill(plan["pid"], 15))
with open(f"/proc/{{plan['pid']}}/cmdline") as file:
    done["cmdline"] = plan["token"] in file.read()
print(json.dumps(done))
"""


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may enter; pytest's own would shield what is to be tested."""
    path = Path(tempfile.mkdtemp(prefix="palm-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def test_another_user_gets_nothing(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALM_RUN_DIR", str(public / "run"))
    process = RegistryProcess(public)
    previous = os.umask(0)  # the registry makes its files private whatever the umask
    try:
        process.start()
        with process.client() as client:
            client.create_cluster("c")
            client.send_output("c", [piece(0, b"a secret line\n")])
            client.add_token("ci", "admin")
            token = Path(process.record["token_file"]).read_text().strip()
            private = [public / "run", public / "state"]
            private += [path for folder in list(private) for path in folder.rglob("*")]
            plan = {
                "port": process.port,
                "pid": process.record["pid"],
                "secret": "secret line",
                "token": token,
                "paths": [
                    ("GET", "/"),
                    ("GET", "/api/clusters"),
                    ("GET", "/api/clusters/c/output"),
                    ("GET", "/api/clusters/c/live"),
                    ("DELETE", "/api/clusters/c"),
                    ("POST", "/api/clusters/c/lease"),
                    ("PUT", "/api/clusters/c/components/foo"),
                    ("POST", "/login"),
                    ("GET", "/api/tokens"),
                    ("POST", "/api/tokens"),
                    ("DELETE", "/api/tokens/ci"),
                    ("GET", "/api/users"),
                    ("GET", "/api/audit"),
                ],
                "headers": {
                    "nothing": {},
                    "guess": {"Authorization": "Bearer " + "A" * 43},
                    "hash": {"Authorization": "Bearer " + "0" * 64},
                    "cookie": {"Cookie": f"palm-session-{process.port}={'A' * 43}"},
                },
                "files": [str(path) for path in private if path.is_file()],
                "folders": [str(path) for path in private if path.is_dir()],
            }
            answer = subprocess.run(
                [sys.executable, "-c", INTRUDER],
                input=json.dumps(plan) + "\n",
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert answer.returncode == 0, answer.stderr
            done = json.loads(answer.stdout)
            assert client.view_cluster("c").state == "alive"
            assert [made.name for made in client.tokens()] == ["ci", "owner"]
            guesses = [entry for entry in client.audit().entries if entry.status in (401, 429)]
    finally:
        os.umask(previous)
        process.kill()
    assert done.pop("health") == 200  # the control: the intruder reaches the registry
    assert done.pop("cmdline") is False
    asked = {what: how for what, how in done.items() if what.split()[0].isupper()}
    # Guesses are counted (F46), and by so many they are no more than refused.
    assert {how for what, how in asked.items() if what.endswith("nothing")} == {401}
    assert set(asked.values()) <= {401, 429}
    assert len(asked) == 52
    assert {entry.code for entry in guesses} <= {"too-many"}
    others = {what: how for what, how in done.items() if what not in asked}
    assert len(others) >= 20
    assert {what: how for what, how in others.items() if how != "PermissionError"} == {}
