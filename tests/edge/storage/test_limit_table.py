"""The shared table of rate limits: exact over processes, whole charges, dead holders, full sets."""

import fcntl
import multiprocessing
import random
import signal
import time
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.identity.limits import Rate
from edge.errors import Overloaded, Unavailable
from edge.ports.limits import CHARGES_MAX, Charge
from edge.storage import limit_table
from edge.storage.limit_table import CLOCK_SLACK_US, SET_SLOTS, LimitFile
from tests.edge.services.memory_limits import MemoryLimits

NOW_US = 1_000_000_000_000
SLOW = Rate(3, 86_400)
KEYS = [bytes([number]) * 16 for number in range(1, 20)]
PATIENCE_S = 30
"""How long a test waits for a process before it fails."""
forking = multiprocessing.get_context("fork")


def clock_us():
    return time.monotonic_ns() // 1_000


@pytest.fixture
def path(tmp_path):
    LimitFile.create(tmp_path / "limits", slots=64)
    return tmp_path / "limits"


@pytest.fixture
def table(path):
    opened = LimitFile(path)
    yield opened
    opened.close()


@pytest.fixture(params=["file", "memory"])
def any_table(request):
    return request.getfixturevalue("table") if request.param == "file" else MemoryLimits()


@contextmanager
def processes(count, work):
    """Run `work(index, pipe)` in so many processes; yield them and our ends of their pipes."""
    pipes = [forking.Pipe() for _ in range(count)]
    running = [
        forking.Process(target=work, args=(index, theirs), daemon=True)
        for index, (_, theirs) in enumerate(pipes)
    ]
    try:
        for process in running:
            process.start()
        yield running, [ours for ours, _ in pipes]
    finally:
        for process in running:
            process.kill()
            process.join(PATIENCE_S)


def kill(process):
    """Kill with SIGKILL: nothing of the process's own runs any more."""
    process.kill()
    process.join(PATIENCE_S)
    assert process.exitcode == -signal.SIGKILL


def heard(pipe):
    assert pipe.poll(PATIENCE_S), "a process says nothing"
    return pipe.recv()


# Every table


def test_the_count_is_admitted_and_no_more(any_table):
    answers = [any_table.charge([Charge(KEYS[0], SLOW)], now_us=NOW_US) for _ in range(5)]
    assert [answer == 0 for answer in answers] == [True, True, True, False, False]
    assert answers[3] == answers[4] == SLOW.interval_us


def test_all_charges_of_a_request_or_none(any_table):
    wide = Rate(10, 10)
    for _ in range(3):
        assert any_table.charge([Charge(KEYS[0], SLOW)], now_us=NOW_US) == 0
    both = [Charge(KEYS[1], wide), Charge(KEYS[0], SLOW), Charge(KEYS[2], wide)]
    for _ in range(20):
        assert any_table.charge(both, now_us=NOW_US) == SLOW.interval_us
    for key in (KEYS[1], KEYS[2]):
        assert any_table.charge([Charge(key, wide, 10)], now_us=NOW_US) == 0


def test_the_longest_delay_is_told_and_enough(any_table):
    charges = [Charge(KEYS[0], Rate(1, 60)), Charge(KEYS[1], Rate(1, 3_600))]
    assert any_table.charge(charges, now_us=NOW_US) == 0
    delay_us = any_table.charge(charges, now_us=NOW_US)
    assert delay_us == 3_600_000_000
    assert any_table.charge(charges, now_us=NOW_US + delay_us - 1) == 1
    assert any_table.charge(charges, now_us=NOW_US + delay_us) == 0


def test_a_clock_set_back_locks_nobody_out(any_table):
    rate = Rate(2, 60)
    assert any_table.charge([Charge(KEYS[0], rate, 2)], now_us=NOW_US) == 0
    early_us = NOW_US - 86_400_000_000
    delay_us = any_table.charge([Charge(KEYS[0], rate)], now_us=early_us)
    assert delay_us <= rate.interval_us
    assert any_table.charge([Charge(KEYS[0], rate)], now_us=early_us + delay_us) == 0


def test_no_charges_cost_nothing(any_table):
    assert any_table.charge([], now_us=NOW_US) == 0


@given(st.data())
def test_the_file_answers_as_a_dictionary_does(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("tables") / "limits"
    LimitFile.create(path, slots=8 * 64)
    table, model, now_us = LimitFile(path), MemoryLimits(), NOW_US
    some_rates = [Rate(1 + index % 4, 1 + index) for index in range(5)]
    try:
        for _ in range(data.draw(st.integers(1, 40))):
            now_us += data.draw(st.integers(0, 3_000_000))
            picked = data.draw(st.sets(st.integers(0, 4), min_size=1))
            charges = [
                Charge(KEYS[i], some_rates[i], data.draw(st.integers(1, some_rates[i].count)))
                for i in picked
            ]
            assert table.charge(charges, now_us=now_us) == model.charge(charges, now_us=now_us)
    finally:
        table.close()


# Processes


def test_four_processes_admit_exactly_the_count(path):
    rate = Rate(500, 86_400)
    barrier = forking.Barrier(4)

    def work(index, pipe):
        table = LimitFile(path)
        barrier.wait(PATIENCE_S)
        mine = Charge(bytes([100 + index]) * 16, Rate(1_000_000, 1))
        answers = [
            table.charge([Charge(KEYS[0], rate), mine], now_us=clock_us()) for _ in range(400)
        ]
        pipe.send(answers.count(0))

    with processes(4, work) as (_, pipes):
        assert sum(heard(pipe) for pipe in pipes) == 500


def test_four_processes_stay_within_the_rate_as_time_passes(path):
    rate = Rate(20, 1)
    barrier = forking.Barrier(4)

    def work(_index, pipe):
        table, times = LimitFile(path), []
        barrier.wait(PATIENCE_S)
        for _ in range(2_500):
            now_us = clock_us()
            if table.charge([Charge(KEYS[0], rate)], now_us=now_us) == 0:
                times.append((now_us, clock_us()))
        pipe.send(times)

    with processes(4, work) as (_, pipes):
        times = [taken for pipe in pipes for taken in heard(pipe)]
    elapsed_us = max(end for _, end in times) - min(start for start, _ in times)
    assert rate.count <= len(times) <= rate.count + elapsed_us // rate.interval_us


def test_the_lock_of_a_killed_holder_is_free(path, table, monkeypatch):
    def work(_index, pipe):
        mine = LimitFile(path)
        mine._lock()
        pipe.send("held")
        time.sleep(PATIENCE_S)

    with processes(1, work) as ((holder,), (pipe,)):
        assert heard(pipe) == "held"
        with monkeypatch.context() as patched:
            patched.setattr(limit_table, "LOCK_TRIES_MAX", 30)
            with pytest.raises(Overloaded):
                table.charge([Charge(KEYS[0], SLOW)], now_us=NOW_US)
        kill(holder)
        assert table.charge([Charge(KEYS[0], SLOW)], now_us=NOW_US) == 0


def test_processes_killed_amid_their_work_break_nothing(path, table):
    rate = Rate(2_000, 86_400)
    admitted = forking.RawArray("q", 4)

    def work(index, pipe):
        mine = LimitFile(path)
        pipe.send("ready")
        while True:
            if mine.charge([Charge(KEYS[0], rate)], now_us=clock_us()) == 0:
                admitted[index] += 1

    with processes(4, work) as (workers, pipes):
        for pipe in pipes:
            assert heard(pipe) == "ready"
        for worker in workers:
            time.sleep(0.005)
            kill(worker)
    rest = 0
    while table.charge([Charge(KEYS[0], rate)], now_us=clock_us()) == 0:
        rest += 1
        assert rest <= rate.count
    # Each killed process had at most one request that it could not tell of any more.
    assert rate.count - 4 <= sum(admitted) + rest <= rate.count


def test_a_late_reader_of_the_clock_gains_nothing(table):
    rate = Rate(5, 5)
    late = random.Random(7)
    taken, now_us = 0, NOW_US
    for _ in range(2_000):
        now_us += 10_000
        stale_us = now_us - late.randrange(CLOCK_SLACK_US // 2)
        taken += table.charge([Charge(KEYS[0], rate)], now_us=stale_us) == 0
    assert taken <= rate.count + (now_us - NOW_US + CLOCK_SLACK_US) // rate.interval_us


# Places


def test_full_sets_forget_what_remembers_the_least(tmp_path):
    LimitFile.create(tmp_path / "limits", slots=SET_SLOTS)
    table = LimitFile(tmp_path / "limits")
    login = Charge(KEYS[0], SLOW, 3)
    assert table.charge([login], now_us=NOW_US) == 0
    quick = Rate(2, 10)
    for number in range(500):
        charge = Charge(number.to_bytes(16, "big"), quick)
        assert [table.charge([charge], now_us=NOW_US + number) for _ in range(3)][:2] == [0, 0]
        assert table.charge([charge], now_us=NOW_US + number) > 0
    assert table.charge([login], now_us=NOW_US + 500) > 0
    table.close()


def test_a_set_full_of_active_keys_still_serves_new_ones(tmp_path):
    LimitFile.create(tmp_path / "limits", slots=SET_SLOTS)
    table = LimitFile(tmp_path / "limits")
    for number in range(3 * SET_SLOTS):
        key = number.to_bytes(16, "big")
        assert table.charge([Charge(key, SLOW, 3)], now_us=NOW_US + number) == 0
        assert table.charge([Charge(key, SLOW)], now_us=NOW_US + number) > 0
    table.close()


def test_a_key_across_two_slots_is_not_found(tmp_path):
    LimitFile.create(tmp_path / "limits", slots=SET_SLOTS)
    table = LimitFile(tmp_path / "limits")
    first, second = b"a" * 8 + b"b" * 8, b"c" * 8 + b"d" * 8
    table.charge([Charge(first, SLOW, 3)], now_us=NOW_US)
    table.charge([Charge(second, SLOW, 3)], now_us=NOW_US)
    assert table.charge([Charge(b"b" * 8 + b"c" * 8, SLOW, 3)], now_us=NOW_US) == 0
    table.close()


# The file


def test_the_table_outlives_a_worker_and_not_a_new_start(path):
    first = LimitFile(path)
    assert first.charge([Charge(KEYS[0], SLOW, 3)], now_us=NOW_US) == 0
    first.close()
    restarted = LimitFile(path)
    assert restarted.charge([Charge(KEYS[0], SLOW)], now_us=NOW_US) > 0
    LimitFile.create(path, slots=64)
    # Whoever still maps the old file goes on with it, unharmed.
    assert restarted.charge([Charge(KEYS[0], SLOW)], now_us=NOW_US) > 0
    restarted.close()
    renewed = LimitFile(path)
    assert renewed.charge([Charge(KEYS[0], SLOW)], now_us=NOW_US) == 0
    renewed.close()


def test_the_file_is_for_the_owner_alone_and_nothing_else_is_left(path):
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("content", [None, b"", b"SKLIMIT1", b"\0" * 256, b"SKLIMIT1" + bytes(300)])
def test_a_file_that_is_no_table_is_not_opened(tmp_path, content):
    path = tmp_path / "limits"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Unavailable, match="limits"):
        LimitFile(path)


def test_the_lock_is_given_back_when_a_charge_fails(path, table):
    with pytest.raises(AssertionError):
        table.charge([Charge(b"short", SLOW)], now_us=NOW_US)

    def work(_index, pipe):
        with path.open("r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            pipe.send("taken")

    with processes(1, work) as (_, (pipe,)):
        assert heard(pipe) == "taken"


def test_a_request_has_few_and_different_subjects(table):
    with pytest.raises(AssertionError):
        table.charge([Charge(key, SLOW) for key in KEYS[: CHARGES_MAX + 1]], now_us=NOW_US)
    with pytest.raises(AssertionError):
        table.charge([Charge(KEYS[0], SLOW), Charge(KEYS[0], SLOW)], now_us=NOW_US)
