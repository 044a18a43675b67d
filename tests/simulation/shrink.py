"""Shrinks a plan that fails to fewer actions that still fail: bisection, as in delta debugging.

Zeller and Hildebrandt 2002 ("ddmin"). An action carries its own chance, so leaving some out leaves
the others what they were; what fails is compared by the checks that complain, not by their words.
"""

TRIES_MAX = 160
"""Runs that one shrinking may take: two minutes or so."""


def shrunk(plan, fails, *, tries_max=TRIES_MAX, tell=lambda _text: None):
    """Return the smallest plan found for which `fails(plan)` is true, and how many were tried."""
    actions, tries = list(plan.actions), 0
    parts = 2
    while len(actions) > 1 and tries < tries_max:
        size = max(1, len(actions) // parts)
        for first in range(0, len(actions), size):
            rest = actions[:first] + actions[first + size :]
            tries += 1
            if rest and fails(plan.with_actions(rest)):
                actions, parts = rest, max(2, parts - 1)
                tell(f"{len(actions)} actions")
                break
            if tries >= tries_max:
                break
        else:
            if size == 1:
                break
            parts = min(len(actions), parts * 2)
    return plan.with_actions(actions), tries
