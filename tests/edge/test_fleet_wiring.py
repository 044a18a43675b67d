"""What a fleet's node notes when it changes its role, and whom it calls when it starts again."""

# pyright: reportPrivateUsage=false

from types import SimpleNamespace
from typing import Any

import pytest

from core.fleet import Leadership, Role
from edge.fleet_wiring import Fleet
from edge.settings import read_settings
from edge.storage.sqld import FenceLost
from edge.workers.role_file import read_role

CLAIM = Leadership(2, "edge-ams", "http://127.0.0.1:2", "http://127.0.0.1:3")
FIXED = "http://127.0.0.1:9"


def joined(tmp_path, **change):
    """Settings of a node that has joined a fleet which `primary` led then."""
    settings: dict[str, Any] = {
        "role": "edge", "node": "edge-syd", "primary_node": "primary",
        "primary_url": "http://127.0.0.1:1", **change,
    }  # fmt: skip
    return read_settings({}, data=tmp_path, **settings)


def started_again(settings, role):
    """Whom a node calls that is told a claim, and starts again before its replica tells it."""
    endings: list[bool] = []
    ending = SimpleNamespace(change_role=lambda: endings.append(True))
    before: Any = SimpleNamespace(settings=settings, _ending=ending)
    Fleet._restart(before, role, CLAIM)
    assert endings == [True]
    after: Any = SimpleNamespace(primary=None, settings=settings, _role=read_role(settings))
    return Fleet._first_leader(after)


def test_an_edge_calls_the_primary_that_took_over_by_its_own_name(tmp_path):
    assert started_again(joined(tmp_path), Role.EDGE) == CLAIM


def test_a_fixed_url_stays_and_the_name_is_the_new_primarys(tmp_path):
    settings = joined(tmp_path, primary_url=FIXED, primary_grpc_url=FIXED, primary_url_fixed=True)
    assert started_again(settings, Role.EDGE) == Leadership(2, "edge-ams", FIXED, FIXED)


@pytest.mark.parametrize("name", ["", "primary"])
def test_before_any_take_over_the_settings_say_whom_to_call(tmp_path, name):
    settings = joined(tmp_path, primary_node=name)
    after: Any = SimpleNamespace(primary=None, settings=settings, _role=read_role(settings))
    assert Fleet._first_leader(after) == Leadership(0, name, "http://127.0.0.1:1", "")


def test_a_primary_notes_nobody_to_call(tmp_path):
    settings = joined(tmp_path)
    before: Any = SimpleNamespace(
        settings=settings, _ending=SimpleNamespace(change_role=lambda: None)
    )
    Fleet._restart(before, Role.PRIMARY, CLAIM)
    role = read_role(settings)
    assert (role.role, role.epoch) == (Role.PRIMARY, 2)
    assert '"primary_node": ""' in (tmp_path / "role.json").read_text()
    after: Any = SimpleNamespace(primary=object(), settings=settings, _role=role)
    assert Fleet._first_leader(after) is None


async def test_a_primary_that_was_fenced_asks_who_leads_before_it_ends():
    """Killed before it heard who it is, it would end at every start, and never serve again."""
    calls: list[str] = []

    def noted(name: str, problem: Exception | None = None) -> Any:
        async def call() -> None:
            calls.append(name)
            if problem is not None:
                raise problem

        return call

    signing = SimpleNamespace(load=noted("keys"))
    fenced: Any = SimpleNamespace(
        _lead=noted("lead", FenceLost("Another primary has taken over this database.")),
        _trust=SimpleNamespace(refresh=noted("nodes")),
        _identity=SimpleNamespace(identity=SimpleNamespace(signing=signing)),
        leading=SimpleNamespace(ask_around=noted("ask")),
    )
    with pytest.raises(FenceLost):
        await Fleet._open_primary(fenced)
    assert calls == ["lead", "nodes", "keys", "ask"]
