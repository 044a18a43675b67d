"""Faults in the merge statements, as text changes of the SQL that the schema generates."""

# pyright: reportArgumentType=false

# ruff: noqa: E501  (a table: one fault per line)

from __future__ import annotations

import dataclasses
import platform
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from edge.repositories.sql import columns, table
from tests.laws import sql_histories as engine
from tests.mutants.mutant import Mutant, NotPlanted

EXAMPLES = 120
NAME = r'"?((?!alive)[a-z_]+)"?'
PAIR = rf"\(excluded\.{NAME}__h, excluded\.\1__n\)"
STORED = r"\(t\.\1__h, t\.\1__n\)"
WINS = rf"{PAIR} > {STORED}"
IIF = rf'iif\({WINS}, excluded\.("?\w+"?), t\.\2\)'
CHOICE = r'iif\(\(excluded\.\w+, excluded\.\w+\) > \(t\.\w+, t\.\w+\), excluded\."\1", t\."\1"\)'
FIRST = rf"{PAIR} < {STORED}"


def is_noticed(kind: str) -> bool:
    """Run a bounded, seeded part of the engine test; tell whether it fails."""

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
    )
    @given(data=st.data())
    def run(data: Any) -> None:
        engine.check(data.draw(engine.histories(declared)))

    declared = engine.collection_of_all() if kind == "of all" else engine.collection_of(kind)
    try:
        if kind == "lww":
            for history in engine.stamped_pairs():
                engine.check(history)
        run()
    except sqlite3.OperationalError as error:
        if kind == "of all":
            return True
        raise NotPlanted(f"the changed SQL does not run: {error}") from error
    except (AssertionError, KeyError, ValueError, TypeError, sqlite3.IntegrityError):
        return True
    return False


@contextmanager
def statement_changed(change: Callable[[str], str]) -> Iterator[None]:
    """Put `change` between the generator and the database."""
    original = table._merge_statement
    hits: list[int] = []

    def changed(owner: Any, shape: Any) -> Any:
        statement = original(owner, shape)
        sql = change(statement.sql)
        if sql != statement.sql:
            hits.append(1)
        return dataclasses.replace(statement, sql=sql)

    table._merge_statement = changed  # type: ignore[assignment]
    try:
        yield
    finally:
        table._merge_statement = original
    if not hits:
        raise NotPlanted("no statement has changed")


@contextmanager
def instances_changed(declared: Any, **attributes: Any) -> Iterator[None]:
    """Give new instances of a class other attributes than its constructor does."""
    original = declared.__init__

    def changed(self: Any, field: Any) -> None:
        original(self, field)
        for name, value in attributes.items():
            if not hasattr(self, name):
                raise NotPlanted(name)
            setattr(self, name, value)

    declared.__init__ = changed
    try:
        yield
    finally:
        declared.__init__ = original


def _sub(pattern: str, replacement: str, sql: str) -> str:
    return re.sub(pattern, replacement, sql)


def sql(name: str, kind: str, pattern: str, replacement: str, equivalent: str = "") -> Mutant:
    """A mutant that replaces a pattern in every merge statement."""
    change = partial(_sub, pattern, replacement)
    return Mutant(name, kind, partial(statement_changed, change), equivalent)


def literal(name: str, kind: str, old: str, new: str, equivalent: str = "") -> Mutant:
    """As `sql`, with plain text."""
    return sql(name, kind, re.escape(old), new.replace("\\", "\\\\"), equivalent)


SAME_WRITE = "equal stamps are the same write, so whichever copy is kept is the same"
SORTED = "SQLite groups and partitions by sorting on the same keys, so the order stays"

EXACT_HERE = "" if platform.machine() not in ("x86_64", "AMD64") else (
    "here SQLite reads decimals through 80-bit floats, which is exact; elsewhere it is not"
)  # fmt: skip
ALIVE_PAIR = "(excluded.alive__h, excluded.alive__n)"
ALIVE_STORED = "(t.alive__h, t.alive__n)"

# fmt: off
MUTANTS: list[Mutant] = [
    # Registers: statement W
    sql("register: larger or equal wins", "lww", WINS, r"(excluded.\1__h, excluded.\1__n) >= (t.\1__h, t.\1__n)", SAME_WRITE),
    sql("register: smaller wins", "lww", WINS, r"(excluded.\1__h, excluded.\1__n) < (t.\1__h, t.\1__n)"),
    sql("register: tie not broken", "lww", WINS, r"excluded.\1__h > t.\1__h"),
    sql("register: tie broken the other way", "lww", WINS, r"(excluded.\1__h, -excluded.\1__n) > (t.\1__h, -t.\1__n)"),
    sql("register: only the device decides", "lww", WINS, r"excluded.\1__n > t.\1__n"),
    sql("register: condition dropped", "lww", IIF, r"excluded.\2"),
    sql("register: value kept, stamp taken", "lww", rf'"(\w+)" = {CHOICE}(?=, "\1__h")', r'"\1" = t."\1"'),
    sql("register: h not written", "lww", rf', "\w+__h" = {IIF}(?=, "\w+__n")', ""),
    sql("register: n not written", "lww", rf', "(?!alive)\w+__n" = {IIF}', ""),
    sql("register: values compared", "lww", WINS, r'excluded."\1" > t."\1"'),
    sql("register: NULL-unsafe change test", "lww", rf"{WINS}(?=, excluded)", r'((excluded.\1__h, excluded.\1__n) > (t.\1__h, t.\1__n) AND excluded."\1" <> t."\1")'),
    sql("register: NULL never overwrites", "lww", rf'iif\({WINS}, excluded\.("\w+[a-z]"), t\.\2\)', r"iif((excluded.\1__h, excluded.\1__n) > (t.\1__h, t.\1__n), coalesce(excluded.\2, t.\2), t.\2)"),
    # The row
    sql("row: DO NOTHING", "lww", r"DO UPDATE SET .* RETURNING", "DO NOTHING RETURNING"),
    sql("row: OR REPLACE", "lww", r"^INSERT INTO (.*) ON CONFLICT \(id\) DO UPDATE SET .* RETURNING", r"INSERT OR REPLACE INTO \1 RETURNING"),
    literal("row: sequence not written", "lww", "SET sequence = excluded.sequence", "SET sequence = t.sequence"),
    literal("row: sequence by max", "lww", "SET sequence = excluded.sequence", "SET sequence = max(t.sequence, excluded.sequence)", "sequences only grow, so the incoming one is the larger"),
    # Alive
    literal("alive: smaller stamp wins", "lww", f"{ALIVE_PAIR} > {ALIVE_STORED}", f"{ALIVE_PAIR} < {ALIVE_STORED}"),
    literal("alive: tie not broken", "lww", f"{ALIVE_PAIR} > {ALIVE_STORED}", "excluded.alive__h > t.alive__h"),
    literal("alive: living wins on one stamp", "lww", "excluded.alive < t.alive", "excluded.alive > t.alive"),
    literal("alive: first wins on one stamp", "lww", "excluded.alive < t.alive", "0"),
    sql("alive: delete always wins", "lww", r"(alive = iif\()", r"\1excluded.alive < t.alive OR "),
    sql("alive: h not written", "lww", r", alive__h = iif\(.*?, excluded\.alive__h, t\.alive__h\)", ""),
    sql("alive: n not written", "lww", r", alive__n = iif\(.*?, excluded\.alive__n, t\.alive__n\)", ""),
    # First write
    sql("first write: larger wins", "first_write", FIRST, r"(excluded.\1__h, excluded.\1__n) > (t.\1__h, t.\1__n)"),
    sql("first write: tie not broken", "first_write", FIRST, r"excluded.\1__h < t.\1__h"),
    sql("first write: unwritten beats all", "first_write", rf"t\.{NAME}__h = 0 OR ", ""),
    sql("first write: zero may win", "first_write", rf"excluded\.{NAME}__h <> 0 AND ", "", "a shape holds only fields that were written, so no delta has h = 0"),
    # Extremes
    literal("max: min", "max", "= max(coalesce(", "= min(coalesce("),
    literal("min: max", "min", "= min(coalesce(", "= max(coalesce("),
    sql("max: stored NULL swallows", "max", rf"max\(coalesce\(t\.{NAME}, excluded\.\"?\1\"?\)", r'max(t."\1"'),
    sql("min: incoming alone", "min", r"min\(coalesce\(t.*?\), coalesce\((excluded.*?), .*?\)\)", r"\1"),
    # Ranked and counter
    sql("ranked: flipped", "ranked", r'(\(excluded\.\S+__e"?, excluded\.\S+\)) > ', r"\1 < "),
    sql("ranked: epoch ignored", "ranked", r'\(excluded\.(\S+?)__e"?, excluded\.(\S+)\) > \(t\.\S+, t\.\S+\)', r"excluded.\2 > t.\2"),
    sql("ranked: rank ignored", "ranked", r'\((excluded\.\S+__e"?), excluded\.\S+\) > \((t\.\S+), t\.\S+\)', r"\1 > \2"),
    sql("ranked: epoch not written", "ranked", r', "\w+__e" = iif\(.*?\) > \(.*?\), excluded\.\S+, t\.\S+\)', ""),
    sql("counter: epoch ignored", "counter", r"CASE WHEN (excluded\.\S+) > t\.\S+ THEN (excluded\.\S+) WHEN .*? THEN (.*?) ELSE .*? END", r"\3"),
    sql("counter: equal epochs replace", "counter", r"THEN t\.\S+ \+ (excluded\.\S+) ELSE", r"THEN \1 ELSE"),
    sql("counter: old epochs count", "counter", r"THEN (t\.\S+ \+ excluded\.\S+) ELSE t\.\S+ END", r"THEN \1 ELSE \1 END"),
    sql("counter: new epoch adds", "counter", r"(CASE WHEN \S+ > \S+) THEN (excluded\.(\S+)) WHEN", r"\1 THEN t.\3 + excluded.\3 WHEN"),
    sql("counter: epoch falls back", "counter", r'= max\(t\.(\S+__e"?), excluded\.\S+\)', r"= excluded.\1"),
    sql("counter: epoch not written", "counter", r', "\w+__e" = max\(.*?\)', ""),
    # Sets and flags
    literal("set: removed dots ignored", "add_wins", "max(value->>3) AS r", "0 AS r"),
    literal("set: removed by min", "add_wins", "max(value->>3) AS r", "min(value->>3) AS r"),
    literal("set: added by min", "add_wins", "max(value->>2) AS a", "min(value->>2) AS a"),
    literal("set: devices mixed", "add_wins", "GROUP BY 1, 2 ORDER BY 1, 2", "GROUP BY 1 ORDER BY 1, 2"),
    literal("set: no dedupe", "add_wins", "GROUP BY 1, 2 ORDER BY 1, 2", "GROUP BY 1, 2, value ORDER BY 1, 2"),
    literal("set: case ignored", "add_wins", "value->>0 AS k,", "value->>0 COLLATE NOCASE AS k,"),
    literal("set: ORDER BY dropped", "add_wins", "GROUP BY 1, 2 ORDER BY 1, 2", "GROUP BY 1, 2", SORTED),
    literal("set: order reversed", "add_wins", "GROUP BY 1, 2 ORDER BY 1, 2", "GROUP BY 1, 2 ORDER BY 1 DESC, 2"),
    sql("set: stored entries lost", "add_wins", r"SELECT value FROM json_each\(t\.\S+\) UNION ALL ", ""),
    sql("set: incoming entries lost", "add_wins", r" UNION ALL SELECT value FROM json_each\(excluded\.\S+?\)(?=\))", ""),
    literal("flag: removed dots ignored", "flag", "max(value->>2) AS r", "0 AS r"),
    literal("flag: added by min", "flag", "max(value->>1) AS a", "min(value->>1) AS a"),
    literal("flag: no dedupe", "flag", "GROUP BY 1 ORDER BY 1", "GROUP BY 1, value ORDER BY 1"),
    # Multi-value
    literal("multi-value: older sibling stays", "multi_value", "ORDER BY a DESC, h DESC", "ORDER BY a, h DESC"),
    literal("multi-value: second key dropped", "multi_value", "ORDER BY a DESC, h DESC", "ORDER BY a DESC", "equal counters are one sibling; a buried copy of it carries a removal that buries both"),
    literal("multi-value: removal forgotten", "multi_value", "max(r) OVER same AS r", "r"),
    literal("multi-value: removed keeps its value", "multi_value", "json(iif(r >= a, 'null', x))", "json(x)"),
    literal("multi-value: removed keeps its stamp", "multi_value", "iif(r >= a, 0, h)", "h"),
    literal("multi-value: equal dot lives", "multi_value", "json(iif(r >= a, 'null', x))", "json(iif(r > a, 'null', x))"),
    literal("multi-value: no dedupe", "multi_value", "WHERE place = 1", "WHERE place > 0"),
    literal("multi-value: value as text", "multi_value", "json(iif(r >= a, 'null', x))", "iif(r >= a, 'null', x)"),
    # Map
    literal("map: older write stays", "map", "ORDER BY value->>1 DESC,", "ORDER BY value->>1,"),
    literal("map: tie not broken", "map", "value->>1 DESC, value->>2 DESC)", "value->>1 DESC)"),
    literal("map: tie broken the other way", "map", "value->>2 DESC)", "value->>2)"),
    literal("map: no dedupe", "map", "WHERE place = 1", "WHERE place > 0"),
    literal("map: keys mixed", "map", "PARTITION BY value->>0 ORDER", "PARTITION BY 1 ORDER"),
    literal("map: ORDER BY dropped", "map", " ORDER BY k) WHERE", ") WHERE", SORTED),
    # Escrow
    literal("escrow: used by max", "bounded_counter", "sum(value->>3)", "max(value->>3)"),
    literal("escrow: granted ignored", "bounded_counter", "sum(value->>2)", "min(value->>2)"),
    literal("escrow: lease ends early", "bounded_counter", "max(value->>4)", "min(value->>4)"),
    literal("escrow: equal deltas count once", "bounded_counter", " UNION ALL ", " UNION "),
    literal("escrow: devices mixed", "bounded_counter", "GROUP BY 1 ORDER BY 1", "GROUP BY value->>4 ORDER BY 1"),
    # Append-only
    sql("log: no dedupe", "append_only", r"SELECT min\(value\)( AS entry FROM \(.*?\)) GROUP BY value->>1, value->>2, value->>3", r"SELECT value\1"),
    literal("log: entries of one change joined", "append_only", "value->>1, value->>2, value->>3 ORDER", "value->>1, value->>2 ORDER"),
    literal("log: ORDER BY dropped", "append_only", " ORDER BY value->>0, value->>1, value->>2, value->>3)", ")"),
    literal("log: text order", "append_only", " ORDER BY value->>0, value->>1, value->>2, value->>3)", " ORDER BY value->>3, value->>0)"),
    # Codecs
    Mutant("codec: reals travel as JSON", "lww", partial(instances_changed, columns.RegisterColumns, is_exact_in_json=True), EXACT_HERE),
    Mutant("codec: a whole real returns as integer", "lww", partial(instances_changed, columns.RegisterColumns, _is_number=False, is_plain=True)),
    Mutant("codec: a flag returns as number", "lww", partial(instances_changed, columns.RegisterColumns, _is_flag=False)),
    Mutant("codec: a whole extreme returns as integer", "max", partial(instances_changed, columns.ExtremumColumns, _is_number=False)),
    Mutant("codec: field names not quoted", "of all", partial(statement_changed, lambda text: text.replace('excluded."group"', "excluded.group"))),
]
# fmt: on
