"""What the owner of a node lets run there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.errors import ConfigError
from palm.spec.allow import KINDS, check_allow, refusal
from palm.spec.component import Code, CodeFile, ComponentSpec

DIGEST = "a" * 64
CODE = Code(folder="/p", files={"w.py": CodeFile(sha256=DIGEST, size=1)})
TWO = Code(folder="/p", files={**CODE.files, "lib.py": CodeFile(sha256="b" * 64, size=1)})
PALM = ["/venv/bin/python", "-m", "palm"]


def spec(**fields: Any) -> ComponentSpec:
    return ComponentSpec(name="foo", **{"cwd": "/p", **fields})


#: What is started, whether it is laid down, and one rule that is enough.
CASES: list[tuple[ComponentSpec, bool, str]] = [
    (spec(command=["ls", "-l"]), False, "command:ls"),
    (spec(argv=["/bin/ls"]), False, "command:/bin/*"),
    (spec(module="pkg.mod"), False, "module:pkg.*"),
    (spec(entry="pkg.mod:main"), False, "entry:pkg.mod:*"),
    (spec(script="/p/w.py"), False, "script:/p/*"),
    (spec(script="/p/w.py"), False, "script"),
    (spec(script="/p/w.py", code=CODE), True, f"sha256:{DIGEST}"),
    (spec(script="/p/w.py", code=CODE), True, "script"),
    (spec(module="palm", args=["master", "--name", "foo"]), False, "palm"),
    (spec(argv=[*PALM, "worker", "/p/w.py:Fast", "--name", "x"], code=CODE), True, "script"),
    (spec(argv=[*PALM, "worker", "pkg.functions:W"]), False, "module:pkg.functions"),
    (spec(argv=[*PALM, "exec", "x"]), False, "command:palm"),
]


@pytest.mark.parametrize(("wanted", "laid", "rule"), CASES)
def test_what_is_listed_runs_and_nothing_else(wanted: ComponentSpec, laid: bool, rule: str) -> None:
    check_allow([rule])
    assert refusal(wanted, None, laid=laid) == ""
    assert refusal(wanted, [rule], laid=laid) == ""
    said = refusal(wanted, [], laid=laid)
    assert said.startswith("the owner of this node does not allow ")
    kind = rule.partition(":")[0]
    assert f"{kind}:" in said or f"{kind})" in said or f"{kind} or" in said


@pytest.mark.parametrize(
    ("wanted", "laid", "allow"),
    [
        (spec(command=["/tmp/ls"]), False, ["command:ls"]),
        (spec(script="/p/../etc/w.py"), False, ["script:/p/*"]),
        (spec(script="../etc/w.py"), False, ["script:/p/*"]),
        (spec(script="/p/w.py", code=CODE), True, ["script:/p/*"]),
        (spec(script="/p/w.py", code=CODE), False, [f"sha256:{DIGEST}"]),
        (spec(script="/p/w.py", code=TWO), True, [f"sha256:{DIGEST}"]),
        (spec(module="pkg.mod", env={"PYTHONPATH": "/tmp"}), False, ["module"]),
        (spec(command=["ls"], env={"LD_PRELOAD": "/tmp/x.so"}), False, ["command"]),
        (spec(module="pkg.mod", python="/tmp/python"), False, ["module"]),
        (spec(script="/p/w.py", kernel=True), False, ["script"]),
        (spec(argv=[*PALM, "worker", "--name", "x", "evil"]), False, ["palm", "module:good"]),
        (spec(argv=[*PALM, "worker", "good", "--push-file", "/x"]), False, ["module:good"]),
    ],
)
def test_45_no_way_leads_around_a_rule(wanted: ComponentSpec, laid: bool, allow: list[str]) -> None:
    assert refusal(wanted, allow, laid=laid)


rules = st.sampled_from(KINDS).flatmap(
    lambda kind: st.just(kind) if kind in ("palm", "kernel") else st.sampled_from(
        [f"{kind}:*", f"{kind}:x", f"{kind}:/p/w.py"]
    )
)  # fmt: skip


@given(st.lists(rules), rules, st.sampled_from(CASES))
def test_another_rule_never_forbids_anything(
    allow: list[str], more: str, case: tuple[ComponentSpec, bool, str]
) -> None:
    wanted, laid, enough = case
    check_allow([*allow, more])
    if not refusal(wanted, allow, laid=laid):
        assert not refusal(wanted, [*allow, more], laid=laid)
    assert not refusal(wanted, [*allow, enough], laid=laid)


@given(st.text(max_size=20))
def test_what_is_of_no_kind_is_an_error(text: str) -> None:
    if text.partition(":")[0] not in KINDS:
        with pytest.raises(ConfigError) as caught:
            check_allow([text])
        assert caught.value.hint
