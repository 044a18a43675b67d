"""One phone of the demonstration, in a process of its own: it does what it is told, line by line.

Each line on standard input is a command in JSON, each line on standard output an answer:

    {"do": "edit", "collection": "airfield", "id": "EDXH", "fields": {"visits": {"Add": [1]}}}
    {"ok": null}

Lines that hold `progress` or `durable` come before the answer of a command that takes longer.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import Airfield, app

import skerry_client
from core.errors import CoreError
from skerry_client import Add, ClientError, Skerry
from skerry_client.operations import Operation

if TYPE_CHECKING:
    from collections.abc import Callable

OPERATIONS = {
    name: operation
    for name, operation in vars(skerry_client).items()
    if isinstance(operation, type) and issubclass(operation, Operation)
}


class Phone:
    """A phone's database, and the commands it knows."""

    def __init__(self, path: Path, *, url: str, token: str) -> None:
        self._path = path
        self._url = url
        self._token = token
        self._database = self._open(url)

    async def network(self, *, is_there: bool) -> None:
        """Open the database again, with a network or without one."""
        await self._database.close()
        self._database = self._open(self._url if is_there else None)

    async def sync(self) -> dict[str, Any]:
        """Do one full round and tell how it went."""
        status = await self._database.sync()
        return {
            "pending": status.pending,
            "is_current": status.is_current,
            "message": status.message,
            "damaged": sorted(status.damaged),
        }

    def insert(self, *, collection: str, space: str, id: str, fields: dict[str, Any]) -> None:  # noqa: A002
        """Add a row."""
        declared = app.collections[collection]
        self._database.insert(declared, space=space, id=id, **written(fields))

    def edit(self, *, collection: str, id: str, fields: dict[str, Any]) -> None:  # noqa: A002
        """Write some fields of a row, as one mutation."""
        self._database.edit(app.collections[collection], id, **written(fields))

    def delete(self, *, collection: str, id: str) -> None:  # noqa: A002
        """Delete a row."""
        self._database.delete(app.collections[collection], id)

    def work(self, *, id: str, count: int) -> None:  # noqa: A002
        """Visit one airfield many times, telling each time when the visit is safe on disk."""
        for visit in range(1, count + 1):
            self._database.edit(Airfield, id, visits=Add(1))
            tell({"durable": visit})

    def read(self, *, collection: str, id: str) -> dict[str, Any] | None:  # noqa: A002
        """Return what a person sees of a row, or None when it is not there."""
        declared = app.collections[collection]
        row = self._database.get(declared, id)
        if row is None:
            return None
        return {name: plain(row.read(field)) for name, field in declared.fields.items()}

    def outcomes(self) -> dict[str, Any]:
        """Return this phone's number, and its mutations that were refused."""
        return {
            "device": self._database.store.device,
            "rejected": [
                {
                    "code": refused.code,
                    "message": refused.message,
                    "rows": {
                        change.id: sorted(change.fields) for change in refused.mutation_changes
                    },
                }
                for refused in self._database.rejected()
            ],
        }

    def digests(self) -> dict[str, str]:
        """Return the digest of the confirmed rows, per space."""
        return self._database.digests()

    async def close(self) -> None:
        """Close the file."""
        await self._database.close()

    def _open(self, url: str | None) -> Skerry:
        database = Skerry(self._path, app, url=url, token=self._token, background=False)
        database.on_progress(lambda done, total: tell({"progress": [done, total]}))
        return database


def written(fields: dict[str, Any]) -> dict[str, Any]:
    """Turn {"visits": {"Add": [1]}} into visits=Add(1); anything else is a plain value."""
    return {
        name: OPERATIONS[next(iter(value))](*next(iter(value.values())))
        if isinstance(value, dict) and next(iter(value), None) in OPERATIONS
        else value
        for name, value in fields.items()
    }


def plain(value: Any) -> Any:  # noqa: ANN401  (a field's value, whatever its type)
    """Return a field's value in a form that JSON knows."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return sorted(value) if isinstance(value, frozenset) else value


def tell(answer: dict[str, Any]) -> None:
    """Write one line to whoever started this phone."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def obey(phone: Phone, line: str) -> dict[str, Any]:
    """Carry out one command."""
    command: dict[str, Any] = json.loads(line)
    method: Callable[..., Any] = getattr(phone, command.pop("do"))
    try:
        answer = method(**command)
        return {"ok": await answer if asyncio.iscoroutine(answer) else answer}
    except (ClientError, CoreError) as refusal:
        return {"refused": str(refusal)}


async def main() -> None:
    """Obey until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--url", required=True)
    parser.add_argument("--token", required=True)
    arguments = parser.parse_args()
    phone = Phone(arguments.path, url=arguments.url, token=arguments.token)
    try:
        while line := await asyncio.to_thread(sys.stdin.readline):
            tell(await obey(phone, line))
    finally:
        await phone.close()


if __name__ == "__main__":
    asyncio.run(main())
