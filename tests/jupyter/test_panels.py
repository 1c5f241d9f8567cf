"""Panels without a browser: what they send, what they do when asked, and with plain widgets."""

from __future__ import annotations

import importlib
import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from palm.errors import ConfigError
from palm_jupyter.panels import canvas, cluster, plain
from palm_jupyter.panels.job import JobPanel
from palm_jupyter.panels.outputs import in_its_own_shell
from palm_jupyter.viewmodels import ClusterView, Components, Frames, Frozen
from tests.jupyter.builders import component
from tests.support.cluster import until

EVIL = '<img src=x onerror="alert(1)">'
STATUS = {"topic": "status", "cursor": "", "data": {"cluster": "lab", "components": []}}


class Asked:
    """Notes what a panel asks for; ``answers`` is what comes of it."""

    def __init__(self) -> None:
        self.view = ClusterView("lab")
        self.view.apply(
            Components(10.0, [component("w", "ready", "ready"), component("foo", "stopped")])
        )
        self.view.apply(Frames(10.0, [STATUS]))
        self.actions: list[Mapping[str, Any]] = []
        self.selections: list[Any] = []
        self.error: Exception | None = None
        self.go_on = threading.Event()
        self.go_on.set()

    def select(self, selection: Mapping[str, Any] | None) -> None:
        self.selections.append(selection)

    def perform(self, action: Mapping[str, Any]) -> Any:
        self.actions.append(dict(action))
        assert self.go_on.wait(10)
        if self.error is not None:
            raise self.error
        return {"records": [{"text": f"{EVIL} \x1b[31mred\x1b[0m\n"}]}


@pytest.fixture
def asked() -> Asked:
    return Asked()


class Page:
    """A panel, what it sent, and a way to be its page."""

    def __init__(self, panel: cluster.ClusterPanel) -> None:
        self.panel = panel
        self.sent: list[tuple[dict[str, Any], Any]] = []
        panel.widget.send = self._note

    def _note(self, message: dict[str, Any], buffers: Any = None) -> None:
        self.sent.append((message, json.loads(buffers[0]) if buffers else None))

    def say(self, **message: Any) -> None:
        self.panel.widget._handle_custom_msg(message, [])

    def of(self, kind: str) -> list[tuple[dict[str, Any], Any]]:
        return [(message, value) for message, value in list(self.sent) if message["type"] == kind]


@pytest.fixture
def page(asked: Asked) -> Iterator[Page]:
    page = Page(cluster.ClusterPanel(asked, "w"))
    yield page
    page.panel.freeze()
    for thread in threading.enumerate():
        if thread.name.startswith("palm-action"):
            thread.join(10)


def test_state_of_the_widget_has_what_there_is_whenever_it_is_asked_for(
    asked: Asked, page: Page
) -> None:
    assert page.panel.widget.get_state("snapshot")["snapshot"]["frames"] == [STATUS]
    later = {**STATUS, "cursor": "later"}
    asked.view.apply(Frames(11.0, [later]))
    state = page.panel.widget.get_state("snapshot")["snapshot"]
    link = {"time": 11.0, "live": True, "note": "", "away": 0.0}
    assert state == {"frames": [later], **link, "chosen": "w"}


def test_frames_go_out_as_they_come_and_again_to_a_new_view(asked: Asked, page: Page) -> None:
    event = {"topic": "events", "cursor": "", "data": {"seq": 1}}
    asked.view.apply(Frames(12.0, [event]))
    asked.view.apply(Components(13.0, []))  # for the snapshot, not for the page
    (message, frames), *others = page.of("frames")
    assert (message["time"], message["live"], frames, others) == (12.0, True, [event], [])
    page.say(type="ready")
    assert page.of("frames")[-1][1] == [STATUS, event]
    asked.view.apply(Frozen(14.0, "because"))
    last = page.of("frames")[-1][0]
    assert (last["live"], last["note"]) == (False, "because")


def test_request_is_taken_at_once_and_answered_when_it_is_done(asked: Asked, page: Page) -> None:
    asked.go_on.clear()
    page.say(type="request", request="r1", action={"do": "stop", "component": "w"})
    assert [message["request"] for message, _ in page.of("accepted")] == ["r1"]
    assert not page.of("reply")
    asked.go_on.set()
    until(lambda: page.of("reply"))
    ((message, value),) = page.of("reply")
    assert message["request"] == "r1" and "error" not in message and value["records"]
    assert asked.actions == [{"do": "stop", "component": "w"}]


def test_error_is_answered_in_words(asked: Asked, page: Page) -> None:
    asked.error = ConfigError("no component is named 'x'", hint="did you mean 'w'?")
    page.say(type="request", request="r2", action={"do": "stop", "component": "x"})
    until(lambda: page.of("reply"))
    assert page.of("reply")[0][0]["error"]["text"] == (
        "no component is named 'x' (did you mean 'w'?)"
    )


def test_page_says_what_it_follows(asked: Asked, page: Page) -> None:
    page.say(type="select", selection={"component": "w", "since": "c"})
    page.say(type="select", selection=None)
    assert asked.selections == [{"component": "w", "since": "c"}, None]


def test_messages_are_handled_in_the_shell_that_the_page_chose() -> None:
    class Comm:
        def _reply_subshell_for(self, data: Any, asked: str | None) -> str | None:
            return None

    class Widget:
        comm = Comm()

    in_its_own_shell(Widget)
    assert Widget.comm._reply_subshell_for({}, "subshell") == "subshell"
    Widget.comm = object()
    in_its_own_shell(Widget)  # an ipykernel that does as the page says by itself


def test_card_of_a_job_is_told_to_a_new_view() -> None:
    job = {"function": "foo.f", "live": True}
    card = JobPanel(lambda: job)
    sent: list[Any] = []
    card.widget.send = sent.append
    card.widget._handle_custom_msg({"type": "ready"}, [])
    assert sent == [{"type": "job", "job": job}]
    assert card.widget.get_state("snapshot")["snapshot"] == job


# Without anywidget


def test_session_draws_with_plain_widgets_where_anywidget_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert canvas.ClusterPanel is cluster.ClusterPanel
    with monkeypatch.context() as missing:
        missing.setattr("importlib.util.find_spec", lambda name: None)
        importlib.reload(canvas)
        assert canvas.ClusterPanel is plain.ClusterPanel
        assert canvas.JobPanel is plain.JobPanel
    importlib.reload(canvas)
    assert canvas.JobPanel is JobPanel


@pytest.fixture
def panel(asked: Asked) -> Iterator[plain.ClusterPanel]:
    panel = plain.ClusterPanel(asked, "w")
    panel._thread.start()
    yield panel
    panel.freeze()
    for thread in threading.enumerate():
        if thread.name.startswith("palm-action"):
            thread.join(10)


def test_plain_panel_has_a_table_that_follows(asked: Asked, panel: plain.ClusterPanel) -> None:
    assert "w-1" in panel._table.value and "live" in panel._table.value
    assert list(panel._component.options) == ["w", "foo"]
    asked.view.apply(Components(11.0, [component(EVIL, "failed")]))
    assert "failed" in panel._table.value and "<img" not in panel._table.value
    assert panel._component.value == EVIL


def test_plain_panel_scales_from_as_many_as_there_are(
    asked: Asked, panel: plain.ClusterPanel
) -> None:
    two = component("w", "ready", "ready")
    asked.view.apply(Components(11.0, [two, component("v", "ready", "ready", "ready")]))
    assert panel._count.value == 2
    panel._component.value = "v"
    assert panel._count.value == 3
    panel._count.value = 7
    asked.view.apply(Components(12.0, [two, component("v", "ready", "ready", "failed")]))
    assert panel._count.value == 7, "what somebody typed stays"


def test_plain_panel_says_that_the_registry_is_away(
    asked: Asked, panel: plain.ClusterPanel
) -> None:
    asked.view.apply(Frames(11.0, away=5.0))
    assert "the registry does not answer since" in panel._table.value
    asked.view.apply(Frames(12.0))
    assert "live" in panel._table.value


def test_plain_panel_shows_the_last_lines_of_what_is_chosen(
    asked: Asked, panel: plain.ClusterPanel
) -> None:
    until(lambda: "red" in panel._lines.value)
    assert "<img" not in panel._lines.value and "\x1b" not in panel._lines.value
    assert asked.actions[0] == {"do": "output", "component": "w", "lines": plain.LINES}


def test_plain_panel_acts_and_says_what_went_wrong(asked: Asked, panel: plain.ClusterPanel) -> None:
    asked.error = ConfigError(f"it did not end {EVIL}")
    stop = next(b for b in panel.widget.children[1].children if b.description == "Stop")
    stop.click()
    until(lambda: "it did not end" in panel._said.value)
    assert "<img" not in panel._said.value
    assert {"do": "stop", "component": "w"} in asked.actions
