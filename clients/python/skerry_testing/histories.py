"""The strategy of histories: phones write offline, come back, read, and write again.

While a history is drawn its writes go to a primary in memory, so that what a phone reads, and
therefore bases, dots and epochs, are what a real one would have. What nobody has read yet may have
arrived in another order: those are the other deliveries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hypothesis import strategies as st

from core.changes import Mutation, Operation
from core.clock import COUNTER_BITS, unix_ms
from core.crdt.field import Write
from core.ids import DeviceNumber, MutationCounter, PersonId
from core.row import RowDelta, RowState, merge_delta
from skerry_testing.choice import choose, choose_some
from skerry_testing.history import START_H, History, Phone, Push
from skerry_testing.mutations import draw_changes
from skerry_testing.payloads import DEVICES, ROW_IDS
from skerry_testing.primary import Primary

if TYPE_CHECKING:
    from collections.abc import Collection as Names
    from collections.abc import Mapping, Sequence

    from core.judge import RowKey
    from core.schema.app import App

PEOPLE: Final = ("ann", "ben", "cat", "dan")
STEPS_MAX: Final = 20
"""What phones do in one history: long enough for three rounds, short enough to be read."""
DELIVERIES_MAX: Final = 3
"""Ways to deliver one history: as it happened, and up to two others."""
FIELDS_IN_PLAY_MAX: Final = 3
"""Fields of a collection that one history writes, so that its writes meet."""
_HOUR: Final = 3_600_000 << COUNTER_BITS
_CLOCK_STEPS: Final = (1, 1, 1, 2, 2, _HOUR)
"""Between two writes of a phone: mostly so little that phones write at the same clock value."""
_DEEDS: Final = ("write",) * 7 + ("sync", "sync", "push", "pull")
_MOSTLY: Final = (False,) + (True,) * 7
_GOES_ON: Final = (False,) + (True,) * 15
_SELDOM: Final = (False,) * 7 + (True,)


@st.composite
def histories(
    draw: st.DrawFn,
    app: App,
    *,
    devices: int = 3,
    rows: Sequence[str] = ROW_IDS[:2],
    steps: int = STEPS_MAX,
    fields: Mapping[str, Names[str]] | None = None,
) -> History:
    """Histories of 2 to `devices` phones (at most 4), each of a person of its own.

    The first phone's person has, in each space, the role that may do most; the others have any.
    `rows` are the ids to write to, in each collection; `fields` maps names of collections to the
    fields to write, for apps whose rules concern a few of many: by default each history writes up
    to four fields of each collection. `steps` bounds the writes, pushes and pulls.
    """
    assert 2 <= devices <= len(DEVICES), "a history has 2 to 4 phones"  # noqa: PLR2004  (said)
    phones = _phones(draw, app, devices)
    scene = _Scene(app, phones, rows, _in_play(draw, app) if fields is None else fields)
    scene.found(draw)
    for _ in range(steps):
        if not choose(draw, _GOES_ON):
            break
        scene.act(draw, scene.authors[choose(draw, phones).device], choose(draw, _DEEDS))
    scene.part(draw)
    return scene.told(draw)


def _phones(draw: st.DrawFn, app: App, devices: int) -> list[Phone]:
    count = choose(draw, range(2, devices + 1))
    able_roles = {kind: (_most_able(app, kind), roles) for kind, roles in app.spaces.items()}
    return [
        Phone(
            DeviceNumber(device),
            PersonId(person),
            {
                kind: choose(draw, (able, *roles, able)) if index else able
                for kind, (able, roles) in able_roles.items()
            },
        )
        for index, (device, person) in enumerate(zip(DEVICES[:count], PEOPLE, strict=False))
    ]


def _most_able(app: App, kind: str) -> str:
    def abilities(role: str) -> int:
        return sum(
            role in declared.access.roles(operation)
            for declared in app.collections.values()
            if declared.space_kind == kind
            for operation in Operation
        ) + sum(
            role in (field.write or (role,))
            for declared in app.collections.values()
            if declared.space_kind == kind
            for field in declared.fields.values()
        )

    return max(app.spaces[kind], key=abilities)


def _in_play(draw: st.DrawFn, app: App) -> dict[str, list[str]]:
    """Choose the fields that a history writes; those with constraints always are among them."""
    chosen: dict[str, list[str]] = {}
    for name, declared in app.collections.items():
        names = sorted(declared.fields)
        constrained = [reference.field for reference in declared.references]
        constrained += [field for unique in declared.unique for field in unique.fields]
        drawn = choose_some(draw, names, least=1, most=FIELDS_IN_PLAY_MAX)
        chosen[name] = sorted({*drawn, *constrained})
    return chosen


class _Author:
    """One phone while a history is drawn: its clock, its queue, and what it has read."""

    def __init__(self, app: App, phone: Phone) -> None:
        self._app = app
        self.phone = phone
        self.h = START_H
        self.made: list[Mutation] = []
        self.pushed = 0
        self._read: dict[RowKey, RowState] = {}
        self._read_own = 0

    def view(self) -> dict[RowKey, RowState]:
        """Return the rows as the phone shows them: what it has read, and its own queue on top."""
        view = dict(self._read)
        for mutation in self.made[self._read_own :]:
            at = Write(mutation.h, mutation.device, mutation.counter)
            for change in mutation.changes:
                fields = self._app.collections[change.collection].fields
                states = {
                    name: fields[name].delta(payload, at) for name, payload in change.fields.items()
                }
                is_edit = change.operation is Operation.EDIT
                alive = (at.h, at.n, change.operation is not Operation.DELETE)
                key = (change.collection, change.row)
                delta = RowDelta(*key, change.space, None if is_edit else alive, states)
                before = view.get(key) or RowState(change.row, change.space)
                view[key] = merge_delta(before, delta, fields)
        return view

    def pull(self, primary: Primary) -> None:
        """Read what the person may read; the clock observes what it sees."""
        self._read = {
            key: state for key, state in primary.rows.states.items() if self._may_read(key[0])
        }
        self._read_own = primary.merged_through(self.phone.device)
        for (name, _), state in self._read.items():
            fields = self._app.collections[name].fields
            stamps = [s[0] for f, s in state.fields.items() if s and fields[f].is_register]
            self.h = max(self.h, state.alive[0], *stamps)

    def _may_read(self, name: str) -> bool:
        declared = self._app.collections[name]
        return self.phone.roles.get(declared.space_kind) in declared.access.read


class _Scene:
    """Phones around a primary; what happens is noted."""

    def __init__(
        self,
        app: App,
        phones: Sequence[Phone],
        rows: Sequence[str],
        fields: Mapping[str, Names[str]],
    ) -> None:
        self._app = app
        self._phones = phones
        self._rows = rows
        self._fields = fields
        self.authors = {phone.device: _Author(app, phone) for phone in phones}
        self._people = {phone.person: phone for phone in phones}
        self._primary = Primary(app, self._role_in)
        self._made: list[Mutation] = []
        self._pushes: list[Push] = []
        self._read_pushes = 0
        """Pushes that somebody may have read: their order is settled."""

    def found(self, draw: st.DrawFn) -> None:
        """Let the first phone insert most rows, and all phones read them."""
        first = self.authors[self._phones[0].device]
        for name in self._fields:
            for row in self._rows:
                if choose(draw, _MOSTLY):
                    self._write(draw, first, {name: self._fields[name]}, [row])
        for author in self.authors.values():
            self.act(draw, author, "sync")

    def act(self, draw: st.DrawFn, author: _Author, deed: str) -> None:
        """Do one thing on one phone: write, push, pull, or both of these (sync)."""
        if deed == "write":
            self._write(draw, author, self._fields, self._rows)
        if deed in ("push", "sync"):
            self._push(author)
        if deed in ("pull", "sync"):
            author.pull(self._primary)
            self._read_pushes = len(self._pushes)

    def part(self, draw: st.DrawFn) -> None:
        """Let all phones write a last time, each without having seen the others' last writes."""
        for author in self.authors.values():
            for _ in range(choose(draw, (1, 0, 2))):
                self.act(draw, author, "write")

    def told(self, draw: st.DrawFn) -> History:
        """Deliver what is still queued, and draw other deliveries of what nobody has read."""
        for author in draw(st.permutations(list(self.authors.values()))):
            self._push(author)
        settled, open_ = self._pushes[: self._read_pushes], self._pushes[self._read_pushes :]
        deliveries = [tuple(self._pushes)]
        for _ in range(choose(draw, range(DELIVERIES_MAX))):
            deliveries.append((*settled, *_reordered(draw, open_, self._now_ms())))  # noqa: PERF401  (draws)
        return History(tuple(self._phones), tuple(self._made), tuple(deliveries))

    def _write(
        self,
        draw: st.DrawFn,
        author: _Author,
        fields: Mapping[str, Names[str]],
        rows: Sequence[str],
    ) -> None:
        author.h += choose(draw, _CLOCK_STEPS)
        is_careless = choose(draw, _SELDOM)
        made = draw_changes(
            draw,
            self._app,
            view=author.view(),
            rows=rows,
            fields=fields,
            roles=None if is_careless else author.phone.roles,
        )
        counter = MutationCounter(len(author.made) + 1)
        mutation = Mutation(author.phone.device, counter, author.h, made)
        author.made.append(mutation)
        self._made.append(mutation)

    def _push(self, author: _Author) -> None:
        fresh = author.made[author.pushed :]
        if not fresh:
            return
        now_ms = self._now_ms()
        for mutation in fresh:
            self._primary.take(mutation, author.phone.person, now_ms)
        self._pushes.append(Push(author.phone.device, fresh[0].counter, fresh[-1].counter, now_ms))
        author.pushed = len(author.made)

    def _now_ms(self) -> int:
        return unix_ms(max(author.h for author in self.authors.values()))

    def _role_in(self, person: str, space: str, kind: str) -> str | None:
        del space
        return self._people[PersonId(person)].roles.get(kind)


def _reordered(draw: st.DrawFn, pushes: Sequence[Push], now_ms: int) -> list[Push]:
    """Cut pushes anew, reorder them across devices, and let some arrive twice."""
    single: dict[int, list[int]] = {}
    for push in pushes:
        single.setdefault(push.device, []).extend(range(push.first, push.last + 1))
    turns = [device for device, counters in single.items() for _ in counters]
    made: list[Push] = []
    for device in draw(st.permutations(turns)):
        counter = single[device].pop(0)
        if made and made[-1].device == device:
            made[-1] = Push(made[-1].device, made[-1].first, counter, now_ms)
        else:
            made.append(Push(DeviceNumber(device), counter, counter, now_ms))
    for _ in range(choose(draw, range(3)) if made else 0):
        again = choose(draw, range(len(made)))
        made.insert(choose(draw, range(again + 1, len(made) + 1)), made[again])
    return made
