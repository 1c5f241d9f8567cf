"""``%palm master`` and its like, over a session that only writes down what it is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from palm_jupyter.magics import PalmMagics


class Session:
    def component(self, role: str, name: str, target: str | None, **options: Any) -> dict[str, Any]:
        return {"role": role, "name": name, "target": target} | options


def asked(line: str) -> dict[str, Any]:
    shell: Any = None
    session: Any = Session()
    found = PalmMagics(shell, session).palm(line)  # type: ignore[call-arg]
    assert isinstance(found, dict)
    return found


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
    common = {"previous": [], "replace": False, "kernel": False}
    assert asked(line) == {"role": "master", "name": "foo", "target": None, "args": args} | common


@pytest.mark.parametrize(
    ("line", "role", "previous"),
    [
        ("server w.py --name a --pipelined", "server", []),
        ("hub --name a --previous b --replace", "hub", ["b"]),
        ("pipeline w.py --name a --previous b/even --no-to-client", "pipeline", ["b"]),
        ("sink w.py --name a --previous b,c/even --kernel", "sink", ["b", "c"]),
        ("sink w.py --name a --previous b,c --sub tcp://h:1,tcp://h:2", "sink", []),
    ],
)
def test_linked_components_say_who_must_run(line: str, role: str, previous: list[str]) -> None:
    found = asked(line)
    assert (found["role"], found["name"], found["previous"]) == (role, "a", previous)
    assert found["target"] == (None if role == "hub" else "w.py")
    assert found["replace"] is ("--replace" in line) and found["kernel"] is ("--kernel" in line)
