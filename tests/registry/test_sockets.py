"""Addresses of sockets go from the node that binds them to those whose components name them."""

from __future__ import annotations

import pytest

from palm.registry_api.client import Refused, RegistryClient
from palm.registry_api.schema import Assignments, NodeJoin
from tests.support.registry import Runner, spec, status_of

ADDRESS = "tcp://192.0.2.7:42000"


def joined(client: RegistryClient, name: str, address: str = "") -> Runner:
    runner = Runner(client, "c", name)
    node = NodeJoin(name=name, address=address or name, cores=2)
    runner.session, runner.generation = client.join("c", node).session, -1
    return runner


@pytest.fixture
def one(client: RegistryClient) -> Runner:
    return joined(client, "one")


@pytest.fixture
def two(client: RegistryClient) -> Runner:
    return joined(client, "two")


def declare(client: RegistryClient, *, user: str = "two") -> None:
    client.declare("c", spec("foo", args=["${socket:foo.pull}"], node="one"))
    client.declare("c", spec("bar", args=["-a", "${socket:foo.pull}"], node=user))


def reached(answer: Assignments) -> dict[str, bool]:
    return {each.spec.name: each.reached for each in answer.components}


def report(runner: Runner, answer: Assignments, **sockets: str) -> Assignments:
    foo = next(each.spec for each in answer.components if each.spec.name == "foo")
    return runner.beat(status_of(foo, sockets=sockets))


def test_alone_nobody_needs_an_address(client: RegistryClient, one: Runner) -> None:
    declare(client, user="one")
    answer = one.beat()
    assert answer.sockets == {}
    assert reached(answer) == {"foo": False, "bar": False}


def test_on_one_of_two_nodes_nobody_needs_an_address(
    client: RegistryClient, one: Runner, two: Runner
) -> None:
    declare(client, user="one")
    answer = one.beat()
    assert answer.sockets == {}
    assert reached(answer) == {"foo": False, "bar": False}
    assert two.beat().sockets == {}


def test_an_address_goes_to_those_who_name_it(
    client: RegistryClient, one: Runner, two: Runner
) -> None:
    declare(client)
    answer = one.beat()
    assert reached(answer) == {"foo": True}
    assert answer.sockets == {}
    assert two.beat().sockets == {"foo.pull": ""}
    report(one, answer, pull=ADDRESS)
    generation = two.generation
    answer = two.beat()
    assert answer.generation > generation  # so one that waits hears of it at once
    assert answer.sockets == {"foo.pull": ADDRESS}
    report(one, one.beat(), pull=ADDRESS)
    assert two.beat().generation == answer.generation
    report(one, one.beat(), pull="tcp://192.0.2.7:42001")
    assert two.beat().sockets == {"foo.pull": "tcp://192.0.2.7:42001"}


def test_an_address_stays_while_its_component_starts_anew(
    client: RegistryClient, one: Runner, two: Runner
) -> None:
    declare(client)
    report(one, one.beat(), pull=ADDRESS)
    client.restart("c", "foo")
    assert two.beat().sockets == {"foo.pull": ADDRESS}


def test_a_component_that_moved_is_where_its_new_node_says(
    client: RegistryClient, one: Runner, two: Runner
) -> None:
    declare(client)
    three = joined(client, "three")
    report(one, one.beat(), pull=ADDRESS)
    client.declare("c", spec("foo", args=["${socket:foo.pull}"], node="three"))
    client.leave("c", "one")
    assert two.beat().sockets == {"foo.pull": ""}
    report(three, three.beat(), pull="tcp://192.0.2.9:42000")
    assert two.beat().sockets == {"foo.pull": "tcp://192.0.2.9:42000"}


def test_a_loopback_address_means_nothing_to_another_machine(
    client: RegistryClient, one: Runner, two: Runner
) -> None:
    declare(client)
    report(one, one.beat(), pull="tcp://127.0.0.1:42000")
    assert two.beat().sockets == {"foo.pull": ""}
    # Nodes of one address are on one machine.
    neighbour = joined(client, "two", "one")
    assert neighbour.beat().sockets == {"foo.pull": "tcp://127.0.0.1:42000"}


def test_what_is_no_address_is_not_handed_on(
    client: RegistryClient, one: Runner, two: Runner
) -> None:
    declare(client)
    report(one, one.beat(), pull="--evil")
    assert two.beat().sockets == {"foo.pull": ""}


def test_what_waits_for_an_address_is_missing_and_says_so(
    client: RegistryClient, one: Runner, two: Runner
) -> None:
    declare(client)
    bar = two.beat().components[0].spec
    why = "waits for the address of foo.pull"
    two.beat(status_of(bar, state="starting", reason=why))
    found = {each.component: each.why for each in client.cluster_status("c").missing}
    assert found["bar"] == f"starting: it {why}"


@pytest.mark.parametrize(
    ("node", "code"),
    [
        (NodeJoin(name="n", labels={"a b": "c"}), "labels"),
        (NodeJoin(name="n", labels={"a": ""}), "labels"),
        (NodeJoin(name="n", cores=-1), "body"),
        (NodeJoin(name="n/"), "name"),
    ],
)
def test_a_node_that_cannot_be_is_refused(
    client: RegistryClient, node: NodeJoin, code: str
) -> None:
    with pytest.raises(Refused) as caught:
        client.join("c", node)
    assert (caught.value.status, caught.value.code) == (400, code)


def test_a_component_with_an_address_for_others_is_known_to_them_by_name(
    client: RegistryClient, one: Runner, two: Runner
) -> None:
    client.declare("c", spec("foo", role="master", node="one"))
    client.declare("c", spec("w", role="worker", node="one"))
    answer = one.beat()
    assert two.beat().peers == {}
    for each in answer.components:
        one.beat(status_of(each.spec))
    assert two.beat().peers == {"foo": ""}
    assert [each.runs for each in client.names("c")] == [True]
    for each in answer.components:
        one.beat(status_of(each.spec, sockets={"node": ADDRESS}))
    assert two.beat().peers == {"foo": ADDRESS}
    assert one.beat().peers == {}
