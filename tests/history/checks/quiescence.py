"""H18 quiescence: once everybody has synced, one more round moves nothing.

Decided: at its end no phone has a mutation without a final outcome; after it, no phone pushes
anything, no confirmed row changes, and the primary's sequence stays.

Excused: lost phones; tombstones that are dropped because every device has read them.
"""

NAME = "H18 quiescence"


def check(evidence):
    tale = evidence.tale
    if tale.quiet is None:
        return
    told = set()
    looks = {look.index: look for look in tale.looks}
    for index, event in enumerate(tale.events):
        if index < tale.quiet:
            continue
        kind = event["e"]
        if kind == "final" and event["pending"]:
            yield index, f"{event['p']} still has {event['pending']} without an outcome"
        elif kind == "again":
            told.add(event["p"])
            evidence.counted["rounds after the end"] += 1
            if event["pushed"] or event["rows"]:
                yield (
                    index,
                    (
                        f"{event['p']} has pushed {event['pushed']} mutations and changed "
                        f"{event['rows']} rows in one more round"
                    ),
                )
        elif kind == "confirmed" and event["why"] != "start" and _is_moved(looks[index]):
            yield index, f"{event['p']} has changed rows after everything was quiet"
        elif kind in {"made", "judged"}:
            yield index, f"there is a new mutation after everything was quiet ({kind})"
    yield from _sequences(tale)
    for phone in tale.phones.values():
        if phone.final is not None and phone.name not in told and told:
            yield tale.quiet, f"{phone.name} has not told of one more round"


def _is_moved(look):
    """Tell whether rows have changed; tombstones may be dropped at any time."""
    return bool(look.changed) or any(look.before[key].is_alive for key in look.gone)


def _sequences(tale):
    sequences = {
        look.sequence
        for look in tale.looks
        if look.is_server and look.index > tale.quiet and look.event["role"] == "primary"
    }
    if len(sequences) > 1:
        yield tale.quiet, f"the primary has gone on from {min(sequences)} to {max(sequences)}"
