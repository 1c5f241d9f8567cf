"""``%palm master``, over a session that only writes down what it is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from palm_jupyter.magics import PalmMagics


class Session:
    def master(self, name: str, **options: Any) -> dict[str, Any]:
        return {"name": name} | options


@pytest.mark.parametrize(
    ("line", "args"),
    [
        ("master --name foo", []),
        ("master --name foo --durable", ["--durable"]),
        ("master --name foo --durable --pull tcp://127.0.0.1:0",
         ["--pull", "tcp://127.0.0.1:0", "--durable"]),
    ],
)  # fmt: skip
def test_options_of_a_master_reach_its_process(line: str, args: list[str]) -> None:
    shell: Any = None
    session: Any = Session()
    found = PalmMagics(shell, session).palm(line)  # type: ignore[call-arg]
    assert found == {"name": "foo", "args": args, "replace": False, "kernel": False}
