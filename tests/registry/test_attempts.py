"""How often one may fail to get in: F46. The rules, and what a registry makes of them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.registry_api.client import RegistryClient
from palm_registry import attempts
from palm_registry.attempts import BURST, MAX_ADDRESSES, RATE, Attempts
from tests.registry.test_access import bearer
from tests.support.registry import Browser, RegistryThread


def test_an_address_may_fail_a_number_of_times_and_then_at_a_rate() -> None:
    failed = Attempts()
    assert all(failed.fail("a", 0.0) == (0.0, False) for _ in range(BURST))
    wait, news = failed.fail("a", 0.0)
    assert (wait, news) == (pytest.approx(1 / RATE), True)
    assert failed.fail("a", 0.0) == (wait, False)  # to fail on makes the wait no longer
    assert failed.fail("b", 0.0) == (0.0, False)  # another one has done nothing
    assert failed.fail("a", wait) == (0.0, False)
    assert failed.fail("a", wait) == (pytest.approx(wait), True)


def test_after_a_while_all_is_forgotten() -> None:
    failed = Attempts()
    for _ in range(3 * BURST):
        failed.fail("a", 0.0)
    later = BURST / RATE
    assert all(failed.fail("a", later)[0] == 0 for _ in range(BURST))
    assert failed.fail("a", later)[0] > 0


def test_only_so_many_addresses_are_known() -> None:
    failed = Attempts()
    for number in range(3 * MAX_ADDRESSES):
        failed.fail("noisy", 0.0)
        failed.fail(f"10.0.{number >> 8}.{number & 255}", 0.0)
        assert len(failed) <= MAX_ADDRESSES
    assert failed.fail("noisy", 0.0)[0] > 0  # who fails all the time is not pushed out


def test_addresses_of_one_subscriber_are_one() -> None:
    failed = Attempts()
    for number in range(BURST):
        failed.fail(f"2001:db8::{number:x}", 0.0)
    assert failed.fail("2001:db8::ffff", 0.0)[0] > 0
    assert failed.fail("2001:db8:0:1::1", 0.0)[0] == 0
    assert failed.fail("::ffff:10.0.0.1", 0.0)[0] == 0
    assert len(failed) == 3


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 20)), max_size=200))
def test_nobody_gets_more_than_the_burst_and_the_rate(steps: list[tuple[str, float]]) -> None:
    failed, now, granted = Attempts(), 0.0, dict.fromkeys("ab", 0)
    for address, pause in steps:
        now += pause
        wait, _ = failed.fail(address, now)
        granted[address] += wait == 0
        assert granted[address] <= BURST + now * RATE + 1e-6
        assert 0 <= wait <= 1 / RATE + 1e-6


# ---- a registry


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "BURST", 3)
    monkeypatch.setattr(attempts, "RATE", 0.01)


@pytest.mark.usefixtures("strict")
def test_who_guesses_is_sent_away_and_who_knows_gets_in_all_the_same(
    client: RegistryClient, registry: RegistryThread, browser: Browser
) -> None:
    def guess(number: int) -> int:
        answer = browser.ask("GET", "/api/clusters", headers=bearer(f"{number:043d}"))
        if answer.status == 429:
            assert answer.code == "too-many"
            assert 0 < int(answer.headers["Retry-After"]) <= 100
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        return answer.status

    assert [guess(number) for number in range(10)] == [401] * 3 + [429] * 7
    # The right token, from the same address, is not held up.
    assert [info.key for info in client.cluster_list()] == ["c"]
    cookie = {"Cookie": f"palm-session-{registry.url.split(':')[2].strip('/')}={'x' * 43}"}
    assert browser.ask("GET", "/api/clusters", headers=cookie).status == 429
    assert browser.ask("GET", "/login?code=" + "x" * 43).status == 429
    # Who says nothing guesses nothing, and may log in.
    assert browser.ask("GET", "/api/clusters").status == 401
    path = "/" + client.login_url().removeprefix(client.url)
    assert browser.ask("GET", path).status == 303


@pytest.mark.usefixtures("strict")
def test_guessing_is_in_the_audit_list_once(client: RegistryClient, browser: Browser) -> None:
    for _ in range(20):
        browser.ask("GET", "/api/clusters", headers=bearer("y" * 43))
    entries = [entry for entry in client.audit().entries if entry.code == "too-many"]
    assert [(e.token, e.address, e.status) for e in entries] == [("", "127.0.0.1", 429)]
    assert "y" * 43 not in json.dumps([e.what for e in entries])
