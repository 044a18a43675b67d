"""What became of each scene: the table of merges, conflicts and refusals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table
from story import ROLES

if TYPE_CHECKING:
    from story import Scene

PRIMARY = 1
"""The device number of the node itself, which writes what resolvers and rules decide."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How one scene ended: what everybody has now, and the refusals, conflicts and surprises."""

    scene: Scene
    present: str
    refusals: tuple[tuple[str, str, str], ...]
    """(person, code, message) of each."""
    conflicts: tuple[str, ...]
    """What lost to what, from the node's log."""

    @property
    def is_expected(self) -> bool:
        """Whether exactly what had to be refused was refused."""
        return frozenset(code for _, code, _ in self.refusals) == self.scene.codes


def ending_of(
    scene: Scene,
    row: dict[str, Any] | None,
    outcomes: dict[str, dict[str, Any]],
    conflicts: list[dict[str, Any]],
) -> Ending:
    """Look the ending up in the row, the phones' refusals and the node's conflict log."""
    people = {outcome["device"]: person.title() for person, outcome in outcomes.items()}
    people[PRIMARY] = "the node"
    refusals = tuple(
        (person.title(), refused["code"], refused["message"])
        for person, (_, command) in scene.doings.items()
        for refused in outcomes[person]["rejected"]
        if refused["rows"].get(command["id"]) == sorted(command.get("fields", ()))
    )
    lost = [
        f"{people[winner['device']]}'s {shown(winner['value'])} won over "
        f"{people[loser['device']]}'s {shown(loser['value'])}"
        for conflict in conflicts
        if (conflict["row"], conflict["field"]) == (scene.id, scene.watched)
        for winner, loser in [(conflict["winner"], conflict["loser"])]
    ]
    present = "deleted" if row is None else shown(row[scene.watched])
    return Ending(scene, present, refusals, tuple(lost))


def outcome_table(endings: list[Ending]) -> Table:
    """Draw one line per scene."""
    table = Table(title="What became of three people's work offline", show_lines=True)
    table.add_column("scene", style="bold", max_width=14)
    table.add_column("merge", style="cyan", no_wrap=True)
    for person, role in ROLES.items():
        table.add_column(f"{person.title()} ({role})", max_width=16)
    table.add_column("everybody has now", max_width=24)
    table.add_column("outcome", max_width=52)
    for ending in endings:
        scene = ending.scene
        words = [scene.doings[person][0] if person in scene.doings else "" for person in ROLES]
        table.add_row(scene.title, scene.merge, *words, ending.present, "\n".join(_outcome(ending)))
    return table


def digest_table(digests: dict[str, dict[str, str]]) -> Table:
    """Draw one line per space, one column per replica."""
    table = Table(title="Digests of the four replicas")
    table.add_column("space", style="bold")
    for replica in digests:
        table.add_column(replica, no_wrap=True)
    for space in sorted({space for found in digests.values() for space in found}):
        values = [found.get(space, "missing") for found in digests.values()]
        style = "green" if len(set(values)) == 1 else "red"
        table.add_row(space, *(f"[{style}]{value[:16]}[/]" for value in values))
    return table


def shown(value: Any) -> str:  # noqa: ANN401  (a field's value in JSON)
    """Write a field's value for people."""
    if isinstance(value, dict):
        if set(value) == {"lat", "lon"}:
            return f"{value['lat']}, {value['lon']}"
        if "sha256" in value:
            return f"{value['sha256'][:8]}…, {value['size_bytes']:,} bytes"
        return ", ".join(f"{key} {shown(item)}" for key, item in sorted(value.items()))
    if isinstance(value, list):
        return ", ".join(shown(item) for item in value)
    if isinstance(value, bool):
        return "on" if value else "off"
    return "nothing" if value is None else str(value)


def _outcome(ending: Ending) -> list[str]:
    lines = [
        f"[red]rejected[/] ({person}, {code}): {message}"
        for person, code, message in ending.refusals
    ]
    if ending.scene.resolved:
        lines.append(f"[green]resolved[/]: {ending.scene.resolved}")
    else:
        lines += [f"[yellow]conflict[/]: {conflict}" for conflict in ending.conflicts]
    if not ending.is_expected:
        expected = ", ".join(sorted(ending.scene.codes)) or "no refusal"
        lines.append(f"[bold red]unexpected[/]: {expected} was to happen")
    return lines or [f"[green]merged[/]: {ending.scene.merged}"]
