"""What holds for every test: folders of its own, nothing left behind, no silent skip."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.folders import use_folders
from tests.support.leaks import LeakCheck, checked_kinds
from tests.support.notrun import not_run
from tests.support.requirements import REQUIREMENTS, require
from tests.support.session import new_folder, watched_session

#: How many tests were deselected.
DESELECTED = pytest.StashKey[int]()

# Keep what is compiled, also where the environment forbids it: users have it so, and each of the
# many interpreters that the tests start would compile all of palm anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# A busy machine is no failure.
settings.register_profile("palm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("palm")
# nbformat loads it to check addresses, which no notebook has, and it takes seconds to compile its
# grammar. It is optional.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that takes the browser needs one, whether it is marked or not."""
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or in CI fail, a test whose machine lacks what its markers name."""
    for what in REQUIREMENTS:
        if item.get_closest_marker(what):
            require(what)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Count what is deselected, in this process or in one of those that share the tests."""
    for item in items[:1]:
        item.config.stash[DESELECTED] = item.config.stash.get(DESELECTED, 0) + len(items)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over the count of a process that shares the tests: all of them deselect the same."""
    node.config.stash[DESELECTED] = getattr(node, "workeroutput", {}).get("deselected", 0)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, object, object]:
    """Print, after everything that pytest has to say, what was not run."""
    deselected = session.config.stash.get(DESELECTED, 0)
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["deselected"] = deselected
    result = yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and not session.config.option.collectonly:
        # The processes that shared the tests have ended by now.
        lines = not_run(reporter.stats, session.config.stash.get(DESELECTED, 0))
        for line in lines or ["not run here: nothing, every test was run"]:
            reporter.write_line(line)
    return result


@pytest.fixture(scope="session", autouse=True)
def session_name() -> Iterator[str]:
    """Have all that the tests start ended, should they be killed before they can do it."""
    with watched_session() as name:
        yield name


@pytest.fixture(scope="session", autouse=True)
def session_home(session_name: str) -> Iterator[Path]:
    """Keep fixtures that outlive a test out of the user's folders, and look what they leave."""
    home = new_folder()
    check = LeakCheck(home)
    with pytest.MonkeyPatch.context() as environment:
        use_folders(environment, home)
        yield home
    leaks = check.found(("processes",))
    check.end_processes()
    shutil.rmtree(home, ignore_errors=True)
    if leaks:
        pytest.fail("the session left behind:\n  " + "\n  ".join(leaks), pytrace=False)


@pytest.fixture(autouse=True)
def palm_home(
    request: pytest.FixtureRequest, session_home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Give the test a folder that holds its ``run`` and ``state``; fail it if it leaks.

    The marker ``no_leak_check`` switches off the kinds that it names, or all.
    """
    home = new_folder()
    use_folders(monkeypatch, home)
    check = LeakCheck(home)
    yield home
    leaks = check.found(checked_kinds(request.node))
    if leaks:
        check.end_processes()
    shutil.rmtree(home, ignore_errors=True)
    if leaks:
        pytest.fail("the test left behind:\n  " + "\n  ".join(leaks), pytrace=False)
