"""Over links that break, all mutations arrive once, and all see the same rows at the end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_protocol.errors import MalformedMessage
from sync_protocol.faults import FaultKind
from sync_protocol.messages.pushed import Pushed
from sync_protocol.session import effects as do
from sync_protocol.session.events import PullWanted, Received, RepairApplied
from sync_protocol.session.reactions import REACTIONS, Reaction
from sync_protocol.session.states import ClientState
from tests.sync_protocol.session.world import Device, Service

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "write",
                "write",
                "connect",
                "connect",
                "up",
                "up",
                "up",
                "down",
                "down",
                "down",
                "disconnect",
                "retry",
                "elsewhere",
                "damage",
                "trouble",
                "clone",
                "pull",
            ]
        ),
        st.integers(0, 1),
    ),
    max_size=60,
)
HARMLESS = sorted(kind for kind, reaction in REACTIONS.items() if reaction is Reaction.RETRY)


def quiesce(devices: list[Device]) -> None:
    for _ in range(60):
        for device in devices:
            if device.session.state in {ClientState.OFFLINE, ClientState.STOPPED}:
                device.connect()
            device.retry()
            for _ in range(4):
                device.deliver_up()
                device.deliver_down()
    for device in devices:
        assert device.session.state is ClientState.LIVE
        assert not device.queue
        assert not device.up
        assert not device.down


def act(action: str, device: Device, number: int) -> None:
    """Carry out one random step that concerns one device alone."""
    if action == "connect" and device.stream is None:
        device.connect()
    elif action == "up":
        device.deliver_up()
    elif action == "down":
        device.deliver_down()
    elif action == "disconnect":
        device.disconnect()
    elif action == "retry":
        device.retry()
    elif action == "pull":
        device.feed(PullWanted())
    elif action == "elsewhere":
        elsewhere(device.service, f"r{number % 7}")
    elif action == "damage" and device.rows:
        key = min(device.rows)
        device.rows[key] = (device.rows[key][0], b"\xc0")


def elsewhere(service: Service, *row_ids: str) -> None:
    before = service.sequence
    for row_id in row_ids:
        service.write(row_id, "by somebody else")
    service.tell(before)


def clone(original: Device, copy: Device) -> None:
    copy.disconnect()
    if not copy.queue:
        copy.installation, copy.counter = original.installation, original.counter


@given(steps=STEPS, trouble=st.lists(st.sampled_from(HARMLESS), max_size=6))
def test_everything_arrives_once_and_all_see_the_same(steps, trouble):
    service = Service()
    devices = [Device(service, f"phone-{index}") for index in range(2)]
    written: list[str] = []
    for number, (action, which) in enumerate(steps):
        if action == "write":
            written.append(f"text-{number}")
            devices[which].write(written[-1])
        elif action == "trouble" and trouble:
            service.trouble.append(trouble.pop())
        elif action == "clone" and devices[0].counter > devices[1].counter:
            clone(*devices)
        else:
            act(action, devices[which], number)
    service.trouble.clear()
    quiesce(devices)
    elsewhere(service, *service.rows)  # Every row is touched: a damaged one shows at a checkpoint.
    quiesce(devices)
    assert sorted(service.taken) == sorted(written)
    for device in devices:
        assert device.rows == service.rows


def live(service: Service, name: str = "phone") -> Device:
    device = Device(service, name)
    device.connect()
    quiesce([device])
    return device


def kinds(device: Device) -> list[str]:
    return [type(effect).__name__ for effect in device.log]


def test_a_poke_that_follows_is_applied_without_a_pull():
    service = Service()
    device = live(service)
    device.log.clear()
    service.write("r1", "elsewhere")
    service.tell(0)
    device.deliver_down()
    assert kinds(device) == ["ApplyPoke"]
    assert device.rows == service.rows


def test_a_lost_poke_is_made_up_for_by_a_pull():
    service = Service()
    device = live(service)
    for text in ("one", "two"):
        before = service.sequence
        service.write(f"r-{text}", text)
        service.tell(before)
    device.down.pop(0)
    quiesce([device])
    assert device.rows == service.rows


def test_damage_is_repaired_and_only_the_bucket_travels():
    service = Service()
    for number in range(40):
        service.write(f"row-{number}", "x")
    device = live(service)
    device.rows["row-7"] = (1, b"\xc0")
    device.log.clear()
    before = service.sequence
    service.write("row-8", "y")
    service.tell(before)
    quiesce([device])
    assert device.rows == service.rows
    (repaired,) = [effect for effect in device.log if isinstance(effect, do.ApplyRepair)]
    assert 1 <= len(repaired.repaired.damaged) <= 2
    assert "ReportDamage" not in kinds(device)


def test_damage_that_a_repair_does_not_mend_is_reported_and_ends():
    service = Service()
    service.write("row-1", "x")
    device = live(service)
    device._applyrepair = lambda effect: device.feed(_not_mended(effect))
    device.rows["row-1"] = (1, b"\xc0")
    device.log.clear()
    service.write("row-2", "y")
    service.tell(1)
    quiesce([device])
    assert kinds(device).count("ApplyRepair") == 1
    assert kinds(device).count("ApplyRound") == 1
    assert kinds(device).count("ReportDamage") == 1


def _not_mended(effect):
    return RepairApplied(effect.repaired.space, is_equal=False)


def test_a_clone_takes_a_new_identity_and_loses_nothing():
    service = Service()
    original, clone = live(service), live(service, "other")
    original.write("from the original")
    quiesce([original])
    clone.disconnect()
    clone.installation = original.installation
    clone.write("from the clone")
    assert clone.counter == original.counter
    quiesce([clone])
    assert service.taken == ["from the original", "from the clone"]
    assert clone.installation == "phone+"
    assert "BecomeNew" in kinds(clone)


def test_a_server_that_lost_its_history_gets_the_queue_under_a_new_identity():
    service = Service()
    device = live(service)
    device.write("lost with the server")
    quiesce([device])
    device.disconnect()
    service.hashes[2].clear()
    service.database, service.rows, service.sequence = "restored", {}, 0
    device.write("after the restore")
    quiesce([device])
    assert "BecomeNew" in kinds(device)
    assert "ResetRead" in kinds(device)
    assert service.taken[-1] == "after the restore"
    assert device.rows == service.rows


def test_what_another_database_says_of_a_push_is_asked_again_over_another_link():
    service = Service()
    service.write("row-1", "x")
    device = live(service)
    device.write("unsent")
    service.database = "moved"
    device.deliver_up()
    (told,) = [message for message in device.down if isinstance(message, Pushed)]
    with pytest.raises(MalformedMessage):
        device.feed(Received(told))
    assert device.queue
    device.disconnect()
    quiesce([device])
    assert "ResetRead" in kinds(device)
    assert service.taken == ["unsent"]
    assert device.rows == service.rows


def test_an_unknown_cursor_is_reset_and_keeps_the_queue():
    service = Service()
    service.write("row-1", "x")
    device = live(service)
    service.trouble.append(FaultKind.RATE_LIMITED)
    device.write("unsent")
    device.deliver_up()
    device.deliver_down()
    assert device.queue
    service.trouble.append(FaultKind.CURSOR_UNKNOWN)
    device.feed(PullWanted())
    quiesce([device])
    assert "ResetRead" in kinds(device)
    assert service.taken == ["unsent"]
    assert device.rows == service.rows
