"""Components that scale themselves: what is read from samples, decided, shown and kept."""

from __future__ import annotations

from palm.registry_api.client import RegistryClient
from palm.registry_api.schema import (
    ComponentStatus,
    FunctionSample,
    NodeSamples,
    Sample,
    Scaling,
)
from palm.spec.autoscale import Range, Reading
from palm_registry.service.scaling import reading_of
from tests.support.nodes import eventually
from tests.support.registry import Runner, spec, status_of


def worker(functions: list[str], actual: int = 2) -> ComponentStatus:
    return ComponentStatus(
        name="w", role="worker", desired=2, actual=actual, state="ready", master="foo",
        functions=functions,
    )  # fmt: skip


def master(*functions: FunctionSample) -> Sample:
    return Sample(name="foo", component="foo", functions=list(functions))


def test_what_waits_is_that_of_the_functions_it_serves() -> None:
    samples = [
        master(
            FunctionSample(name="a", queued=100, running=6, rate_out=10.0, mean=0.1),
            FunctionSample(name="b", queued=50, running=0, rate_out=0.0, mean=0.4),
            FunctionSample(name="c", queued=999, running=9, rate_out=9.0, mean=9.0),
        )
    ]
    found = reading_of(worker(["a", "b"]), samples)
    assert found is not None
    assert found.waiting == 100 + 50 + (6 - 2)
    assert found.busy == 1.0
    assert found.service is not None
    assert abs(found.service - (106 * 0.1 + 50 * 0.4) / 156) < 1e-9


def test_nothing_is_known_without_a_master_that_says_something() -> None:
    assert reading_of(worker(["a"]), []) is None
    assert reading_of(worker([]), [master()]) is None
    assert reading_of(worker(["a"]), [master()]) == Reading(0, 0.0, None)


def test_load_is_shown_and_followed_and_the_number_outlives_the_registry(
    client: RegistryClient, runner: Runner
) -> None:
    client.declare("c", spec("foo", role="master"))
    client.declare("c", spec("w", role="worker", scales=Range(2, 16), replicas=2))
    shown = client.component("c", "w").scaling
    assert shown == Scaling(least=2, most=16, text="0 of 2..16: what waits is not known")

    def report(queued: int) -> None:
        answer = runner.beat()
        wanted = {a.spec.name: a for a in answer.components}
        statuses = [status_of(wanted["foo"].spec)]
        statuses += [
            status_of(wanted["w"].spec, number, functions=["f"], master="foo")
            for number in wanted["w"].numbers
        ]
        runner.beat(*statuses, full=True)
        counted = FunctionSample(name="f", queued=queued, rate_out=20.0, mean=0.1)
        client.send_metrics(
            "c", "here", NodeSamples(session=runner.session, samples=[master(counted)])
        )

    def desired_after_report() -> int:
        report(450)
        return client.component("c", "w").desired

    assert eventually(lambda: desired_after_report() == 4)  # it wants 7, and at most doubles
    found = client.component("c", "w")
    assert found.scaling is not None
    assert (found.scaling.wants, found.scaling.waiting) == (7, 450)
    assert found.scaling.text == f"{found.actual} of 2..16, wants 7: 450 waiting"
    assert found.scaling.text in found.conditions
    events = [e.text for e in client.events("c")[0] if e.kind == "component.scaled"]
    assert events == ["w goes from 2 to 4 of 2..16: 450 waiting"]
    again = client.declare("c", spec("w", role="worker", scales=Range(2, 16), replicas=2))
    assert again.desired == 4
    other = spec("w", role="worker", scales=Range(2, 16), replicas=2, env={"A": "1"})
    assert client.declare("c", other).desired == 4
    client.stop("c", "w")
    assert client.declare("c", other).desired == 2
