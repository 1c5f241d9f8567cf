"""``palm runner``: what it is told of its machine, before it asks any registry."""

from __future__ import annotations

import pytest

from palm.cli.arguments import build_parser
from palm.cli.commands.runner import node_config
from palm.spec.node import NodeConfig
from tests.cli.conftest import Shell


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--config", "gone.toml"), "palm: --config: gone.toml cannot be read: No such file"),
        (("--config", "node.toml"), "palm: node.toml:2: ports: '9x' is no range"),
        (("--ports", "5-1"), "palm: ports: '5-1' is no range of ports (like \"42000-42999\")"),
        (("--address", "0.0.0.0"), "palm: address: nobody can connect to '0.0.0.0'"),
        (("--name", "a/b"), "palm: name: 'a/b' cannot be the name"),
    ],
)
def test_what_is_wrong_with_a_node_is_told(
    shell: Shell, arguments: tuple[str, ...], said: str
) -> None:
    shell.write("node.toml", "cores = 2\nports = '9x'\n")
    done = shell.palm("runner", *arguments, code=1)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_option_counts_more_than_the_file(shell: Shell) -> None:
    file = shell.folder / "node.toml"
    file.write_text('name = "north"\naddress = "192.0.2.7"\nports = "42000-42999"\ncores = 3\n')
    arguments = ["runner", "--config", str(file), "--name", "south", "--ports", "43000"]
    found = node_config(build_parser().parse_args(arguments))
    assert found == NodeConfig("south", "192.0.2.7", 3, (43000, 43000))
