"""``palm master``."""

from __future__ import annotations

from argparse import Namespace

from palm.cli.failures import OK
from palm.cli.foreground import log_level, tie
from palm.servers import Master

__all__ = ["run"]

_PORTS = ("pull", "pub", "wpush", "wpull", "db")


def run(arguments: Namespace) -> int:
    """Be a master until stopped, or start one in the background."""
    if arguments.detach:
        return _detach(arguments)
    tie()
    master = Master(
        arguments.name,
        pull_address=arguments.pull,
        pub_address=arguments.pub,
        worker_pull_address=arguments.wpull,
        worker_push_address=arguments.wpush,
        db_address=arguments.db,
        log_level=log_level(),
        durable=arguments.durable,
    )
    master.start()
    return OK


def _detach(arguments: Namespace) -> int:
    from palm.cli.background import start  # loads what a component does not need

    addresses = ((f"--{port}", getattr(arguments, port)) for port in _PORTS)
    args = [word for option, address in addresses if address for word in (option, address)]
    args += ["--durable"] if arguments.durable else []
    return start("master", arguments.name, None, args, arguments)
