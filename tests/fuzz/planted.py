"""Faults to plant, one at a time: each must be noticed by the saved inputs or their neighbours."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final
from unittest.mock import patch

import msgspec
import zstandard

from core import values
from core.crdt import field as fields
from core.crdt.bounded_counter import BoundedCounter
from core.crdt.map import Map
from edge.controllers import body
from edge.services import rows as row_reads
from edge.services import tokens
from sync_protocol import codec, compression, digest, mutations, rows, space_rows
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.push import Push
from sync_protocol.messages.pushed import Pushed
from sync_protocol.session import client, events, push_lane, server
from sync_protocol.session.states import ClientState, LaneState, ServerState
from sync_protocol.session.table import Row
from tests.fuzz.targets import rows as row_target
from tests.mutants import merge_sql


@dataclass(frozen=True, slots=True)
class Planted:
    """A fault: `plant` puts it in for as long as the context lasts; `target` must notice."""

    name: str
    target: str
    plant: Callable[[], AbstractContextManager[Any]]


def _replaced(owner: Any, name: str, fault: Any) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: patch.object(owner, name, fault)


def _handled(
    table: Any, key: tuple[Any, type], fault: Any
) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: patch.dict(table, {key: Row(fault, table[key].targets)})


def _nothing(*_arguments: Any, **_names: Any) -> None:
    """A check that was taken out."""


def _unbounded_stream(stream: Any, content: bytes, _bytes_max: int) -> bytes:
    return stream.decompress(content)


def _of_any_length(raw: Any, media: Any = codec.Media.MSGPACK) -> Any:
    try:
        return space_rows._DECODE[media](raw)
    except rows.FAILURES as error:
        raise space_rows.MalformedMessage("not rows") from error


def _later_clock(_field: Any, left: Any, right: Any) -> Any:
    if left is None or right is None:
        return right if left is None else left
    return right if right[0] > left[0] else left


def _unasked(session: server.ServerSession, event: Push) -> ServerState:
    session.serve("push", event)
    return session.state


def _untold(session: server.ServerSession, _event: object) -> ServerState:
    return session.state


def _poked_anywhere(session: client.ClientSession, event: Poke) -> ClientState:
    session.effects.append(client.do.ApplyPoke(event))
    return session.state


def _pulling(session: client.ClientSession, _event: object) -> ClientState:
    return session.pull()


def _damaged_again(session: client.ClientSession, event: events.Mismatched) -> ClientState:
    session.damaged[event.space] = event.digests
    return session.state


def _skipping(lane: push_lane.PushLane, event: Pushed) -> LaneState:
    lane.after = max(lane.after, push_lane._answered_through(event) or lane.through)
    lane.effects.append(push_lane.Settle(event))
    return lane.prepare()


def _always_live(session: client.ClientSession) -> ClientState:
    return session.pull() if session.is_stale else ClientState.LIVE


_ANY_ROW: Final = tuple[str, tuple[int, int, bool], dict[str, list[Any]]]

PLANTED: Final = (
    Planted(
        "deep and long input escapes",
        "client_messages",
        _replaced(codec, "FAILURES", (msgspec.ValidationError,)),
    ),
    Planted(
        "values of conflicts unchecked",
        "server_messages",
        _replaced(codec, "_check_receipts", _nothing),
    ),
    Planted(
        "rows unchecked",
        "server_messages",
        _replaced(rows, "_decode", msgspec.msgpack.Decoder(_ANY_ROW).decode),
    ),
    Planted("bombs", "compression", _replaced(compression, "_bounded_stream", _unbounded_stream)),
    Planted(
        "wrong error of zstd",
        "compression",
        _replaced(zstandard, "ZstdError", type("Other", (Exception,), {})),
    ),
    Planted("payloads unchecked", "mutations", _replaced(mutations, "check_value", _nothing)),
    Planted("keys unsorted", "rows", _replaced(rows, "_encode", msgspec.msgpack.Encoder().encode)),
    Planted(
        "rows unchecked",
        "rows",
        _replaced(rows, "_decode", msgspec.msgpack.Decoder(_ANY_ROW).decode),
    ),
    Planted(
        "columns of any length",
        "space_rows",
        _replaced(row_target, "decode_space_rows", _of_any_length),
    ),
    Planted(
        "a removal adds", "digests", _replaced(digest.DigestSum, "remove", digest.DigestSum.add)
    ),
    Planted("the tie of devices", "payloads", _replaced(fields.Register, "merge", _later_clock)),
    Planted(
        "objects of any type", "payloads", _replaced(values, "mapping", lambda value, **_: value)
    ),
    Planted("JSON unchecked", "payloads", _replaced(values, "json", lambda value: value)),
    Planted("stock without end", "payloads", _replaced(BoundedCounter, "pool", lambda *_: 1_000)),
    Planted(
        "the first write of a key",
        "payloads",
        _replaced(Map, "merge", lambda _, left, right: left or right),
    ),
    Planted(
        "two pushes at once",
        "server_session",
        _handled(server.SERVER_TABLE, (ServerState.OPEN, Push), _unasked),
    ),
    Planted(
        "a change untold",
        "server_session",
        _handled(server.SERVER_TABLE, (ServerState.OPEN, events.Changed), _untold),
    ),
    Planted(
        "a set behind a page",
        "server_session",
        _replaced(server, "_kept_for_after_the_page", _nothing),
    ),
    Planted(
        "two pulls at once",
        "client_session",
        _handled(client.CLIENT_TABLE, (ClientState.PULLING, events.PullWanted), _pulling),
    ),
    Planted(
        "repairs in a loop",
        "client_session",
        _handled(client.CLIENT_TABLE, (ClientState.APPLYING, events.Mismatched), _damaged_again),
    ),
    Planted(
        "unsent mutations skipped",
        "client_session",
        _handled(push_lane.LANE_TABLE, (LaneState.SENT, Pushed), _skipping),
    ),
    Planted(
        "live behind the node",
        "client_session",
        _replaced(client.ClientSession, "go_on", _always_live),
    ),
    Planted(
        "pokes applied anywhere",
        "client_session",
        _handled(client.CLIENT_TABLE, (ClientState.LIVE, Poke), _poked_anywhere),
    ),
    Planted("persons of any form", "tokens", _replaced(tokens, "is_id", lambda _: True)),
    Planted(
        "positions unchecked", "queries", _replaced(row_reads, "_comparable", lambda value: value)
    ),
    Planted(
        "lengths of any length",
        "bodies",
        _replaced(body, "_is_within", lambda text, most: int(text) <= most),
    ),
)

SQL: Final = tuple(
    Planted(mutant.name, "merge_sql", mutant.plant)
    for mutant in merge_sql.MUTANTS
    if not mutant.equivalent
)
"""The mutants of the merge SQL, which tests.mutants plants for the laws as well."""
