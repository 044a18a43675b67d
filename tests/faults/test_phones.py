"""The phones of the fault tests on one node: every kind of write, kills, copies, wrong clocks."""

import json
import time

import pytest

from tests.e2e.node_process import NodeProcess
from tests.faults import ending, writes
from tests.faults.busy_phone import now_ms
from tests.faults.phones_process import SURVEY, PhonesProcess
from tests.faults.survey import PEOPLE, SPACES, app
from tests.history.declaration import tell_app
from tests.history.history import History, read
from tests.history.server import ServerRecorder

SECONDS = 1
SETTLE_SECONDS_MAX = 60
WAYS = {"ada-1": "rounds", "ada-2": "stream", "ben-1": "rounds"}
FIELDS = {"title", "visits", "tags", "remarks", "is_open", "stock", "text", "code"}


def members(node):
    for space in SPACES:
        for person in PEOPLE:
            node.set_member(space, person)
            told = {"space": space, "person": person, "kind": "region", "role": "member"}
            yield {"e": "member", "t": now_ms(), **told, "s": 0}


@pytest.mark.slow
def test_phones_under_load_converge_although_everybody_is_killed(tmp_path):
    path = tmp_path / "history.jsonl"
    tale = History(path, keeps_events=False)
    tell_app(tale, app, now_ms=now_ms())
    with NodeProcess(data=tmp_path / "node", module=SURVEY) as node:
        for event in members(node):
            tale.add(event)
        phones = [
            {"name": name, "person": name[:3], "way": way, "urls": [node.url]}
            for name, way in WAYS.items()
        ]
        for phone in phones:
            phone["token"] = node.token(phone["person"])
        plan = {"seed": 1, "pause_s": 0.02, "phones": phones}
        process = PhonesProcess(tmp_path / "phones", plan, history=path)
        process.start()
        try:
            process.ask("prepare")
            process.write(is_on=True)
            time.sleep(SECONDS)
            process.kill()
            process.back_up("ada-1")
            process.start()
            process.set_clock("ben-1", -3_600_000)
            time.sleep(SECONDS)
            node.kill()
            node.start()
            process.kill()
            process.restore("ada-1")
            process.clone("ben-1", "ben-2", [node.url])
            process.start()
            time.sleep(SECONDS)
            process.write(is_on=False)
            settled = process.ask("settle", seconds=SETTLE_SECONDS_MAX)
            assert settled["is_quiet"], settled
            tale.add({"e": "quiet", "t": now_ms()})
            process.ask("final")
            recorder = ServerRecorder(tale, "node", node.database, app, now_ms=now_ms)
            recorder.look(full=True)
            recorder.outcomes()
            recorder.close()
            process.ask("again")
        finally:
            process.stop()
    events = read(path)
    violations, looked_at = ending.judged(events)
    assert violations == []
    assert looked_at
    seen = ending.counted(events)
    assert {name.removeprefix("wrote_") for name in seen if name.startswith("wrote_")} == FIELDS
    assert seen["backups"] == seen["clones"] == 1
    assert seen["merged"] > len(writes.KINDS)
    assert seen["rejected"]


@pytest.fixture
def stopped(tmp_path):
    phone = {"name": "ada-1", "person": "ada", "way": "rounds", "urls": [], "token": ""}
    plan = {"seed": 1, "pause_s": 1, "phones": [phone]}
    return PhonesProcess(tmp_path, plan, history=tmp_path / "history.jsonl")


def write_file(phones, text):
    for end in ("", "-wal"):
        (phones.folder / f"ada-1.db{end}").write_text(text + end)
    (phones.folder / "ada-1.db-shm").write_text("shared memory")


def held(phones, name):
    return {p.name: p.read_text() for p in sorted(phones.folder.glob(f"{name}.db*"))}


def test_a_phone_is_set_back_to_what_was_kept_of_it(stopped):
    write_file(stopped, "old")
    assert not stopped.has_backup("ada-1")
    stopped.back_up("ada-1")
    assert stopped.has_backup("ada-1")
    write_file(stopped, "new")
    stopped.restore("ada-1")
    assert held(stopped, "ada-1") == {"ada-1.db": "old", "ada-1.db-wal": "old-wal"}
    assert stopped["ada-1"]["from"] == "backup"


def test_a_phone_that_has_no_log_any_more_gets_none(stopped):
    write_file(stopped, "old")
    (stopped.folder / "ada-1.db-wal").unlink()
    stopped.back_up("ada-1")
    write_file(stopped, "new")
    stopped.restore("ada-1")
    assert held(stopped, "ada-1") == {"ada-1.db": "old"}


def test_a_clone_is_another_phone_with_the_same_file(stopped):
    write_file(stopped, "old")
    stopped.clone("ada-1", "ada-2", ["http://there"])
    assert stopped.names == ["ada-1", "ada-2"]
    assert held(stopped, "ada-2")["ada-2.db"] == "old"
    assert stopped["ada-2"]["from"] == "clone:ada-1"
    assert stopped["ada-2"]["urls"] == ["http://there"]
    assert "from" not in stopped["ada-1"]


def test_a_lost_phone_is_told_and_not_started_again(stopped):
    stopped.lose("ada-1")
    assert stopped.names == []
    (told,) = [json.loads(line) for line in stopped.history.read_text().splitlines()]
    assert (told["e"], told["p"]) == ("lost", "ada-1")
