"""How often what a checker is for has happened in a history: a clean report of nothing is worth
nothing, so callers assert minimum frequencies of these.
"""

from collections import Counter


def statistics(evidence):
    """Return counts by name; names are stable, and a name that is missing has happened never."""
    tale = evidence.tale
    found = Counter(evidence.counted)
    found["events"] = len(tale.events)
    found["mutations"] = len(tale.origins)
    found["in force"] = len(evidence.in_force)
    found["claims"] = len(tale.claims)
    found["accepted by an edge"] = sum(1 for claim in tale.claims if claim.accepted_by)
    found["looks"] = len(tale.looks)
    found["looks of a set-back database"] = sum(1 for look in tale.looks if not look.is_valid)
    found["views"] = len(tale.views)
    found["phones"] = len(tale.phones)
    found["phones lost"] = sum(1 for phone in tale.phones.values() if phone.is_lost)
    for event in tale.events:
        found[f"event {event['e']}"] += 1
        if event["e"] == "opened" and event["from"]:
            found[f"opened from {event['from'].partition(':')[0]}"] += 1
        elif event["e"] == "confirmed":
            found[f"read by {event['why']}"] += 1
        elif event["e"] == "receipt":
            found["conflicts told"] += len(event.get("conflicts") or ())
    gained, lost = _spaces(tale)
    found["spaces gained"], found["spaces lost"] = gained, lost
    return dict(sorted(found.items()))


def _spaces(tale):
    gained = lost = 0
    for looks in tale.by_viewer().values():
        before = {}
        for look in looks:
            if look.is_server:
                break
            spaces = look.event["spaces"]
            gained += len(spaces.keys() - before.keys())
            lost += len(before.keys() - spaces.keys())
            before = spaces
    return gained, lost
