"""What may leave a decoder or be stored, said again without the code that checks it."""

from __future__ import annotations

import json
from typing import Any, Final

INTEGER_MAX: Final = 2**53 - 1


def require_plain(value: Any, *, is_stored: bool = False) -> None:
    """Fail unless `value` is JSON that every language and SQLite hold exactly.

    Stored text has no NUL besides: SQLite's JSON functions cut it there.
    """
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    pending = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, dict):
            assert all(type(key) is str for key in each), "a key that is not text"
            pending += [*each, *each.values()]
        elif isinstance(each, list | tuple):
            pending += each
        elif type(each) is int:
            assert abs(each) <= INTEGER_MAX, "an integer of more than 53 bits"
        else:
            assert each is None or type(each) in {bool, float, str}, type(each)
            assert not (is_stored and isinstance(each, str) and "\x00" in each), "a NUL is stored"
