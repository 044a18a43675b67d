"""Transition tables: what a state machine does with an event, and their drawing.

A table maps (state, event type) to a handler and the states it may lead to. The machine does not
know which side it plays; a pair that is not in its table is out of turn (after h11, `_state.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

from sync_protocol.errors import OutOfTurn

S = TypeVar("S", bound=StrEnum)


class Row(NamedTuple):
    """How one event is handled in one state: `handler(machine, event)` returns the next state."""

    handler: Callable[[Any, Any], StrEnum]
    targets: tuple[StrEnum, ...]


Table = Mapping[tuple[StrEnum, type], Row]


def step(table: Table, machine: object, state: S, event: object) -> S:
    """Handle one event and return the next state; raise OutOfTurn for an unknown pair."""
    row = table.get((state, type(event)))
    if row is None:
        raise OutOfTurn(state=state.value, event=type(event).__name__)
    following = row.handler(machine, event)
    assert following in row.targets, f"{state} + {type(event).__name__} led to {following}"
    return type(state)(following)


def rows_of(
    states: StrEnum | tuple[StrEnum, ...],
    event: type,
    handler: Callable[[Any, Any], StrEnum],
    *targets: StrEnum,
) -> dict[tuple[StrEnum, type], Row]:
    """Return table rows for one event in several states; without targets each state stays."""
    if not isinstance(states, tuple):
        states = (states,)
    return {(state, event): Row(handler, targets or (state,)) for state in states}


def mermaid(table: Table, initial: StrEnum) -> str:
    """Draw a table as a Mermaid state diagram; events that change nothing share one arrow."""
    arrows: dict[tuple[str, str], set[str]] = {}
    for (state, event), row in table.items():
        for target in row.targets:
            arrows.setdefault((_node(state), _node(target)), set()).add(event.__name__)
    lines = ["stateDiagram-v2", f"    [*] --> {_node(initial)}"]
    lines += [
        f"    {source} --> {target}: {', '.join(sorted(events))}"
        for (source, target), events in sorted(arrows.items())
    ]
    return "\n".join(lines)


def _node(state: StrEnum) -> str:
    return state.value.replace("-", "_")
