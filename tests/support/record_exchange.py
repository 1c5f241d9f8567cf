"""Record what the client and a runner of this version say to the registry of this version.

``python -m tests.support.record_exchange FILE``, before a version is released: its successor must
serve what is recorded here.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from palm.registry_api.client import Refused, RegistryClient
from tests.support.recorded import Exchange, recording, write
from tests.support.registry import RegistryThread, Runner, piece, spec

FILE = '[components.file]\nrole = "process"\ncommand = ["sleep", "9"]\nreplicas = 2\n'


def everything(client: RegistryClient) -> None:
    """Call each method of the client, as notebooks, commands and runners do."""
    client.health()
    client.create_cluster("c", 60.0)
    client.cluster_list()
    client.view_cluster("c")
    client.lease("c", "notebook", 30.0, linger=120.0)
    runner = Runner(client, "c").join()
    client.nodes("c")
    client.check_config("c", FILE)
    client.set_cluster("c", FILE)
    client.cluster_config("c")
    client.declare("c", spec("foo", owner="notebook"))
    runner.run_all()
    runner.beat(wait=0.1)
    client.cluster_status("c")
    client.components("c")
    client.component("c", "foo")
    client.send_output("c", [piece(0, b"one\ntwo\n"), piece(0, b"\xff\x00", stream="stderr")])
    client.send_output("c", [piece(8, b"three\n")])
    client.send_output("c", [piece(99, b"later\n")])
    page = client.output("c", "foo", lines=2)
    client.output("c", "foo", cursor=page.cursor)
    client.output("c", grep="t")
    _, cursor = client.events("c")
    client.events("c", cursor)
    client.scale("c", "foo", 2)
    client.restart("c", "foo")
    client.stop("c", "foo", 1.0)
    client.start("c", "foo")
    runner.run_all("stopped")
    client.remove("c", "foo")
    client.cluster_reset("c")
    with suppress(Refused):
        client.view_cluster("unknown")
    client.login_url()
    client.release("c", "notebook")
    client.end_cluster("c")
    client.leave("c", "here")
    client.delete_cluster("c")


def main(path: Path) -> None:
    """Record into a file."""
    exchanges: list[Exchange] = []
    with tempfile.TemporaryDirectory(prefix="palm-") as home:
        registry = RegistryThread(Path(home)).start()
        with registry.client() as client, recording(exchanges):
            everything(client)
        registry.stop()
    write(path, exchanges)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
