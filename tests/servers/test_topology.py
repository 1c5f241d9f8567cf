"""``server >> pipeline >> sink``: links that are declared, refused, drawn and served."""

from __future__ import annotations

import os
import signal
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import palm
from palm.clients import Client
from palm.errors import ConfigError, PalmError
from palm.runtime.component import State
from palm.runtime.folders import Folders
from palm.runtime.message import Message
from palm.runtime.records import live_records
from palm.servers import Hub, Join, Master, Pipeline, Server, Sink, Topology, Worker
from palm.servers.staged import Previous, Staged
from tests.support.cluster import ProcessCluster, ThreadCluster, until


def add(mark: str) -> Callable[[str], str]:
    def function(payload: str) -> str:
        return payload + mark

    return function


def by_parity(message: Message) -> tuple[str, Message]:
    return ("even" if int(message.payload[0]) % 2 == 0 else "odd"), message


def server(name: str = "first", **more: Any) -> Server:
    return Server(name, functions={"f": add("a")}, **more)


def pipeline(name: str = "second", mark: str = "b") -> Pipeline:
    return Pipeline(name, functions={"g": add(mark)})


def sink(name: str = "third") -> Sink:
    return Sink(name, functions={"h": add("c")})


def previous(component: Staged) -> list[tuple[str, str]]:
    return [tuple(each) for each in component._previous]


# Declaring


def test_a_row_says_who_takes_from_whom_and_who_has_somebody_behind_it() -> None:
    first, second, third = server(), pipeline(), sink()
    topology = first >> second >> third
    assert isinstance(topology, Topology) and palm.Topology is Topology
    assert topology.components == [first, second, third]
    assert topology.links == [("first", "", "second"), ("second", "", "third")]
    assert [each.pipelined for each in (first, second, third)] == [True, True, False]
    assert previous(second) == [("first", "first")] and previous(third) == [("second", "second")]


def test_a_list_is_a_tee_on_either_side() -> None:
    first, left, right, last = server(), pipeline("left"), pipeline("right"), sink("last")
    topology = first >> [left, right] >> last
    assert previous(last) == [("left", "left"), ("right", "right")]
    assert set(topology.links) == {
        ("first", "", "left"),
        ("first", "", "right"),
        ("left", "", "last"),
        ("right", "", "last"),
    }
    one, other, both = server("one"), server("other"), sink("both")
    assert ([one, other] >> both).components == [one, other, both]
    assert (one.pipelined, other.pipelined, both.pipelined) == (True, True, False)


def test_keys_of_a_mapping_are_topics_and_the_rest_still_goes_to_the_client() -> None:
    first, even, odd = server(handle_stream=by_parity), pipeline("even-ones"), pipeline("odd-ones")
    topology = first >> {"even": even, "odd": [odd]}
    assert topology.links == [("first", "even", "even-ones"), ("first", "odd", "odd-ones")]
    assert previous(even) == [("first", "even")]
    assert not first.pipelined
    assert (topology >> sink()).links[2:] == [("even-ones", "", "third"), ("odd-ones", "", "third")]


def test_topologies_are_parts_of_others() -> None:
    first, last = server(), sink("last")
    left = pipeline("a") >> pipeline("b")
    topology = first >> [left, pipeline("c")] >> last
    assert [each.name for each in topology.components] == ["first", "a", "c", "b", "last"]
    assert previous(last) == [("b", "b"), ("c", "c")]
    row = (server("x") >> pipeline("y")) >> (pipeline("z") >> sink("end"))
    assert repr(row) == "x (server) ──> y (pipeline) ──> z (pipeline) ──> end (sink)"


def test_links_of_several_statements_are_one_topology() -> None:
    first, second, third = server(), pipeline(), sink()
    early = first >> second
    late = second >> third
    assert early.components == late.components == [first, second, third]
    first >> second
    assert early.links == [("first", "", "second"), ("second", "", "third")]
    assert previous(second) == [("first", "first")]


def test_what_the_constructor_was_given_stays() -> None:
    first = server(handle_stream=by_parity)
    second = Pipeline("second", previous="elsewhere/x", functions={"g": add("b")})
    first >> {"even": second}
    assert second._previous == [Previous("elsewhere", "x"), Previous("first", "even")]


# Refusing


@pytest.mark.parametrize(
    ("link", "text"),
    [
        (lambda a, b: a >> a, "'first' cannot take its own results"),
        (lambda a, b: a >> 3, "3 is no component"),
        (lambda a, b: "x" >> b, "'x' is no component"),
        (lambda a, b: a >> Sink, r"Sink is a class .Sink\(NAME"),
        (lambda a, b: a >> [], "nothing to link"),
        (lambda a, b: [] >> b, "nothing to link"),
        (lambda a, b: b >> a, r"'first' is a server: it takes messages from clients.*a Pipeline"),
        (lambda a, b: a >> [b, Master("m")], r"'m' is a master.*make it a Hub"),
        (lambda a, b: a >> Worker("w", functions={"f": print}), r"'w' is a worker.*its master"),
        (lambda a, b: Worker("w", functions={"f": print}) >> b, "'w' is a worker"),
        (lambda a, b: a >> {"even": b}, r"'first' has no topics .give it handle_stream"),
        (lambda a, b: a >> {2: b}, "2 is no topic"),
        (lambda a, b: a >> {"x": {"y": b}}, "topics below the topic 'x'"),
        (lambda a, b: {"even": a} >> b, "topics of nobody"),
        (lambda a, b: a >> pipeline("first"), "two components are called 'first'"),
        (lambda a, b: a >> b >> sink("x") >> b, "in a ring: x >> second >> x"),
    ],
)
def test_what_cannot_be_linked_is_refused(
    link: Callable[[Server, Pipeline], object], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        link(server(), pipeline())


def test_a_refusal_changes_nothing() -> None:
    first, second, third = pipeline("a"), pipeline("b"), sink("c")
    first >> second >> third
    with pytest.raises(ConfigError, match="in a ring: c >> a >> b >> c"):
        third >> [sink("d"), first]
    assert (third._links, third.pipelined) == (second._links[1:], False)
    assert previous(first) == []


def test_what_is_open_cannot_be_linked(palm_home: Path) -> None:
    first, second = server(), pipeline()
    first.open()
    try:
        with pytest.raises(ConfigError, match=r"'first' is starting.*before they are opened"):
            first >> second
    finally:
        first.close()
    assert second._links == [] and previous(second) == []


# Showing


def test_text_shows_branches_topics_and_what_comes_again() -> None:
    first, left, right = server(handle_stream=by_parity), pipeline("left"), pipeline("right")
    topology = first >> {"even": left, "odd": right} >> Hub("hub") >> sink()
    assert repr(topology).splitlines() == [
        "first (server)",
        "├─ even ─> left (pipeline)",
        "│  └──> hub (hub)",
        "│     └──> third (sink)",
        "└─ odd ─> right (pipeline)",
        "   └──> hub (hub) ...",
    ]
    assert repr([server("a"), server("b")] >> sink("c")).splitlines() == [
        "a (server)",
        "└──> c (sink)",
        "b (server)",
        "└──> c (sink)",
    ]


def test_picture_has_the_colours_around_it_and_escapes_topics() -> None:
    first = server(handle_stream=by_parity)
    evil = '<script>"&'
    html = (first >> {evil: [pipeline("left"), pipeline("right")]} >> sink())._repr_html_()
    root = ElementTree.fromstring(html)
    svg = root[0]
    texts = [each.text for each in svg.iter() if each.tag.endswith("text")]
    assert texts.count(evil) == 2 and {"first", "left", "right", "third", "sink"} <= set(texts)
    assert "#" not in html and html.count("currentColor") > 5
    boxes = [each for each in svg if each.tag.endswith("rect")]
    width, height = float(svg.get("width", "")), float(svg.get("height", ""))
    spans = [
        tuple(float(box.get(key, "")) for key in ("x", "y", "width", "height")) for box in boxes
    ]
    assert all(x >= 0 and y >= 0 and x + w <= width and y + h <= height for x, y, w, h in spans)
    assert len({(x, y) for x, y, _, _ in spans}) == 4


# Serving


def test_a_row_serves_in_the_background_and_leaves_nothing(cluster: ThreadCluster) -> None:
    with server() >> pipeline() >> sink() as topology:
        client = cluster.client("first")
        job = client.job(["first.f", "second.g", "third.h"], map(str, range(20)))
        assert sorted(job) == sorted(f"{n}abc" for n in range(20))
        assert {each.state for each in topology.components} == {State.RUNNING}
    assert {each.state for each in topology.components} == {State.STOPPED}
    assert list(live_records(cluster.folders)) == []


def test_a_tee_and_topics_find_their_way(cluster: ThreadCluster) -> None:
    left, right = pipeline("left", "l"), pipeline("right", "r")
    with server(handle_stream=by_parity) >> {"even": left, "odd": right} >> sink():
        job = cluster.client("first").job(
            ["first.f", ["left.g", "right.g"], "third.h"], list("0123")
        )
        assert sorted(job) == ["0alc", "1arc", "2alc", "3arc"]


def test_a_tee_does_not_wait_for_who_was_behind_its_parts_before(cluster: ThreadCluster) -> None:
    with server("first") >> pipeline("left") >> sink("third"):
        job = cluster.client("first").job(["first.f", "left.g", "third.h"], ["0"])
        assert list(job) == ["0abc"]
    left, right = pipeline("left", "l"), pipeline("right", "r")
    with server("other") >> [left, right] >> sink("last"):
        names = ["other.f", ["left.g", "right.g"], "last.h"]
        job = cluster.client("other").job(names, ["0", "1"])
        assert sorted(job) == ["0alc", "0arc", "1alc", "1arc"]


def test_parts_of_a_tee_are_joined_in_the_order_of_its_list(cluster: ThreadCluster) -> None:
    left, right = pipeline("left", "l"), pipeline("right", "r")
    last = Sink("last", functions={"h": lambda parts: parts}, join=Join(lambda text: text[0]))
    with server() >> [left, right] >> last:
        job = cluster.client("first").job(["first.f", ["left.g", "right.g"], "last.h"], list("01"))
        assert sorted(job) == [["0al", "0ar"], ["1al", "1ar"]]


def test_functions_run_in_the_threads_of_their_components(cluster: ThreadCluster) -> None:
    first = Server("first", functions={"f": lambda _: threading.current_thread().name})
    last = Sink("last", functions={"h": lambda before: (before, threading.current_thread().name)})
    with first >> last:
        job = cluster.client("first").job(["first.f", "last.h"], [1])
        assert [tuple(each) for each in job] == [("palm-first", "palm-last")]


def test_what_cannot_be_opened_leaves_nothing_open(cluster: ThreadCluster) -> None:
    cluster.serve(server("taken"))
    first = server("taken")
    topology = first >> pipeline() >> sink()
    with pytest.raises(PalmError, match="taken"):
        topology.open()
    assert [each.name for each in live_records(cluster.folders)] == ["taken"]
    with server() >> pipeline():  # so its name is free again
        pass
    with pytest.raises(PalmError, match="make a new one"):
        topology.open()


def test_what_fails_ends_the_others_and_is_raised(cluster: ThreadCluster) -> None:
    class Broken(Sink):
        def serve(self) -> None:
            raise OSError("no luck")

        def h(self, payload: str) -> str:
            return payload

    topology = server() >> pipeline() >> Broken("third")
    topology.open()
    with pytest.raises(OSError, match="no luck"):
        topology.wait(30.0)
    assert list(live_records(cluster.folders)) == []


def test_waiting_has_a_limit_and_one_that_had_enough_ends_alone(cluster: ThreadCluster) -> None:
    last = Sink("last", functions={"h": add("c")}, messages=1)
    topology = server() >> last
    with topology:
        assert not topology.wait(0.01)
        assert list(cluster.client("first").job(["first.f", "last.h"], list("0"))) == ["0ac"]
        until(lambda: last.state is State.STOPPED, what="it had its message")
        assert topology.components[0].state is State.RUNNING
    assert topology.wait(0.0)


def test_a_function_that_does_not_end_is_named_and_left_behind(cluster: ThreadCluster) -> None:
    began, go_on = threading.Event(), threading.Event()

    def hang(_: object) -> None:
        began.set()
        go_on.wait(60)

    topology = Server("first", functions={"f": hang}) >> sink()
    topology.open()
    job = cluster.client("first").job(["first.f", "third.h"], [1])
    assert began.wait(30)
    topology.stop(0.1)
    with pytest.raises(PalmError, match="did not end in time: first"):
        topology.wait()
    go_on.set()
    until(lambda: topology.wait(0.0), what="it ends after all")
    job.cancel()


def test_one_that_was_asked_to_stop_before_does_not_begin(cluster: ThreadCluster) -> None:
    topology = server() >> sink()
    topology.stop()
    topology.start()
    assert {each.state for each in topology.components} == {State.STOPPED}


def test_names_of_functions_are_the_users(cluster: ThreadCluster) -> None:
    class Pages(Server):
        def links(self, page: str) -> list[str]:
            return [page, "b"]

        def take_from(self, page: str) -> str:
            return page

    first = Pages("first")
    with first >> Sink("last", functions={"count": len}):
        assert first.functions == ["echo", "links", "take_from"]
        job = cluster.client("first").job(["first.links", "last.count"], ["a"])
        assert list(job) == [2]


ROW = """
from palm.servers import Pipeline, Server, Sink
first = Server("first", functions={"f": lambda text: text + "a"})
second = Pipeline("second", functions={"g": lambda text: text + "b"})
third = Sink("third", functions={"h": lambda text: text + "c"})
if __name__ == "__main__":
    (first >> second >> third).start()
    print("over", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_start_serves_a_script_until_a_signal(
    processes: ProcessCluster, number: signal.Signals
) -> None:
    script = processes.run(ROW)
    with Client("first") as client:
        job = client.job(["first.f", "second.g", "third.h"], list("012"))
        assert sorted(job) == ["0abc", "1abc", "2abc"]
    began = time.monotonic()
    os.kill(script.process.pid, number)
    assert script.wait() == 0
    assert time.monotonic() - began < 4, "nothing was left to wait for"
    assert script.output.splitlines()[-1] == "over"
    assert list(live_records(Folders.find())) == []
