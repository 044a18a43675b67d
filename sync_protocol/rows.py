"""The canonical row: the bytes that replicas exchange, and that digests are made of.

MessagePack `[id, [h, n, alive], {field: state}]`: integers in their smallest form, floats as
float64, text as the shortest str form, maps sorted by key (by UTF-8 bytes) at every level, fields
that were never written left out. Equal rows have equal bytes on every replica.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from sys import float_info
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol, cast, runtime_checkable

import msgspec

from core.ids import INTEGER_MAX
from sync_protocol import limits
from sync_protocol.errors import MalformedMessage
from sync_protocol.messages.base import Clock, Device, Id

if TYPE_CHECKING:
    from core.crdt.field import State

Bytes = bytes | msgspec.Raw
Alive = tuple[int, int, bool]
"""The alive register: (h, n, is_alive)."""
Row = tuple[str, Alive, dict[str, list[Any]]]
"""A decoded row: its id, its alive register, its fields' states."""

Integer = Annotated[int, msgspec.Meta(ge=-INTEGER_MAX, le=INTEGER_MAX)]
Finite = Annotated[float, msgspec.Meta(ge=-float_info.max, le=float_info.max)]


@runtime_checkable
class _Deep(Protocol):
    """Any object: what lies so deep that the decoder hands it to `_check_deep`."""


# Two levels are typed, so that ordinary states are checked by the decoder, without Python code.
_Inner = None | bool | Integer | Finite | str | list[_Deep] | dict[str, _Deep]
_Item = None | bool | Integer | Finite | str | list[_Inner] | dict[str, _Inner]
_WireRow = tuple[Id, tuple[Clock, Device, bool], dict[str, list[_Item]]]
_DEEP: Final = 5
"""Arrays and maps around a `_Deep`: the row, its fields, the state, an item, an inner item."""


def _check_deep(_type: type, value: object) -> object:
    check_value(value, depth=_DEEP)
    return value


_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode: Callable[[Bytes], Any] = msgspec.msgpack.Decoder(_WireRow, dec_hook=_check_deep).decode
_decode_json: Callable[[Bytes], Any] = msgspec.json.Decoder(_WireRow, dec_hook=_check_deep).decode
FAILURES: Final = (ValueError, RecursionError, OverflowError)
"""Everything that decoding hostile bytes raises (msgspec's own errors are ValueErrors)."""


def encode_row(row_id: str, alive: Alive, fields: Mapping[str, State]) -> bytes:
    """Return the canonical bytes of one row; states must be canonical (core.crdt.field, L4)."""
    if None in fields.values():
        fields = {name: state for name, state in fields.items() if state is not None}
    return _encode((row_id, alive, fields))


def decode_row(row: Bytes) -> Row:
    """Read a canonical row; raise MalformedMessage for anything that is not one."""
    try:
        return _decode(row)
    except FAILURES as error:
        raise MalformedMessage(f"not a row: {error!s:.200}") from error


def decode_row_json(row: Bytes) -> Row:
    """Read a row of a JSON message, the same shape as a canonical row."""
    try:
        return _decode_json(row)
    except FAILURES as error:
        raise MalformedMessage(f"not a row: {error!s:.200}") from error


def check_value(root: object, *, depth: int = 0) -> None:
    """Raise MalformedMessage unless `root` is plain JSON within the limits.

    Refused: nesting beyond NESTING_MAX (`depth` counts what already surrounds `root`), integers
    beyond 53 bits, NaN and infinities, keys that are not text, lone surrogates, binary and
    extension types.
    """
    pending: list[tuple[Any, int]] = [(root, depth)]
    while pending:
        value, depth = pending.pop()
        kind = cast("type[Any]", type(value))
        if kind is list or kind is dict:
            if depth >= limits.NESTING_MAX:
                raise MalformedMessage(f"nested deeper than {limits.NESTING_MAX}")
            if kind is dict:
                for key in value:
                    _check_key(key)
                value = value.values()
            pending.extend((item, depth + 1) for item in value)
        else:
            _check_scalar(kind, value)


def _check_scalar(kind: type[Any], value: Any) -> None:  # noqa: ANN401  (whatever a decoder made)
    if kind is str:
        _check_text(value)
    elif kind is int:
        if not -INTEGER_MAX <= value <= INTEGER_MAX:
            raise MalformedMessage("an integer has more than 53 bits")
    elif kind is float:
        if not isfinite(value):
            raise MalformedMessage("a number is not finite")
    elif value is not None and kind is not bool:
        raise MalformedMessage("a value is of a binary or extension type")


def _check_key(key: object) -> None:
    if not isinstance(key, str):
        raise MalformedMessage("a map has a key that is not text")
    _check_text(key)


def _check_text(value: str) -> None:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise MalformedMessage("text holds a lone surrogate") from None
