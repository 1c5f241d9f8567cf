"""``palm gateway`` and ``palm worker --http`` as processes: what they print, and how they end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from palm.cli.arguments import ArgumentsError, build_parser
from palm.gateways import wsgi_app
from tests.gateways.web import TOKEN, Caller, WebServer
from tests.support.cluster import ROOT, ThreadCluster

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(palm_home: Path) -> Iterator[Start]:
    """Start a command; its output can be read."""
    running: list[subprocess.Popen[str]] = []

    def start(*args: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "palm", *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_a_gateway_says_where_it_is_and_ends_with_what_is_under_way(
    cluster: ThreadCluster, start: Start
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait(value: Any) -> Any:
        begun.set()
        assert go_on.wait(30)
        return value

    cluster.master()
    cluster.worker({"wait": wait}, "w")
    process = start("gateway", "--server", "foo", "--json")
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    assert set(said) == {"name", "url", "token_file"}
    token = Path(said["token_file"])
    assert token.stat().st_mode & 0o777 == 0o600
    call = Caller(said["url"], token.read_text().strip())
    connection = call.connect()
    connection.sendall(call.request("/wait", b"1"))
    assert begun.wait(10)
    process.send_signal(signal.SIGTERM)
    go_on.set()
    with connection, connection.makefile("rb") as answers:
        answer = answers.read()
    assert answer.startswith(b"HTTP/1.1 200"), answer
    assert process.wait(10) == 0
    assert process.stdout.read() == ""


@pytest.mark.slow
def test_a_gateway_gives_a_command_to_try_and_never_prints_the_token(
    cluster: ThreadCluster, start: Start
) -> None:
    cluster.master()
    cluster.worker({"double": lambda value: 2 * value}, "w")
    process = start("gateway", "--server", "foo")
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    found = re.search(
        r'curl -H "Authorization: Bearer \$\(cat (\S+)\)".* (http://\S+/)FUNCTION', lines[2]
    )
    assert found is not None, lines
    token = Path(found[1]).read_text().strip()
    assert Caller(found[2], token)("/double", 4).value == 8
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert token not in "".join(lines) + process.stdout.read()


@pytest.mark.slow
def test_a_worker_that_posts_ends_at_once(
    cluster: ThreadCluster, start: Start, web: Callable[..., WebServer], tmp_path: Path
) -> None:
    server = web(wsgi_app({"double": lambda value: 2 * value, "len": len}, token=TOKEN))
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    cluster.master()
    process = start(
        "worker", "--http", server.url, "--master", "foo", "--name", "w", "--pool", "2",
        "--functions", "double", "--token-file", str(token),
    )  # fmt: skip
    client = cluster.client()
    assert client.wait_for_workers(2, 20) == 2
    assert client.eval("foo.double", 4) == 8
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert process.stdout is not None
    said = process.stdout.read()
    assert TOKEN not in said and "Traceback" not in said


@pytest.mark.slow
def test_what_cannot_be_is_said_in_a_sentence(start: Start) -> None:
    process = start("gateway", "--server", "foo", "--host", "0.0.0.0")
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert (
        said.startswith("palm: host: 0.0.0.0 can be reached from elsewhere")
        and "--certfile" in said
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("gateway", "--server"),
        ("gateway --server foo --port 70000", "not a port"),
        ("worker x.py --http http://h", "either a TARGET or --http"),
        ("worker --http http://h --max-tasks 3", "functions that run here"),
        ("worker x.py --pool 3", "belong to --http"),
        ("worker --http http://h --dask h:8786", "one of --http, --dask and --executor"),
        ("worker x.py --dask h:8786 --executor p:make", "either --dask or --executor"),
        ("worker x.py --executor p:make --max-tasks 3", "functions that run here"),
        ("worker x.py --slots 3", "belongs to --dask and --executor"),
        ("worker x.py --functions a", "belong to --http"),
    ],
)
def test_arguments_that_do_not_go_together(line: str, said: str) -> None:
    with pytest.raises(ArgumentsError, match=said):
        build_parser().parse_args(line.split())
