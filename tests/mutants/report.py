"""The score, and what has to be done about survivors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tests.mutants.sources import PACKAGES
from tests.mutants.survivors import Kind, Survivor, as_entries, listed
from tests.mutants.trial import Outcome, Result

Identity = tuple[str, str, str]


@dataclass(slots=True)
class Score:
    """Counts of one package."""

    killed: int = 0
    survived: int = 0
    equivalent: int = 0
    """Those of `survived` that are listed as equivalent."""

    @property
    def all(self) -> int:
        """All faults that compile."""
        return self.killed + self.survived

    def line(self, title: str) -> str:
        """Return the counts and both scores in per cent."""
        others = self.all - self.equivalent
        return (
            f"{title:<14} {self.all:>6} {self.killed:>7} {self.survived:>9} {self.equivalent:>11} "
            f"{_per_cent(self.killed, self.all):>8} {_per_cent(self.killed, others):>20}"
        )


@dataclass(slots=True)
class Report:
    """What a run means."""

    scores: dict[str, Score]
    unlisted: list[Result]
    """Survivors without a reason."""

    killed: list[Identity]
    """Listed survivors that a test notices by now."""

    gone: list[Identity]
    """Listed survivors that no longer exist; told after a whole run only."""

    timeouts: int = 0
    unreached: list[Result] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        results: Iterable[Result],
        *,
        is_whole: bool,
        survivors: Mapping[Identity, Survivor] | None = None,
    ) -> Report:
        """Hold results against the list of survivors."""
        survivors = listed() if survivors is None else survivors
        report = cls({}, [], [], [])
        seen: set[Identity] = set()
        for result in results:
            fault = result.fault
            seen.add(fault.identity)
            score = report.scores.setdefault(fault.package, Score())
            survivor = survivors.get(fault.identity)
            report.timeouts += result.outcome is Outcome.TIMEOUT
            if result.outcome.is_killed:
                score.killed += 1
                if survivor is not None:
                    report.killed.append(fault.identity)
                continue
            score.survived += 1
            if survivor is None:
                report.unlisted.append(result)
                if result.outcome is Outcome.UNREACHED:
                    report.unreached.append(result)
            elif survivor.kind is Kind.EQUIVALENT:
                score.equivalent += 1
        if is_whole:
            report.gone = [identity for identity in survivors if identity not in seen]
        return report

    @property
    def exit_code(self) -> int:
        """0 when every survivor has a reason and every reason a survivor."""
        return int(bool(self.unlisted or self.killed or self.gone))

    def text(self, *, seconds: float) -> str:
        """Return the report as printed."""
        lines: list[str] = []
        if self.unlisted:
            lines += ["survivors without a reason:", ""]
            lines += [as_entries(result.fault for result in self.unlisted)]
            lines += [f"{len(self.unreached)} of them are on lines that no test runs", ""]
        for title, identities in (
            ("listed, but a test notices it:", self.killed),
            ("listed, but there is no such fault:", self.gone),
        ):
            lines += [f"{title} {' | '.join(identity)}" for identity in identities]
        total = Score()
        lines.append(
            f"{'package':<14} {'all':>6} {'killed':>7} {'survived':>9} {'equivalent':>11} "
            f"{'score':>8} {'without equivalents':>20}"
        )
        for package in PACKAGES:
            score = self.scores.get(package)
            if score is not None:
                lines.append(score.line(package))
                total.killed += score.killed
                total.survived += score.survived
                total.equivalent += score.equivalent
        lines.append(total.line("total"))
        lines.append(f"{self.timeouts} killed by time or memory; {seconds:.0f} s")
        return "\n".join(lines)


def _per_cent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"
