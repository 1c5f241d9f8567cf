"""Components as notebooks and cluster files want them, and what runners are told."""

from __future__ import annotations

import pytest

from palm.errors import ConfigError
from palm.registry_api.client import Refused, RegistryClient
from tests.support.registry import Runner, piece, spec, status_of

pytestmark = pytest.mark.both_databases

SEED = """\
[cluster]
name = "seed"
[components.foo]
role = "master"
script = "master.py"
args = ["--name", "foo", "--db", "${socket:foo.db}"]
[components.foo-worker]
role = "worker"
script = "worker.py"
args = ["--db", "${socket:foo.db}"]
replicas = 2
needs = ["foo"]
"""


def test_a_cluster_file_comes_up_in_the_order_of_its_needs(
    client: RegistryClient, runner: Runner
) -> None:
    stored = client.set_cluster("c", SEED, "seed.toml", "/home/me")
    assert stored.version == 1
    first = runner.beat()
    assert [(a.spec.name, a.numbers) for a in first.components] == [("foo", [0])]
    assert first.components[0].spec.script == "/home/me/master.py"
    second = runner.beat(*runner.statuses(first), full=True)
    assert [(a.spec.name, a.numbers) for a in second.components] == [
        ("foo", [0]),
        ("foo-worker", [0, 1]),
    ]
    assert not client.cluster_status("c").ready
    runner.beat(*runner.statuses(second), full=True)
    status = client.cluster_status("c")
    assert status.ready
    assert [(c.name, c.desired, c.actual) for c in status.components] == [
        ("foo", 1, 1),
        ("foo-worker", 2, 2),
    ]


def test_asking_again_changes_nothing(client: RegistryClient, runner: Runner) -> None:
    """Defect 31: every request returned all commands again."""
    client.set_cluster("c", SEED)
    answer = runner.run_all()
    again = runner.beat()
    assert again == answer
    client.set_cluster("c", SEED)
    after = runner.beat()
    assert after.components == answer.components


def test_a_wrong_file_is_refused_with_its_place_and_the_old_one_stays(
    client: RegistryClient,
) -> None:
    client.set_cluster("c", SEED)
    with pytest.raises(ConfigError) as caught:
        client.set_cluster("c", SEED.replace("replicas", "replcas"), "seed.toml")
    error = caught.value
    assert (error.file, error.line, error.key) == ("seed.toml", 11, "components.foo-worker.replcas")
    assert error.hint == "did you mean 'replicas'?"
    assert client.cluster_config("c").text == SEED
    check = client.check_config("c", "[x]\n[y]\n")
    assert not check.valid
    assert [problem.line for problem in check.problems] == [1, 2]
    check = client.check_config("c", SEED)
    assert check.valid
    assert [component.name for component in check.components] == ["foo", "foo-worker"]


def test_a_file_is_kept_as_it_was_written(client: RegistryClient) -> None:
    text = SEED + "# größe < 1 & 'x'\n"
    client.set_cluster("c", text, "s.toml", "/x")
    config = client.cluster_config("c")
    assert (config.text, config.file, config.folder, config.version) == (text, "s.toml", "/x", 1)
    client.set_cluster("c", SEED)
    assert client.cluster_config("c").version == 2
    client.create_cluster("d")
    with pytest.raises(Refused) as caught:
        client.cluster_config("d")
    assert caught.value.code == "no-config"


def test_another_file_takes_away_what_the_one_before_brought_and_nothing_else(
    client: RegistryClient, runner: Runner
) -> None:
    client.set_cluster("c", SEED)
    client.declare("c", spec("mine", owner="notebook"))
    client.set_cluster("c", '[components.other]\ncommand = ["x"]\n')
    assert [component.name for component in client.components("c")] == ["mine", "other"]
    assert {a.spec.name for a in runner.beat().components} == {"mine", "other"}


def test_the_same_declaration_is_the_same_component(client: RegistryClient, runner: Runner) -> None:
    first = client.declare("c", spec("w", role="worker", replicas=2))
    runner.run_all()
    again = client.declare("c", spec("w", role="worker", replicas=2))
    assert again.generation == first.generation
    assert again.actual == 2
    more = client.declare("c", spec("w", role="worker", replicas=3))
    assert (more.generation, more.actual, more.desired) == (first.generation, 2, 3)
    other = client.declare("c", spec("w", role="worker", replicas=3, env={"A": "1"}))
    assert other.generation > first.generation
    assert other.actual == 0
    assert other.state == "starting"


def test_two_components_cannot_have_a_process_of_one_name(client: RegistryClient) -> None:
    client.declare("c", spec("w", replicas=2))
    with pytest.raises(Refused) as caught:
        client.declare("c", spec("w-1"))
    assert (caught.value.status, caught.value.code) == (409, "name-taken")


def test_stop_start_restart_and_scale(client: RegistryClient, runner: Runner) -> None:
    client.declare("c", spec("w", role="worker", replicas=2))
    runner.run_all()
    assert client.restart("c", "w").actual == 0
    answer = runner.run_all()
    assert client.component("c", "w").actual == 2
    assert answer.components[0].spec.generation == client.component("c", "w").generation

    scaled = client.scale("c", "w", 1)
    assert (scaled.desired, scaled.actual) == (1, 1)
    answer = runner.beat()
    assert answer.components[0].numbers == [0]
    stopped = status_of(answer.components[0].spec, 1, "stopped")
    runner.beat(stopped)
    assert [r.name for r in client.component("c", "w").replicas] == ["w-0"]

    assert client.stop("c", "w", grace=0.5).state == "stopping"
    answer = runner.beat()
    assert [(a.numbers, a.spec.grace) for a in answer.components] == [([], 0.5)]
    runner.beat(status_of(answer.components[0].spec, 0, "stopped", exit=0), full=True)
    status = client.component("c", "w")
    assert (status.state, status.desired) == ("stopped", 0)
    assert status.replicas[0].exit == 0

    assert client.start("c", "w").desired == 1
    answer = runner.run_all()
    assert [(a.numbers, a.spec.grace) for a in answer.components] == [([0], 5.0)]
    assert client.component("c", "w").state == "ready"


def test_a_removed_component_is_stopped_and_forgotten(
    client: RegistryClient, runner: Runner
) -> None:
    client.declare("c", spec("a"))
    answer = runner.run_all()
    client.remove("c", "a")
    assert runner.beat().components == []
    assert client.components("c")[0].state == "stopping"
    runner.beat(status_of(answer.components[0].spec, 0, "stopped"))
    assert client.components("c") == []


def test_who_names_what_is_not_there_learns_what_is(client: RegistryClient) -> None:
    client.declare("c", spec("worker"))
    for call in (client.component, client.restart, client.remove):
        with pytest.raises(Refused, match="did you mean 'worker'") as caught:
            call("c", "wroker")
        assert caught.value.status == 404
    client.create_cluster("seed")
    with pytest.raises(Refused, match="did you mean 'seed'"):
        client.cluster_status("sed")


def test_one_name_is_one_cluster_whoever_makes_it(client: RegistryClient) -> None:
    """Defect 41: two clusters of one key broke both for ever."""
    first = client.create_cluster("d", 5.0)
    again = client.create_cluster("d")
    assert (again.key, again.created, again.linger) == (first.key, first.created, 5.0)
    assert [cluster.key for cluster in client.cluster_list()] == ["c", "d"]
    with pytest.raises(Refused):
        client.create_cluster("a/../b")


def test_a_deleted_cluster_is_gone_once_its_nodes_have_stopped(
    client: RegistryClient, runner: Runner
) -> None:
    client.declare("c", spec("a"))
    runner.run_all()
    client.delete_cluster("c")
    with pytest.raises(Refused):
        client.view_cluster("c")
    with pytest.raises(Refused, match="being deleted"):
        client.create_cluster("c")
    assert runner.beat().stop
    assert client.send_output("c", [piece(0, b"the last words")])[0].durable_offset == 14
    client.leave("c", "here")
    assert client.create_cluster("c").generation == 0
    assert client.output("c").records == []
    assert client.components("c") == []
    client.delete_cluster("c")
    assert client.cluster_list() == []
