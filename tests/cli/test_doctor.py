"""Each thing is broken for real, the doctor says so, and what it advises mends it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from palm._version import __version__
from palm.doctor import CHECKS, Finding, Patient, examine, files, jupyter
from palm.doctor.finding import ok
from palm.doctor.proxies import goes_past
from palm.doctor.software import is_older
from palm.files import privatefile
from palm.runner.local import runner_pid
from palm.runner.registry import read_registry
from palm.runtime.folders import Folders
from palm.runtime.records import (
    ComponentRecord,
    process_start_time,
    publish_record,
    read_record,
)
from palm.transport.keys import RoleKey, ensure_keys
from tests.cli.conftest import Shell, wait_for_line
from tests.cli.test_gc import age
from tests.support.cluster import until

Found = dict[str, list[dict[str, str]]]


def doctor(shell: Shell, *options: str, code: int = 0) -> Found:
    """What it says, by check."""
    found: Found = {}
    for each in json.loads(shell.palm("doctor", "--json", *options, code=code).stdout):
        found.setdefault(each["check"], []).append(each)
    return found


def only(found: Found, check: str) -> dict[str, str]:
    (each,) = found[check]
    return each


def wrong(found: Found) -> set[str]:
    """The checks that found something."""
    return {check for check, all_of in found.items() if any(e["state"] != "ok" for e in all_of)}


def follow(advice: str) -> None:
    """Do what it says."""
    subprocess.run(shlex.split(advice), check=True, timeout=60)


def make_folders() -> Folders:
    folders = Folders.find()
    ensure_keys(folders.keys)
    return folders


def test_nothing_is_wrong_with_new_folders_and_none_is_made(shell: Shell) -> None:
    folders = Folders.locate()
    found = doctor(shell)
    assert wrong(found) == set()
    assert set(found) == set(CHECKS)
    assert not folders.run.exists()
    assert not folders.state.exists()


@pytest.mark.slow
def test_nothing_is_wrong_with_a_cluster_that_runs(shell: Shell) -> None:
    shell.palm("up")
    shell.palm("master", "--name", "foo", "-d")
    found = doctor(shell)
    assert wrong(found) == set()
    assert "runs on 1 node" in only(found, "cluster")["found"]
    assert "parts are there" in only(found, "page")["found"]
    assert only(found, "clock")["found"] == "the registry's clock says the same as ours"
    assert "1 component here" in only(found, "versions that run")["found"]


def test_table_says_what_to_do(shell: Shell) -> None:
    folders = make_folders()
    key = folders.keys / "worker.json"
    key.chmod(0o644)
    done = shell.palm("doctor", code=1)
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["CHECK", "STATE", "FOUND"]
    assert f"  to do: chmod 600 {key}" in lines
    assert lines[-1] == "2 problems, no warnings"


def test_key_that_others_can_read_is_found_and_the_advice_mends_it(shell: Shell) -> None:
    key = make_folders().keys / "client.json"
    key.chmod(0o644)
    found = doctor(shell, code=1)
    assert wrong(found) == {"keys", "files"}
    assert only(found, "keys")["advice"] == only(found, "files")["advice"] == f"chmod 600 {key}"
    follow(only(found, "keys")["advice"])
    assert wrong(doctor(shell)) == set()


def test_no_secret_is_shown(shell: Shell) -> None:
    folders = make_folders()
    key = msgspec.json.decode((folders.keys / "owner.json").read_bytes(), type=RoleKey)
    (folders.keys / "worker.json").write_bytes(msgspec.json.encode(key))
    shell.env["http_proxy"] = "http://ann:secret-word@proxy:3128"
    shell.env["PALM_REGISTRY"] = "http://ann:secret-word@127.0.0.1:9/"
    shell.env["PALM_TOKEN_FILE"] = str(folders.state / "token")
    privatefile.create(folders.state / "token", b"palm_" + b"t" * 40)
    for options in ((), ("--json",)):
        done = shell.palm("doctor", *options, code=1)
        for secret in (key.curve_secretkey, "secret-word", "t" * 40):
            assert secret not in done.stdout + done.stderr


def test_key_pair_that_does_not_match_is_found_and_the_advice_mends_it(shell: Shell) -> None:
    folders = make_folders()
    file = folders.keys / "worker.json"
    key = msgspec.json.decode(file.read_bytes(), type=RoleKey)
    owner = msgspec.json.decode((folders.keys / "owner.json").read_bytes(), type=RoleKey)
    mixed = msgspec.structs.replace(key, curve_secretkey=owner.curve_secretkey)
    file.write_bytes(msgspec.json.encode(mixed))
    each = only(doctor(shell, code=1), "keys")
    assert "do not belong together" in each["found"]
    assert f"remove the folder {folders.keys}" in each["advice"]
    follow(f"rm -r {folders.keys}")
    ensure_keys(folders.keys)
    assert wrong(doctor(shell)) == set()


def test_old_keys_are_told(shell: Shell) -> None:
    folders = make_folders()
    for role in ("owner", "client", "worker"):
        file = folders.keys / f"{role}.json"
        key = msgspec.json.decode(file.read_bytes(), type=RoleKey)
        key = msgspec.structs.replace(key, created="2020-01-01T00:00:00Z")
        file.write_bytes(msgspec.json.encode(key))
    each = only(doctor(shell), "keys")
    assert each["state"] == "warning"
    assert f"rm -r {folders.keys}" in each["advice"]


@pytest.mark.parametrize("which", ["run", "state"])
def test_folder_that_is_open_to_others_is_found_and_the_advice_mends_it(
    shell: Shell, which: str
) -> None:
    folder = getattr(make_folders(), which)
    folder.chmod(0o755)
    each = only(doctor(shell, code=1), f"{which} folder")
    assert "open to other users (mode 755)" in each["found"]
    follow(each["advice"])
    assert wrong(doctor(shell)) == set()


def test_folder_that_everybody_can_exchange_is_found(shell: Shell, tmp_path: Path) -> None:
    parent = tmp_path / "open"
    parent.mkdir()
    shell.env["PALM_STATE_DIR"] = str(parent / "state")
    shell.palm("status")
    parent.chmod(0o777)
    each = only(doctor(shell, code=1), "state folder")
    assert "everybody may rename" in each["found"]
    assert f"chmod o-w {parent}" in each["advice"]


def test_path_that_is_too_long_for_sockets_is_found(shell: Shell, tmp_path: Path) -> None:
    shell.env["PALM_RUN_DIR"] = str(tmp_path / ("x" * 100))
    each = only(doctor(shell, code=1), "socket paths")
    assert each["advice"] == "set PALM_RUN_DIR to a folder with a shorter path"
    del shell.env["PALM_RUN_DIR"]


def test_disk_of_another_machine_is_found(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/a / ext4 rw 0 0\n"
        f"host:/home {tmp_path} nfs4 rw 0 0\n"
        f"/dev/b {tmp_path}/own xfs rw 0 0\n"
        f"/dev/c {tmp_path}/with\\040space btrfs rw 0 0\n"
    )
    kinds = [
        files.filesystem_of(path, mounts)
        for path in (Path("/usr"), tmp_path / "a", tmp_path / "own" / "b", tmp_path / "with space")
    ]
    assert kinds == ["ext4", "nfs4", "xfs", "btrfs"]


@pytest.mark.slow
def test_killed_registry_and_runner_are_found_and_the_advice_mends_it(shell: Shell) -> None:
    shell.palm("up")
    folders = Folders.find()
    runner, record = runner_pid(folders), read_registry(folders)
    assert runner is not None
    assert record is not None
    os.kill(runner, signal.SIGKILL)
    until(lambda: runner_pid(folders) is None)
    found = doctor(shell, code=1)
    assert only(found, "cluster")["found"].endswith("has no runner here")
    os.kill(record.pid, signal.SIGKILL)
    until(lambda: not record.is_running)
    each = only(doctor(shell, code=1), "registry")
    assert f"(pid {record.pid}) was killed" in each["found"]
    assert each["advice"].startswith("palm up ")
    shell.palm("up")
    until(lambda: not wrong(doctor(shell)))


@pytest.mark.slow
def test_token_of_another_registry_is_found(shell: Shell) -> None:
    shell.palm("up")
    token = Folders.find().state / "tokens" / "owner"
    good = token.read_bytes()
    token.write_bytes(b"palm_" + b"x" * 43 + b"\n")
    found = doctor(shell, code=1)
    assert "does not take our token" in only(found, "registry")["found"]
    token.write_bytes(good)
    assert only(doctor(shell), "registry")["state"] == "ok"


def test_token_that_others_can_read_is_found_and_the_advice_mends_it(shell: Shell) -> None:
    token = shell.folder / "token"
    privatefile.create(token, b"palm_" + b"x" * 43)
    token.chmod(0o640)
    shell.env["PALM_TOKEN_FILE"] = str(token)
    each = only(doctor(shell, code=1), "token")
    assert each["advice"] == f"chmod 600 {token}"
    follow(each["advice"])
    assert only(doctor(shell), "token")["state"] == "ok"
    shell.env["PALM_TOKEN_FILE"] = str(shell.folder / "none")
    assert "cannot be read" in only(doctor(shell, code=1), "token")["found"]


def test_proxy_that_is_in_the_way_is_found_and_the_advice_mends_it(shell: Shell) -> None:
    shell.env["HTTP_PROXY"] = "http://ann:pass@proxy:3128/"
    shell.env.pop("NO_PROXY", None)
    shell.env.pop("no_proxy", None)
    each = only(doctor(shell), "proxies")
    assert each["state"] == "warning"
    assert "HTTP_PROXY is http://proxy:3128/" in each["found"]
    for part in shlex.split(each["advice"])[1:]:
        name, _, value = part.partition("=")
        shell.env[name] = value
    assert only(doctor(shell), "proxies")["state"] == "ok"


@pytest.mark.parametrize(
    ("host", "text", "past"),
    [
        ("127.0.0.1", "", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "localhost, 127.0.0.0/8", True),
        ("head.lab", ".lab", True),
        ("head.lab", "lab:80", True),
        ("slab", "lab", False),
        ("head.lab", "*", True),
    ],
)
def test_hosts_that_no_proxy_names(host: str, text: str, past: bool) -> None:
    assert goes_past(host, {"NO_PROXY": text}) is past


class _Late(BaseHTTPRequestHandler):
    """A registry whose clock is an hour behind."""

    def do_GET(self) -> None:
        body = json.dumps({"status": "ok", "version": "0.0.9", "api": 2, "api_oldest": 1}).encode()
        bodies = {"/health": body, "/": b'<script src="static/gone.js"></script>'}
        body = bodies.get(self.path, b"[]")
        self.send_response_only(404 if self.path.startswith("/static/") else 200)
        self.send_header("Date", formatdate(time.time() - 3600, usegmt=True))
        self.send_header("Palm-Api", "2")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Be silent."""


@contextmanager
def late_registry() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Late) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def test_clock_and_version_that_differ_from_the_registrys_are_found(shell: Shell) -> None:
    privatefile.create(shell.folder / "token", b"palm_" + b"t" * 43)
    shell.env["PALM_TOKEN_FILE"] = str(shell.folder / "token")
    with late_registry() as url:
        found = doctor(shell, "--registry", url, code=1)
    assert "s behind ours" in only(found, "clock")["found"]
    assert "timedatectl" in only(found, "clock")["advice"]
    each = only(found, "versions that run")
    assert each["found"] == f"the registry is palm 0.0.9, this is {__version__}"


@pytest.mark.slow
def test_certificate_that_ends_soon_is_told(shell: Shell) -> None:
    folders = Folders.find()
    for days, state in ((800, "ok"), (5, "warning")):
        pem = certificate(shell.folder, days)
        registry = shell.start(
            "registry", "--json", "--certfile", str(pem), "--keyfile", str(pem.with_suffix(".key"))
        )
        wait_for_line(registry, "url")
        each = only(doctor(shell), "certificate")
        assert each["state"] == state
        assert f"good for {days - 1} more days" in each["found"]
        registry.terminate()
        registry.wait(30)
    assert read_registry(folders) is None


def certificate(folder: Path, days: int) -> Path:
    """A certificate for this machine, good for so many days, and its key next to it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{days}.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    privatefile.replace(path.with_suffix(".key"), private)
    return path


def test_page_that_lacks_a_part_is_found(shell: Shell) -> None:
    privatefile.create(shell.folder / "token", b"palm_" + b"t" * 43)
    shell.env["PALM_TOKEN_FILE"] = str(shell.folder / "token")
    with late_registry() as url:
        each = only(doctor(shell, "--registry", url, code=1), "page")
    assert each["found"] == "the page lacks parts: static/gone.js answers 404"


@pytest.mark.slow
def test_registry_that_all_can_read_along_with_is_found(shell: Shell) -> None:
    registry = shell.start(
        "registry", "--json", "--host", "0.0.0.0", "--i-understand-this-exposes-code-execution"
    )
    wait_for_line(registry, "url")
    each = doctor(shell)["addresses"][0]
    assert each["state"] == "warning"
    assert "the registry listens at 0.0.0.0:" in each["found"]
    assert "without TLS" in each["found"]
    assert "--tls" in each["advice"]
    registry.terminate()
    registry.wait(30)


def test_component_of_another_version_is_found(shell: Shell) -> None:
    pid = os.getpid()
    record = ComponentRecord(
        name="old", role="master", instance="old.123456", pid=pid,
        start_time=process_start_time(pid) or 0.0, version="0.0.1",
        endpoints={"pull": "tcp://192.0.2.7:4000"},
    )  # fmt: skip
    publish_record(Folders.find(), record)
    found = doctor(shell)
    assert only(found, "versions that run")["advice"] == "palm restart old"
    assert only(found, "addresses")["found"] == "old at 192.0.2.7:4000, with CURVE"


def test_ports_that_others_have_are_found_and_free_ones_mend_it(shell: Shell) -> None:
    config = shell.folder / "node.toml"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        config.write_text(f'ports = "{port}-{port}"')
        each = only(doctor(shell, "--config", str(config), code=1), "ports")
        assert each["found"] == f"0 of 1 ports from {port} to {port} are free"
        assert f"end what has {port}" in each["advice"]
    assert only(doctor(shell, "--config", str(config)), "ports")["state"] == "ok"


def test_config_that_cannot_be_read_is_a_usage_of_one_sentence(shell: Shell) -> None:
    done = shell.palm("doctor", "--config", "none.toml", code=1)
    assert done.stderr == "palm: --config: none.toml cannot be read: No such file or directory\n"


@pytest.mark.slow
def test_what_a_killed_component_left_is_found_and_gc_mends_it(shell: Shell) -> None:
    master = shell.start("master", "--name", "foo")
    wait_for_line(master, "ready")
    until(lambda: read_record(Folders.find(), "foo"))
    master.kill()
    master.wait(10)
    age(Folders.find().run)
    each = only(doctor(shell), "left by the dead")
    assert each["state"] == "warning"
    assert "1 record, 1 socket" in each["found"]
    assert each["advice"] == "palm gc removes it"
    shell.palm("gc")
    assert wrong(doctor(shell)) == set()


def test_another_palm_that_comes_first_is_found(shell: Shell) -> None:
    other = shell.folder / "bin"
    other.mkdir()
    command = other / "palm"
    command.write_text("#!/opt/other/bin/python3\n")
    command.chmod(0o755)
    shell.env["PATH"] = f"{other}{os.pathsep}{shell.env['PATH']}"
    each = only(doctor(shell), "other palms")
    assert each["state"] == "warning"
    assert "/opt/other/bin/python3" in each["found"]


def test_few_open_files_are_found(shell: Shell) -> None:
    command = ["bash", "-c", 'ulimit -n 256; exec "$0" -m palm doctor --json', sys.executable]
    done = subprocess.run(
        command, env=shell.env, capture_output=True, text=True, timeout=60, check=True
    )
    found = {each["check"]: each for each in json.loads(done.stdout)}
    assert found["open files"]["state"] == "warning"


@pytest.mark.parametrize(("proxy", "state"), [("", "warning"), ("4.1", "ok")])
def test_hub_without_a_way_for_browsers_is_found(
    proxy: str, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jupyter, "version_of", {"jupyter-server-proxy": proxy}.get)
    hub = {"JUPYTERHUB_SERVICE_PREFIX": "/user/ann/"}
    [found] = jupyter.check_server(Patient(Folders.locate(), environ=hub))
    assert found.state == state
    assert "/user/ann/" in found.found
    assert ("pip install jupyter-server-proxy" in found.advice) == (not proxy)


def test_check_that_fails_or_hangs_is_told_and_holds_up_no_other() -> None:
    over = threading.Event()

    def hang(patient: Patient) -> list[Finding]:
        over.wait(60)
        return []

    def fail(patient: Patient) -> list[Finding]:
        raise OSError("the disk is gone")

    def work(patient: Patient) -> list[Finding]:
        return [ok("fine")]

    checks = {"hang": hang, "fail": fail, "work": work}
    found = {each.check: each for each in examine(Patient(Folders.locate()), checks, limit=0.2)}
    over.set()
    assert found["hang"].found == "no answer within 0.2 s"
    assert found["fail"].found == "it cannot be checked: OSError: the disk is gone"
    assert found["work"].state == "ok"
    assert {found["hang"].state, found["fail"].state} == {"problem"}


@pytest.mark.parametrize(
    ("have", "least", "older"),
    [
        ("27.3.0", "26.0", False),
        ("6.4", "6.4.0", False),
        ("2.0.9", "2.1", True),
        ("4.0rc1", "4", False),
    ],
)
def test_versions_are_compared_by_their_numbers(have: str, least: str, older: bool) -> None:
    assert is_older(have, least) is older
