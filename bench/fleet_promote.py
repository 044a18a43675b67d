"""Fleet promote: how long phones wait for final receipts while another node takes over."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from typing import TYPE_CHECKING

from bench.child_process import MEDIA
from bench.figure import Figure
from bench.fleet_process import phones_of, served_fleet
from bench.node_process import data_folder, now_ms
from bench.phones import PUSH_PATH
from sync_protocol.codec import decode_server
from sync_protocol.messages.pushed import Pushed

if TYPE_CHECKING:
    from pathlib import Path

    from bench.fleet_process import FleetNode
    from bench.todo_rows import Device

REGIONS = ("ams", "syd")
ANSWER_SECONDS_MAX = 2.0
AGAIN_S = 0.02
TAKE_OVER_SECONDS_MAX = 40.0
PUSHES_AROUND_S = 0.5
"""How long the phone has pushed before a hand-over begins, and goes on after it."""


def measure(*, quick: bool) -> list[Figure]:
    del quick  # a take-over has one size
    with (
        data_folder() as folder,
        served_fleet(folder, rows=200, people=2, regions=REGIONS) as fleet,
    ):
        ams, syd = fleet.edges
        phone, other = phones_of(ams, ["person-0", "person-1"], fleet.seen)
        fleet.wait_until_level()
        fleet.dev.primary.kill()
        promoted_s, command_s = _promoted(Phone(ams, phone, list(fleet.seen)))
        _wait_for_primary(syd, "edge-ams")
        syd_phone = Phone(syd, other, list(fleet.seen))
        outage_s, handed_s = _handed_over(ams, syd, syd_phone)
    return [
        Figure(name="fleet_promote", value=promoted_s, unit="s", at_most=5),
        Figure(name="fleet_promote.command", value=command_s, unit="s"),
        Figure(name="fleet_promote.hand_over", value=outage_s, unit="s", at_most=5),
        Figure(name="fleet_promote.hand_over_command", value=handed_s, unit="s"),
    ]


class Phone:
    """Pushes one mutation again and again until its receipt is final, then the next one."""

    def __init__(self, node: FleetNode, device: Device, rows: list[str]) -> None:
        self.node = node
        self._device = device
        self._rows = rows
        self._draw = random.Random(device.n)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._push_on)
        self.waits: list[tuple[float, float]] = []
        """When each mutation was first sent, and when its final receipt came."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _push_on(self) -> None:
        while not self._stop.is_set():
            row = self._draw.choice(self._rows)
            _, mutation = self._device.edit(row, self._draw, now_ms=now_ms())
            started = time.monotonic()
            while not self._is_final(mutation):
                if self._stop.is_set():
                    return
                time.sleep(AGAIN_S)
            self.waits.append((started, time.monotonic()))
            time.sleep(AGAIN_S)

    def _is_final(self, mutation: bytes) -> bool:
        """Push; False when nobody answers, or an answer is not final."""
        headers = {"authorization": f"Bearer {self._device.token}", "content-type": MEDIA}
        body = self._device.push([mutation], now_ms=now_ms())
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.node.port, timeout=ANSWER_SECONDS_MAX
        )
        try:
            connection.request("POST", PUSH_PATH, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        if answer.status >= 500:
            return False
        if answer.status != 200:
            raise RuntimeError(f"a push was answered with {answer.status} {content[:300]!r}")
        pushed = decode_server(content)
        assert isinstance(pushed, Pushed), "push is answered with pushed"
        return all(receipt.outcome != "accepted" for receipt in pushed.receipts)


def _promoted(phone: Phone) -> tuple[float, float]:
    """Promote the phone's node; return seconds to the first final receipt, and of the command."""
    started = time.monotonic()
    phone.start()
    try:
        phone.node.node.run("primary", "promote")
        command_s = time.monotonic() - started
        _wait_for_waits(phone, 1)
    finally:
        phone.stop()
    return phone.waits[0][1] - started, command_s


def _handed_over(old: FleetNode, new: FleetNode, phone: Phone) -> tuple[float, float]:
    """Hand over to the phone's node; return the longest wait for a receipt, and the command's."""
    phone.start()
    try:
        time.sleep(PUSHES_AROUND_S)
        started = time.monotonic()
        old.node.run("primary", "hand-over", "--to", new.node.name)
        command_s = time.monotonic() - started
        _wait_for_primary(new, new.node.name)
        _wait_for_waits(phone, len(phone.waits) + 2)
        time.sleep(PUSHES_AROUND_S)
    finally:
        phone.stop()
    return max(done - first for first, done in phone.waits if done > started), command_s


def _wait_for_waits(phone: Phone, count: int) -> None:
    deadline = time.monotonic() + TAKE_OVER_SECONDS_MAX
    while len(phone.waits) < count:
        if time.monotonic() > deadline:
            raise RuntimeError(f"no final receipt at {phone.node.node.name}")
        time.sleep(AGAIN_S)


def _wait_for_primary(node: FleetNode, name: str) -> None:
    """Wait until a node leads, or takes pushes from its phones to the one that does."""
    deadline = time.monotonic() + TAKE_OVER_SECONDS_MAX
    wanted = ("role", "primary") if node.node.name == name else ("primary", "heard")
    while _health(node).get(wanted[0]) != wanted[1] or not _leads(node.node.data, name):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{node.node.name} does not follow {name}")
        time.sleep(AGAIN_S)


def _health(node: FleetNode) -> dict[str, object]:
    try:
        return json.loads(node.request("GET", "/health/ready"))
    except (OSError, RuntimeError, http.client.HTTPException):
        return {}


def _leads(data: Path, name: str) -> bool:
    """Tell whether a node's folder says that `name` leads: its own, or by the address it calls."""
    role = json.loads((data / "role.json").read_bytes())
    return (role["role"] == "primary") == (data.name == name)
