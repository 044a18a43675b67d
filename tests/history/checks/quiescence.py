"""H18 quiescence: once everybody has synced, one more round moves nothing.

Decided: at its end no phone has a mutation without a final outcome; after it, no phone pushes
anything, no confirmed row changes, and the primary's sequence stays.

Excused: lost phones.
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
        if event["e"] == "again":
            told.add(event["p"])
            evidence.counted["rounds after the end"] += 1
        moved = _moved(event, looks.get(index))
        if moved:
            yield index, moved
    yield from _sequences(tale)
    for phone in tale.phones.values():
        if phone.final is not None and phone.name not in told and told:
            yield tale.quiet, f"{phone.name} has not told of one more round"


def _moved(event, look):
    """Return what an event after the end tells that has moved, or ""."""
    kind, phone = event["e"], event.get("p")
    if kind == "final" and event["pending"]:
        return f"{phone} still has {event['pending']} without an outcome"
    if kind == "again" and (event["pushed"] or event["rows"]):
        pushed, rows = event["pushed"], event["rows"]
        return f"{phone} has pushed {pushed} mutations and changed {rows} rows in one more round"
    if kind == "confirmed" and event["why"] != "start" and _is_changed(look):
        return f"{phone} has changed rows after everything was quiet"
    if kind in {"made", "judged"}:
        return f"there is a new mutation after everything was quiet ({kind})"
    return ""


def _is_changed(look):
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
