"""Keys of phones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.ports.identity_records import DeviceKeyRecord

if TYPE_CHECKING:
    from edge.ports.sql import SqlWriter

_COLUMNS: Final = "tenant, id, person, public, name, created_ms"


class SqlDeviceKeys:
    """ct_device."""

    def __init__(self, sql: SqlWriter) -> None:
        self._sql = sql

    def get(self, tenant: str, device: str) -> DeviceKeyRecord | None:
        """Return one device's key."""
        row = self._sql.one(
            f"SELECT {_COLUMNS} FROM ct_device WHERE tenant = ? AND id = ?", (tenant, device)
        )
        return None if row is None else DeviceKeyRecord(*row)

    def put(self, record: DeviceKeyRecord) -> None:
        """Store; a device that changes hands keeps its id and key."""
        self._sql.run(
            f"INSERT INTO ct_device ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (tenant, id) DO UPDATE SET person = excluded.person, "
            "name = excluded.name, created_ms = excluded.created_ms",
            (
                record.tenant,
                record.id,
                record.person,
                record.public,
                record.name,
                record.created_ms,
            ),
        )

    def of_person(self, tenant: str, person: str) -> list[DeviceKeyRecord]:
        """Return a person's devices, oldest first."""
        rows = self._sql.all(
            f"SELECT {_COLUMNS} FROM ct_device WHERE tenant = ? AND person = ? "
            "ORDER BY created_ms, id",
            (tenant, person),
        )
        return [DeviceKeyRecord(*row) for row in rows]
