"""Devices: their numbers, how far they have pushed, and how far they have read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.ids import FIRST_DEVICE
from edge.ports.records import DeviceRecord
from edge.repositories.meta import SqlMeta
from edge.repositories.sql.columns import to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.ports.sql import SqlWriter

_COLUMNS = "n, person, installation, counter, effective, acknowledged, seen_ms"


class SqlDevices:
    """sk_device. Numbers are issued in order and never reused, rows are never deleted."""

    def __init__(self, sql: SqlWriter) -> None:
        self._sql = sql

    def by_number(self, n: int) -> DeviceRecord | None:
        """Return the device with a number."""
        row = self._sql.one(f"SELECT {_COLUMNS} FROM sk_device WHERE n = ?", (n,))
        return None if row is None else DeviceRecord(*row)

    def by_installation(self, person: str, installation: str) -> DeviceRecord | None:
        """Return a person's device by the app's own installation id."""
        row = self._sql.one(
            f"SELECT {_COLUMNS} FROM sk_device WHERE person = ? AND installation = ?",
            (person, installation),
        )
        return None if row is None else DeviceRecord(*row)

    def register(self, person: str, installation: str, *, now_ms: int) -> DeviceRecord:
        """Issue the next device number."""
        row = self._sql.one("SELECT max(n) FROM sk_device")
        last = row[0] if row is not None and row[0] is not None else 0
        number = max(last + 1, FIRST_DEVICE, SqlMeta(self._sql).get("device_floor") or 0)
        device = DeviceRecord(number, person, installation, 0, 0, 0, now_ms)
        self._insert(device)
        return device

    def save(self, device: DeviceRecord) -> None:
        """Store a device as it stands after a commit."""
        self._sql.run(
            "UPDATE sk_device SET counter = ?, effective = ?, seen_ms = max(seen_ms, ?) "
            "WHERE n = ?",
            (device.counter, device.effective, device.seen_ms, device.n),
        )

    def ensure_primary(self, n: int) -> DeviceRecord:
        """Return the record of the primary itself, making it at first use."""
        found = self.by_number(n)
        if found is None:
            found = DeviceRecord(n, "", "primary", 0, 0, 0, 0)
            self._insert(found)
        return found

    def acknowledge(self, n: int, sequence: int, *, now_ms: int) -> None:
        """Note that a device has applied everything up to `sequence`."""
        self._sql.run(
            "UPDATE sk_device SET acknowledged = ?, seen_ms = max(seen_ms, ?) WHERE n = ?",
            (sequence, now_ms, n),
        )

    def counters(self, numbers: Sequence[int]) -> dict[int, int]:
        """Return the mutation counters of some devices."""
        return dict(
            self._sql.all(
                "SELECT d.n, d.counter FROM json_each(?) AS wanted "
                "CROSS JOIN sk_device d ON d.n = wanted.value",
                (to_json(list(numbers)),),
            )
        )

    def lowest_acknowledged(self, *, seen_after_ms: int) -> int | None:
        """Return the lowest acknowledged sequence of devices whose lease runs; None without any."""
        row = self._sql.one(
            "SELECT min(acknowledged) FROM sk_device WHERE n >= ? AND seen_ms >= ? "
            "AND installation NOT LIKE 'rest:%'",
            (FIRST_DEVICE, seen_after_ms),
        )
        return None if row is None else row[0]

    def _insert(self, device: DeviceRecord) -> None:
        self._sql.run(
            f"INSERT INTO sk_device ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                device.n,
                device.person,
                device.installation,
                device.counter,
                device.effective,
                device.acknowledged,
                device.seen_ms,
            ),
        )
