"""Decides whether a history can be: runs every check over its tale.

`check(events)` returns a `Report`: the violations, at most SHOWN_MAX of each check, and how many
situations of each kind were looked at, so that a caller can tell a clean history from an empty one.
"""

from collections import Counter
from dataclasses import dataclass, field

from tests.history.checks import CHECKS
from tests.history.evidence import Evidence
from tests.history.statistics import statistics
from tests.history.tale import Tale
from tests.history.violation import Violation

SHOWN_MAX = 8
"""Violations of one check that are kept; the others are counted."""


@dataclass
class Report:
    """What was found: `more` counts, by check, what is not listed in `violations`."""

    violations: list[Violation] = field(default_factory=list)
    more: Counter = field(default_factory=Counter)
    statistics: dict = field(default_factory=dict)

    @property
    def is_clean(self):
        return not self.violations

    @property
    def checks(self):
        """The numbers of the checks that have found something."""
        return sorted({violation.check.split()[0] for violation in self.violations})

    def __str__(self):
        lines = [str(violation) for violation in self.violations]
        lines += [f"{name}: and {count} more" for name, count in sorted(self.more.items())]
        return "\n".join(lines) or "no violation"


def check(events, *, checks=CHECKS):
    """Judge one history: the list of its events, from its `app` event on."""
    evidence = Evidence(Tale(events))
    report = Report()
    for module in checks:
        for count, (index, message) in enumerate(module.check(evidence), 1):
            if count <= SHOWN_MAX:
                report.violations.append(Violation(module.NAME, index, message))
            else:
                report.more[module.NAME] += 1
    report.statistics = statistics(evidence)
    return report
