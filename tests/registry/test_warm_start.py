"""How a registry starts that has been there before: with little, and soon."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from tests.support.registry import RegistryProcess

pytestmark = pytest.mark.slow

#: What only a first start, TLS, another database, or nobody needs.
UNWANTED = (
    "alembic",
    "cryptography",
    "palm.cli",
    "palm.registry_api.client",
    "palm.runner",
    "palm.runtime",
    "palm.transport",
    "palm_registry.migrations.m",
    "pandas",
    "psycopg",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.ext",
    "sqlalchemy.orm",
    "tornado.autoreload",
    "tornado.curl_httpclient",
    "tornado.testing",
    "tornado.wsgi",
    "zmq",
)


def loaded_by(process: RegistryProcess) -> list[str]:
    """Start a registry, ask it something, end it, and return the modules that it had loaded."""
    extra, names = process.home / "extra", process.home / "modules.txt"
    extra.mkdir(exist_ok=True)
    # Not -X importtime: that does not see what is imported by a name.
    (extra / "sitecustomize.py").write_text(
        "import atexit, pathlib, sys\n"
        f"note = pathlib.Path({str(names)!r}).write_text\n"
        "atexit.register(lambda: note('\\n'.join(sys.modules)))\n"
    )
    process.environment["PYTHONPATH"] = os.pathsep.join([str(extra), process.pythonpath])
    process.start()
    with process.client() as client:
        client.create_cluster("c")
        assert client.cluster_status("c").state == "alive"
    assert process.stop() == 0
    return names.read_text().splitlines()


def test_a_warm_start_loads_neither_the_steps_of_the_schema_nor_what_nobody_uses(
    process: RegistryProcess,
) -> None:
    assert "palm_registry.migrations.m0001" in loaded_by(process)  # the first one needs it
    warm = loaded_by(process)
    assert "sqlalchemy" in warm
    assert "tornado.web" in warm
    assert [name for name in warm if name.startswith(UNWANTED)] == []


def test_a_warm_start_answers_soon(process: RegistryProcess) -> None:
    """In the time that Python needs to load its libraries, and a moment."""
    process.start()
    process.stop()
    libraries = "import asyncio, msgspec, sqlalchemy, tornado.web, tornado.websocket"
    took, floor = [], []
    for _ in range(3):
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", libraries], check=True)
        floor.append(time.monotonic() - began)
        began = time.monotonic()
        process.start()
        with process.client() as client:
            client.cluster_list()
        took.append(time.monotonic() - began)
        process.stop()
    print(f"start to first answer {min(took):.2f} s, libraries alone {min(floor):.2f} s")
    assert min(took) < 3 * min(floor) + 2.0
