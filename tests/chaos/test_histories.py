"""The checker of the chaos finds what is not as promised, and nothing else."""

from __future__ import annotations

from itertools import islice

from tests.chaos.histories import Verdict, judge, read_history, read_journal
from tests.chaos.schedule import PAUSE, schedule
from tests.chaos.work import answer

ROLES = frozenset({"worker", "master", "client"})


def history(*lines: str, n: int = 2, mode: str = "any", end: str = "done 9") -> str:
    return "".join(f"{line}\n" for line in (f"submit 7 {n} {mode} 1", *lines, end) if line)


def result(index: int, *, position: int = -1, job: int = 7, value: int | None = None) -> str:
    return f"result {position} {job} {index} {answer(7, index) if value is None else value} 5"


def journal(*indices: int, ends: bool = True, at: int = 2) -> str:
    end = [f"end 7 {indices[-1]} {at + 1}\n"] if ends else []
    runs = [f"begin 7 {index} {at}\nend 7 {index} {at + 1}\n" for index in indices[:-1]]
    return "".join([*runs, f"begin 7 {indices[-1]} {at}\n", *end])


def verdict_of(history: str, *journals: str, faults: tuple[list[str], ...] = ()) -> Verdict:
    read = [read_journal(pid, text) for pid, text in enumerate(journals, 1)]
    return judge(read_history(history), read, faults)


def complaint(verdict: Verdict) -> str:
    (text,) = verdict.complaints
    return text.partition(": ")[2]


def test_job_that_is_as_promised_raises_no_complaint() -> None:
    verdict = verdict_of(history(result(1), result(0)), journal(0, 1))
    assert not verdict.complaints
    assert (verdict.messages, verdict.results, verdict.lost, verdict.again) == (2, 2, 0, 0)
    assert verdict.jobs == {"done": 1}


def test_message_without_an_outcome_is_found() -> None:
    verdict = verdict_of(history(result(0)), journal(0, 1))
    assert complaint(verdict) == "1 messages without an outcome"
    assert verdict.lost == 1


def test_second_outcome_is_found_though_its_client_was_killed() -> None:
    verdict = verdict_of(history(result(0), result(0), end=""), journal(0))
    assert complaint(verdict) == "1 outcomes of messages that had one"
    assert (verdict.jobs, verdict.doubled, verdict.lost) == ({"killed": 1}, 1, 0)


def test_result_and_error_of_one_message_are_two_outcomes() -> None:
    lines = [result(0), "error 0 PoisonTask 5", result(1)]
    verdict = verdict_of(history(*lines), journal(0, 1), *[journal(0, ends=False)] * 3)
    assert complaint(verdict) == "1 outcomes of messages that had one"


def test_result_of_another_message_is_found() -> None:
    assert verdict_of(history(result(0), result(1, value=3)), journal(0, 1)).wrong == 1
    assert verdict_of(history(result(0), result(1, job=8)), journal(0, 1)).wrong == 1
    assert verdict_of(history(result(0), result(1), result(5)), journal(0, 1, 5)).wrong == 1


def test_outcome_in_the_place_of_another_is_found() -> None:
    ordered = [result(1, position=0), result(0, position=1)]
    assert verdict_of(history(*ordered, mode="ordered"), journal(0, 1)).misplaced
    late = [result(1, position=1), result(0, position=0)]
    assert verdict_of(history(*late, mode="ordered"), journal(0, 1)).misplaced
    assert not verdict_of(history(*late), journal(0, 1)).misplaced


def test_job_that_hangs_or_fails_is_found() -> None:
    hung = verdict_of(history(result(0), end="hung 9"), journal(0))
    assert (hung.hung, hung.lost, len(hung.complaints)) == (1, 0, 1)
    failed = verdict_of(history(result(0), end="failed PalmError 9"), journal(0))
    assert complaint(failed).endswith("the job is failed: PalmError")
    assert (failed.failed, failed.hung) == (1, 0)


def test_result_that_nobody_computed_is_found() -> None:
    verdict = verdict_of(history(result(0), result(1)), journal(0), journal(1, ends=False))
    assert complaint(verdict) == "1 results of messages that no worker ended"


def test_poison_is_believed_of_messages_that_ended_three_workers() -> None:
    text = history(result(0), "error 1 PoisonTask 5")
    deaths = [journal(1, ends=False)] * 3
    assert not verdict_of(text, journal(0), *deaths).complaints
    assert complaint(verdict_of(text, journal(0), *deaths[:2])) == (
        "1 messages that ended as PoisonTask"
    )


def test_message_of_an_at_most_once_job_that_ran_twice_is_found() -> None:
    text = history(result(0), "error 1 WorkerLost 5", mode="once")
    assert not verdict_of(text, journal(0, 1)).complaints
    assert "begun twice" in complaint(verdict_of(text, journal(0, 1), journal(1)))
    assert "WorkerLost" in complaint(verdict_of(text.replace("once", "any"), journal(0, 1)))


def test_executions_are_counted_also_of_killed_clients() -> None:
    verdict = verdict_of(history(end=""), journal(0, 1), journal(1, 0, ends=False))
    assert (verdict.executions, verdict.again) == (4, 2)


def test_kill_in_the_middle_is_known_by_the_last_line_of_a_worker() -> None:
    faults = (["kill", "worker", "1", "4000"], ["kill", "worker", "2", "5000"])
    texts = journal(0, ends=False, at=2000), journal(0, 1, at=9000)
    verdict = verdict_of(history(result(0), result(1)), *texts, faults=faults)
    assert verdict.killed_in_the_middle == 1
    assert verdict.begun_again_after == [5.0]


def test_longest_time_without_a_result_belongs_to_the_fault_before_it() -> None:
    lines = [result(index).replace(" 5", f" {at}") for index, at in enumerate((1, 2, 5, 6, 9))]
    text = history(*[f"{line}000000" for line in lines], n=5)
    faults = (["kill", "master", "1", "2500000"], ["stop", "worker", "2", "5500000"])
    verdict = verdict_of(text, journal(0, 1, 2, 3, 4), faults=faults)
    assert verdict.gaps == {"kill master": [2500.0], "stop worker": [3000.0]}


def test_line_that_was_cut_off_counts_as_not_written() -> None:
    assert read_history("submit 7 2 any 1\nresul")[0].results == []
    assert read_journal(1, "begin 7 0 2\nend 7").unfinished == (7, 0)


def test_schedule_follows_from_its_seed() -> None:
    first, again = (list(islice(schedule(5, ROLES), 1000)) for _ in range(2))
    assert first == again != list(islice(schedule(6, ROLES), 1000))
    assert {(fault.kind, fault.role) for fault in first} == {
        ("kill", "worker"), ("stop", "worker"), ("term", "worker"),
        ("stop", "master"), ("kill", "master"), ("kill", "client"),
    }  # fmt: skip
    assert all(PAUSE[0] <= fault.after <= PAUSE[1] for fault in first)
    assert sum(fault.after for fault in first[:200]) < 60
    alone = islice(schedule(5, frozenset({"worker"})), 100)
    assert {fault.role for fault in alone} == {"worker"}
    calm = islice(schedule(5, ROLES, ["kill master"], 3.0), 9)
    assert {(fault.kind, fault.role, fault.after) for fault in calm} == {("kill", "master", 3.0)}
    assert not list(schedule(5, frozenset({"worker"}), ["kill master"]))
