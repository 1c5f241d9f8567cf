"""TLS: a certificate of its own or a given one, whom clients trust, and where it then listens."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from palm.errors import ConfigError
from palm.registry_api.client import RegistryClient, Unreachable, Untrusted
from palm.runner.registry import find_registry
from palm.runtime.folders import Folders
from palm.runtime.records import is_running
from palm_registry.certificate import RENEW_BEFORE, Certificate, needs_renewal, own_names
from palm_registry.settings import Settings
from tests.support.registry import Browser, RegistryProcess, RegistryThread, Runner, piece, spec


@pytest.fixture
def secure(palm_home: Path) -> Iterator[RegistryThread]:
    running = RegistryThread(palm_home, tls=True).start()
    yield running
    running.stop()


def pem(home: Path) -> Path:
    return home / "state" / "tls" / "registry.crt"


def make(
    folder: Path, names: tuple[str, ...], issuer: tuple[Any, Any] | None = None
) -> tuple[Path, Path]:
    """Make a certificate as an organisation's authority would, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    now = datetime.now(UTC)
    signer = issuer[1] if issuer else key
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer[0].subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=9))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )
    folder.mkdir(exist_ok=True)
    paths = folder / "given.crt", folder / "given.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    return paths


def test_all_that_clients_do_works_over_tls(secure: RegistryThread, palm_home: Path) -> None:
    assert secure.url.startswith("https://127.0.0.1:")
    with secure.client(ca_file=pem(palm_home)) as client:
        client.create_cluster("c")
        client.declare("c", spec("a"))
        runner = Runner(client, "c").join()
        runner.run_all()
        assert client.cluster_status("c").ready
        with client.live("c", ("output",), since="start") as feed:
            client.send_output("c", [piece(0, b"x" * 300_000)])
            got = b""
            while len(got) < 300_000:
                frame = feed.next_frame(20)
                assert frame is not None
                got += b"".join(record.raw for record in frame.data)
        assert client.login_url().startswith("https://")
        assert client.info().fingerprint.count(":") == 31


def test_its_files_are_private_and_the_next_start_uses_them_again(
    secure: RegistryThread, palm_home: Path
) -> None:
    files = [*(palm_home / "state" / "tls").iterdir()]
    assert sorted(file.name for file in files) == ["registry.crt", "registry.key"]
    assert {file.stat().st_mode & 0o077 for file in files} == {0}
    assert pem(palm_home).parent.stat().st_mode & 0o077 == 0
    before = pem(palm_home).read_bytes()
    secure.stop()
    secure.start()
    assert pem(palm_home).read_bytes() == before


def test_registry_json_names_the_certificate_and_who_reads_it_trusts_it(
    secure: RegistryThread, palm_home: Path
) -> None:
    record = json.loads((palm_home / "run" / "registry.json").read_text())
    shown = x509.load_pem_x509_certificate(pem(palm_home).read_bytes())
    assert record["certfile"] == str(pem(palm_home))
    assert (
        record["fingerprint"].replace(":", "").lower() == shown.fingerprint(hashes.SHA256()).hex()
    )
    client = find_registry(Folders.find())
    assert client is not None
    with client:
        assert client.cluster_list() == []


def test_a_fingerprint_is_enough_in_any_writing_and_another_one_is_not(
    secure: RegistryThread,
) -> None:
    assert secure.registry is not None
    known = secure.registry.info().fingerprint
    for text in (known, known.replace(":", "").lower()):
        with secure.client(fingerprint=text) as client:
            assert client.cluster_list() == []
    wrong = known.replace("A", "B").replace("1", "2")
    with secure.client(fingerprint=wrong, retry=0.0) as client:
        with pytest.raises(Untrusted, match="fingerprint") as refused:
            client.cluster_list()
        assert secure.token not in str(refused.value)


def test_who_does_not_know_the_certificate_says_nothing_to_who_shows_it(
    secure: RegistryThread, palm_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, _ = make(tmp_path / "other", ("localhost",))
    for options in ({}, {"ca_file": other}):
        with (
            secure.client(retry=0.0, **options) as client,
            pytest.raises(Untrusted, match="proves it to be the registry"),
        ):
            client.cluster_list()
    monkeypatch.setenv("PALM_CA_FILE", str(pem(palm_home)))
    with secure.client() as client:
        assert client.cluster_list() == []


def test_the_token_is_not_sent_to_an_impostor(tmp_path: Path) -> None:
    """Somebody listens at the registry's address with a certificate of his own."""
    path, key = make(tmp_path, ("localhost",))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)
    known, _ = make(tmp_path / "known", ("localhost",))
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def listen() -> None:
            connection, _ = listener.accept()
            connection.settimeout(10)
            with connection:
                try:
                    with context.wrap_socket(connection, server_side=True) as secure:
                        heard.append(secure.recv(65536))
                except OSError:
                    pass

        thread = threading.Thread(target=listen)
        thread.start()
        url = f"https://localhost:{listener.getsockname()[1]}/"
        with (
            RegistryClient(url, "t" * 43, ca_file=known, retry=0.0) as client,
            pytest.raises(Unreachable),
        ):
            client.cluster_list()
        thread.join(20)
    assert b"".join(heard) == b""


def test_a_browser_is_logged_in_by_a_cookie_for_tls_only(
    secure: RegistryThread, palm_home: Path
) -> None:
    with secure.client(ca_file=pem(palm_home)) as client:
        path = client.login_url().removeprefix(secure.url)
    browser = Browser(secure.url, ca_file=str(pem(palm_home)))
    answer = browser.ask("GET", f"/{path}")
    assert answer.status == 303
    cookie = answer.headers["Set-Cookie"]
    assert "Secure" in cookie
    assert "HttpOnly" in cookie
    session = {"Cookie": cookie.partition(";")[0]}
    assert browser.ask("GET", "/api/clusters", headers=session).status == 200
    same, other = secure.url.rstrip("/"), secure.url.rstrip("/").replace("https", "http")
    assert browser.ask("GET", "/", headers={**session, "Origin": same}).status == 200
    assert browser.ask("GET", "/", headers={**session, "Origin": other}).status == 403


def test_plain_http_at_its_port_gets_nothing(secure: RegistryThread) -> None:
    port = int(secure.url.split(":")[2].strip("/"))
    with socket.create_connection(("127.0.0.1", port), 10) as plain:
        plain.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with suppress(ConnectionResetError):
            assert b"HTTP/" not in plain.recv(4096)


def test_a_client_follows_when_the_certificate_is_renewed_while_all_goes_on(
    secure: RegistryThread, palm_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert secure.registry is not None
    certificate = secure.registry._certificate
    assert certificate is not None
    with secure.client(ca_file=pem(palm_home)) as client:
        assert client.cluster_list() == []
        before = certificate.fingerprint
        assert certificate.refresh() is False
        later = datetime.now(UTC) + timedelta(days=825) - RENEW_BEFORE + timedelta(minutes=1)
        monkeypatch.setattr("palm_registry.certificate._now", lambda: later)
        assert certificate.refresh() is True
        # From the future to this machine's clock: one that is good now takes its place.
        monkeypatch.undo()
        assert certificate.refresh() is True
        assert certificate.fingerprint != before
        client.close()
    with secure.client(ca_file=pem(palm_home)) as client:
        assert client.cluster_list() == []


def test_a_certificate_is_another_when_its_end_is_near_or_a_name_is_missing(
    tmp_path: Path,
) -> None:
    now = datetime.now(UTC)
    day = timedelta(days=1)
    assert not needs_renewal(now - day, now + RENEW_BEFORE + day, now)
    assert needs_renewal(now - day, now + RENEW_BEFORE - day, now)
    assert needs_renewal(now + day, now + 900 * day, now)

    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    settings = {"run": tmp_path, "state": state, "tls": True}
    first = Certificate(Settings(**settings)).fingerprint  # type: ignore[arg-type]
    assert Certificate(Settings(**settings)).fingerprint == first  # type: ignore[arg-type]
    more = Certificate(Settings(**settings, hostnames=("palm.example.org",)))  # type: ignore[arg-type]
    assert more.fingerprint != first
    names = x509.load_pem_x509_certificate(more.path.read_bytes()).extensions
    covered = names.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "palm.example.org" in covered.get_values_for_type(x509.DNSName)


def test_the_names_of_a_registry_are_those_by_which_it_is_reached() -> None:
    assert own_names("127.0.0.1", ()) == ("localhost", "127.0.0.1", "::1")
    found = own_names("192.0.2.7", ("palm.example.org:8443", "palm"))
    assert {"192.0.2.7", "palm.example.org", "palm", socket.gethostname().lower()} <= {*found}


def test_a_given_certificate_is_used_and_one_that_has_no_key_is_refused(
    palm_home: Path, tmp_path: Path
) -> None:
    path, key = make(tmp_path / "one", ("localhost",))
    _, other = make(tmp_path / "two", ("localhost",))
    running = RegistryThread(palm_home, certfile=path, keyfile=key, host="localhost").start()
    with running.client(ca_file=path) as client:
        assert client.cluster_list() == []
    running.stop()
    refused: list[dict[str, Path]] = [
        {"certfile": path},
        {"certfile": path, "keyfile": other},
        {"certfile": key, "keyfile": key},
        {"certfile": tmp_path / "none"},
    ]
    for options in refused:
        with pytest.raises(ConfigError, match="cannot be used"):
            RegistryThread(palm_home, **options).start()


def test_a_certificate_that_somebody_else_signed_is_trusted_by_itself(
    palm_home: Path, tmp_path: Path
) -> None:
    authority, authority_key = make(tmp_path / "authority", ("An authority",))
    issuer = (
        x509.load_pem_x509_certificate(authority.read_bytes()),
        serialization.load_pem_private_key(authority_key.read_bytes(), None),
    )
    path, key = make(tmp_path / "leaf", ("localhost",), issuer)
    running = RegistryThread(palm_home, certfile=path, keyfile=key, host="localhost").start()
    for trusted in (path, authority):
        with running.client(ca_file=trusted) as client:
            assert client.cluster_list() == []
    running.stop()


def test_a_name_that_the_certificate_does_not_have_is_told_with_the_way_out(
    palm_home: Path, tmp_path: Path
) -> None:
    path, key = make(tmp_path, ("palm.example.org",))
    running = RegistryThread(palm_home, certfile=path, keyfile=key).start()
    with (
        running.client(ca_file=path, retry=0.0) as client,
        pytest.raises(Untrusted, match="--hostname"),
    ):
        client.cluster_list()
    running.stop()


def test_a_certificate_cannot_be_made_without_its_package(
    palm_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cryptography", None)
    with pytest.raises(ConfigError, match=r"palm-cluster\[tls\]"):
        RegistryThread(palm_home, tls=True).start()


# ---- where it listens


def test_it_listens_elsewhere_only_with_tls_or_by_the_option_that_says_what_that_means(
    tmp_path: Path,
) -> None:
    folders = {"run": tmp_path, "state": tmp_path}
    for host in ("0.0.0.0", "::", "192.0.2.1", "palm.example.org", "127.0.0.1.example.org"):
        with pytest.raises(ConfigError, match="SSH tunnel"):
            Settings(**folders, host=host)
        assert Settings(**folders, host=host, tls=True).secure
        assert not Settings(**folders, host=host, exposed=True).secure
    for host in ("127.0.0.1", "127.0.0.2", "localhost", "::1"):
        assert Settings(**folders, host=host).host == host


def test_at_all_addresses_it_is_known_by_each_of_them_and_by_names_that_were_given(
    palm_home: Path,
) -> None:
    running = RegistryThread(
        palm_home, tls=True, host="0.0.0.0", hostnames=("palm.example.org", "proxy:8443")
    ).start()
    port = running.url.split(":")[2].strip("/")
    assert running.url == f"https://palm.example.org:{port}/"
    bearer = {"Authorization": f"Bearer {running.token}"}
    for address in ("127.0.0.1", "127.0.0.2"):
        context = ssl.create_default_context(cafile=str(pem(palm_home)))
        context.check_hostname = False  # 127.0.0.2 is nobody's name
        allowed = [f"{address}:{port}", f"localhost:{port}", "palm.example.org",
                   f"palm.example.org:{port}", "proxy:8443", "127.0.0.1:1"]  # fmt: skip
        refused = [f"192.0.2.9:{port}", "proxy", f"proxy:{port}", "evil.example", "127.0.0.2:1"]
        for host in allowed + refused:
            head = f"GET /api/clusters HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
            head += f"Authorization: {bearer['Authorization']}\r\n\r\n"
            with (
                socket.create_connection((address, int(port)), 10) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as secure,
            ):
                secure.sendall(head.encode())
                status = int(secure.recv(65536).split()[1])
            assert (status == 200) is (host in allowed), host
    running.stop()


def test_a_proxy_that_speaks_tls_for_it_is_known_by_the_name_that_was_given(
    palm_home: Path,
) -> None:
    running = RegistryThread(palm_home, hostnames=("palm.example.org",)).start()
    browser = Browser(running.url, {"Authorization": f"Bearer {running.token}"})
    outside = {"Host": "palm.example.org"}
    for origin, status in (
        ("https://palm.example.org", 200),
        ("http://palm.example.org", 200),
        ("https://evil.example", 403),
        ("https://palm.example.org:444", 403),
    ):
        headers = {**outside, "Origin": origin}
        assert browser.ask("GET", "/api/clusters", headers=headers).status == status, origin
    running.stop()


@pytest.mark.slow
def test_with_tls_too_nothing_is_lost_when_it_starts_anew(
    palm_home: Path, process: RegistryProcess
) -> None:
    process.arguments = ("--tls",)
    process.start()
    url = process.record["url"]
    assert url.startswith("https://")
    failures: list[BaseException] = []
    stop = threading.Event()
    with process.client(retry=20.0) as client:
        client.create_cluster("c")
        offset = [0]

        def write() -> None:
            while not stop.is_set():
                try:
                    ack = client.send_output("c", [piece(offset[0], b"x" * 100)])[0]
                    offset[0] = ack.durable_offset
                except BaseException as error:  # noqa: BLE001 - the test looks at it
                    failures.append(error)

        writer = threading.Thread(target=write)
        writer.start()
        with client.live("c", ("output",), since="start") as feed:
            before = process.record["run"]
            client.restart_registry()
            while process.record["run"] == before:
                assert process.process is not None
                assert process.process.poll() is None
            at_least = offset[0] + 1000
            while offset[0] < at_least and not failures:
                stop.wait(0.01)
            stop.set()
            writer.join(20)
            got = 0
            while got < offset[0]:
                frame = feed.next_frame(20)
                assert frame is not None
                got += sum(len(record.raw) for record in frame.data)
        assert failures == []
        assert got == offset[0]
        assert process.record["url"] == url


@pytest.mark.slow
def test_one_that_was_killed_is_started_again_as_it_was_told_to_run(
    palm_home: Path, process: RegistryProcess
) -> None:
    process.arguments = ("--tls", "--retain-age", "7d", "--linger", "60")
    process.start()
    process.kill()
    client = find_registry(Folders.find(), revive=True)
    assert client is not None
    with client:
        assert client.cluster_list() == []
        info = client.info()
        assert info.url == process.record["url"]
        assert (info.retain_age, info.linger) == (7 * 86400.0, 60.0)
        assert info.fingerprint
    record = process.record
    os.kill(record["pid"], signal.SIGTERM)
    end = time.monotonic() + 20
    while is_running(record["pid"], record["start_time"]):
        assert time.monotonic() < end
        time.sleep(0.02)
