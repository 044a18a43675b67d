"""The phones of the fault tests on one node: the checker has nothing to complain of.

One real node that is killed once, and the phones' own process killed once.
"""

import time

import pytest

from tests.e2e.node_process import NodeProcess
from tests.faults.checker import Final, complaints, told
from tests.faults.database_files import digests
from tests.faults.phones import SPACE
from tests.faults.phones_process import SURVEY, PhonesProcess

SECONDS = 0.5
SETTLE_SECONDS_MAX = 20
WAYS = {"ada-1": "rounds", "ada-2": "stream", "ben-1": "rounds"}


@pytest.mark.slow
def test_phones_under_load_converge_although_everybody_is_killed(tmp_path):
    with NodeProcess(data=tmp_path / "node", module=SURVEY) as node:
        for person in ("ada", "ben"):
            node.set_member(SPACE, person)
        plan = {
            "seed": 1,
            "pause_s": 0.02,
            "phones": [
                {"name": name, "way": way, "urls": [node.url], "token": node.token(name[:3])}
                for name, way in WAYS.items()
            ],
        }
        phones = PhonesProcess(tmp_path / "phones", plan)
        phones.start()
        try:
            phones.ask("prepare")
            phones.write(is_on=True)
            time.sleep(SECONDS)
            phones.kill()
            phones.start()
            time.sleep(SECONDS)
            node.kill()
            node.start()
            time.sleep(SECONDS / 2)
            phones.write(is_on=False)
            settled = phones.ask("settle", seconds=SETTLE_SECONDS_MAX)
            assert settled["is_quiet"], settled
            dumps = phones.ask("dump")
        finally:
            phones.stop()
        finals = {n: Final(d["sites"], d["notes"], d["digests"]) for n, d in dumps.items()}
        events = phones.events()
        assert complaints(events, finals) == []
        assert finals["ada-1"].digests == digests(node.database)
    mutations, _ = told(events)
    kinds = {mutation.kind for mutation in mutations.values()}
    assert kinds == {"site", "count", "title", "tag", "note", "bare", "shout"}
    assert len(mutations) > 50
    outcomes = {outcome for mutation in mutations.values() for outcome in mutation.outcomes}
    assert {"merged", "rejected"} <= outcomes
