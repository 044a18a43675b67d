"""The tale of a history: its events put in relation to each other, before any check is made.

Mutations are followed from the phone that made them through every number they were given
(renumbering, clones, backups) to what the primary's ledger says; the content of every phone and
node is replayed from the changes told.

Words
  origin    one mutation as a person made it
  claim     one identity (device number, counter) that an origin was sent under
  look      what one phone's confirmed rows or one node's database were at one moment
  valid     of a database that the last primary goes on from, up to what was kept of it
"""

from collections import defaultdict

from tests.history.ledger import Ledger
from tests.history.rows import Row
from tests.history.schema import Schema

FINAL = frozenset({"merged", "superseded", "rejected", "quarantined"})
IN_EFFECT = frozenset({"merged", "superseded"})
REFUSED = frozenset({"rejected", "quarantined"})
PRIMARY = 1


class Origin:
    """One mutation as a person made it."""

    __slots__ = ("changes", "claims", "h", "index", "phone", "version")

    def __init__(self, phone, index, h, version, changes):
        self.phone, self.index, self.h = phone, index, h
        self.version, self.changes = version, changes
        self.claims = []

    def __str__(self):
        return f"{self.phone}'s mutation of event {self.index}"


class Claim:
    """One identity of an origin. `told` are outcomes phones were told: (index, phone, outcome, s,
    h, code, database, via). `confirmed` are the dots its author's confirmed rows had when it wrote,
    `times` its times by every database that judged it, those that were replaced too, and `verdicts`
    what they decided: (database, outcome).
    """

    __slots__ = (
        "accepted_by", "c", "changes", "confirmed", "h", "high", "index", "installation", "low",
        "ns", "origin", "outcome", "s", "times", "told", "verdicts",
    )  # fmt: skip

    def __init__(self, origin, *, installation, n, c, changes, index):
        self.origin, self.installation, self.c = origin, installation, c
        self.ns = {n} - {0}
        self.changes, self.index = changes, index
        self.told, self.accepted_by, self.confirmed = [], set(), {}
        self.outcome = self.h = self.s = None
        self.times, self.verdicts = set(), set()
        self.low, self.high = 0, float("inf")
        origin.claims.append(self)

    @property
    def n(self):
        """The device number that the ledger knows it by."""
        return max(self.ns, default=0)

    def __str__(self):
        return f"({self.n}, {self.c}), {self.origin}"


class Phone:
    """What is known of a phone while the history is read."""

    def __init__(self, name):
        self.name = name
        self.person = ""
        self.installation, self.n = "", 0
        self.version = None
        self.database = self.rows_of = None
        self.numberings = defaultdict(dict)  # (installation, n) -> counter -> claim
        self.queue = {}  # counter -> claim, as numbered now
        self.own = {}  # origin -> None, in the order they were made
        self.intent = None
        self.is_lost = False
        self.final = None
        self.rows = {}
        self.came_from = ""
        self.through = []  # (index, n, counter, is in rows): all up to it are judged
        self.openings = []  # when its file was opened, or could not be written to
        self.replicated = defaultdict(int)  # database -> up to where it was said to be replicated
        self.set_back = []  # when its file was set to a backup
        self.collected = {}  # key -> index of the look by which its tombstone was gone
        self.sources = {}  # phones it is a copy of -> index of the copying

    def note_replicated(self, event):
        known = self.replicated[event["database"]]
        self.replicated[event["database"]] = max(known, event.get("replicated", 0))


class Look:
    """One moment of one viewer. `rows` is everything it holds; `changed` what is new in it."""

    __slots__ = (
        "before", "changed", "database", "event", "gone", "index", "is_server", "is_set_back",
        "is_valid", "person", "rows", "sequence", "version", "viewer", "why",
    )  # fmt: skip

    def __init__(self, index, event, viewer, *, is_server):
        self.index, self.event, self.viewer, self.is_server = index, event, viewer, is_server
        self.database = event["database"]
        self.sequence = event["s"] if is_server else event["cursor"]
        self.why = event.get("why", "server")
        self.version = None  # of the app that a phone's rows are read for
        self.is_valid = False


class Tale:
    """A parsed history; the checks read it and nothing else."""

    def __init__(self, events):
        self.events = events
        self.schema = Schema()
        self.phones = {}
        self.origins = []
        self.claims = []
        self.looks = []
        self.views = []  # (index, phone, event, own origins of that moment)
        self.versions = {}  # index of a view -> the app's version then
        self.rows_of = {}  # index of a view -> the database that the phone's rows were of
        self.complaints = []  # (index, what): the history itself cannot be
        self.ledger = Ledger()
        self.quiet = None
        self.operators = []
        self.arrivals = []  # (database, sequence) that an edge has read
        self._restored = set()  # nodes set to a backup, and not looked at since
        self._held = {}
        for index, event in enumerate(events):
            take = getattr(self, f"_{event['e']}", None)
            if take is not None:
                take(index, event)
        self.ledger.close(self)
        for look in self.looks:
            look.is_valid = self.ledger.is_valid(look.database, look.sequence)

    @property
    def is_forked(self):
        """Whether a database was set back: what was judged may have been judged anew."""
        return self.ledger.is_forked

    def phone(self, name):
        if name not in self.phones:
            self.phones[name] = Phone(name)
        return self.phones[name]

    def was_passed(self, name, claim, index, *, in_rows=False):
        """Tell whether a phone knew by then that a claim was judged, though not how.

        `in_rows`: by rows that are of later; a welcome alone changes nothing of what is shown. What
        was judged before it was made is a mutation of a copy, which had the same counter.
        """
        phone = self.phones[name]
        since = max((at for at in phone.set_back if at <= index), default=-1)
        passed = [
            (at, is_in_rows)
            for at, n, counter, is_in_rows in phone.through
            if since < at <= index
            and n in claim.ns
            and counter >= claim.c
            and self.ledger.taken.get((n, claim.c), claim) is claim
        ]
        if any(at < claim.index for at, _ in passed):
            return False
        return any(is_in_rows or not in_rows for _, is_in_rows in passed)

    def was_told(self, phone, told, index):
        """Tell whether a phone knew of an outcome by then, itself or by what it is a copy of."""
        at, name = told[0], told[1]
        if name == phone:
            return at <= index
        return at <= self.phones[phone].sources.get(name, -1)

    def by_viewer(self):
        """Return the looks of each viewer, in order."""
        found = defaultdict(list)
        for look in self.looks:
            found[look.viewer].append(look)
        return found

    # --- what people and their apps do -------------------------------------------------------

    def _app(self, _index, event):
        self.schema.learn(event)

    def _opened(self, index, event):
        phone = self.phone(event["p"])
        phone.person = event["person"]
        phone.came_from = event["from"]
        phone.version = event.get("v")
        phone.openings.append(index)
        source, _, name = event["from"].partition(":")
        if source == "clone":
            other = self.phone(name)
            phone.numberings = defaultdict(dict, {k: dict(v) for k, v in other.numberings.items()})
            phone.own = dict(other.own)
            phone.sources = {**other.sources, name: index}
            phone.database, phone.rows_of = other.database, other.rows_of
        is_renumbered = phone.installation == event["i"] and phone.n not in {0, event["n"]}
        phone.installation, phone.n = event["i"], event["n"]
        is_new = (event["i"], event["n"]) not in phone.numberings
        numbering = phone.numberings[event["i"], event["n"]]
        if is_new and event["n"] and not is_renumbered:
            numbering.update(phone.numberings[event["i"], 0])
        self._take_intent(phone, event)
        kept = {c: claim for c, claim in numbering.items() if c <= event["c"]}
        if source == "backup":
            phone.set_back.append(index)
        elif len(kept) < len(numbering) and source == "":
            self.complaints.append((index, f"{phone.name}: mutations are gone from its file"))
        if source:
            phone.own = _known_to(phone.own, event["i"], kept)
        phone.queue = phone.numberings[event["i"], event["n"]] = kept

    def _untaken(self, index, event):
        self.phone(event["p"]).openings.append(index)

    def _take_intent(self, phone, event):
        """Decide whether the mutation that was about to be made was made before a kill."""
        intent, phone.intent = phone.intent, None
        if intent is None or intent[1]["i"] != event["i"] or event["c"] < intent[1]["c"]:
            return
        index, told = intent
        self._make(index, phone, told)

    def _killed(self, _index, event):
        pass

    def _lost(self, _index, event):
        self.phone(event["p"]).is_lost = True

    def _intent(self, index, event):
        self.phone(event["p"]).intent = (index, event)

    def _unmade(self, _index, event):
        self.phone(event["p"]).intent = None

    def _made(self, index, event):
        phone = self.phone(event["p"])
        phone.intent = None
        self._make(index, phone, event)

    def _make(self, index, phone, event):
        origin = Origin(phone.name, index, event["h"], event["v"], event["changes"])
        self.origins.append(origin)
        claim = self._claim(
            origin,
            installation=event["i"],
            n=event["n"],
            c=event["c"],
            changes=event["changes"],
            index=index,
        )
        claim.confirmed = _dots_of(event["changes"], phone.rows)
        phone.numberings[event["i"], event["n"]][event["c"]] = claim
        phone.queue = phone.numberings[event["i"], event["n"]]
        phone.own[origin] = None

    def _claim(self, origin, **told):
        claim = Claim(origin, **told)
        self.claims.append(claim)
        return claim

    def _greeted(self, index, event):
        phone = self.phone(event["p"])
        phone.database = event["database"]
        phone.note_replicated(event)
        if event["m"]:
            phone.through.append((index, event["n"], event["m"], False))
        if phone.n != event["n"]:
            for claim in phone.queue.values():
                claim.ns.add(event["n"])
            phone.n = event["n"]
            phone.numberings[event["i"], event["n"]] = phone.queue

    def _renumbered(self, index, event):
        phone = self.phone(event["p"])
        by_h = {origin.h: origin for origin in phone.own}
        phone.installation, phone.n = event["i"], event["n"]
        queue = {}
        for (counter, h), changes in zip(event["pairs"], event["changes"], strict=True):
            origin = by_h.get(h)
            if origin is None:
                self.complaints.append(
                    (index, f"{phone.name}: {counter} was renumbered of nothing")
                )
                continue
            claim = self._claim(
                origin,
                installation=event["i"],
                n=event["n"],
                c=counter,
                changes=changes,
                index=index,
            )
            claim.confirmed = origin.claims[0].confirmed
            queue[counter] = claim
        phone.queue = phone.numberings[event["i"], event["n"]] = queue

    # --- what phones are told and show ---------------------------------------------------------

    def _receipt(self, index, event):
        phone = self.phone(event["p"])
        for counter in range(event["c"], event["to"] + 1):
            claim = phone.queue.get(counter)
            if claim is None:
                if event["via"] == "push":
                    what = f"{phone.name}: a receipt for counter {counter}, which was never used"
                    self.complaints.append((index, what))
                continue
            if event["via"] != "push" and phone.name not in claim.accepted_by:
                continue  # It may be another copy's, and the phone does not take it.
            if event["o"] == "accepted":
                claim.accepted_by.add(phone.name)
                continue
            exact = event["s"] if counter == event["to"] else None
            claim.told.append(
                (index, phone.name, event["o"], exact, event["h"], event["code"],
                 event.get("database") or phone.database, event["via"])
            )  # fmt: skip

    def _confirmed(self, index, event):
        phone = self.phone(event["p"])
        look = Look(index, event, phone.name, is_server=False)
        look.person, look.version = phone.person, phone.version
        look.is_set_back = look.why == "start" and phone.came_from != ""
        if event["database"] is not None:
            phone.database = phone.rows_of = event["database"]
            phone.note_replicated(event)
        if event.get("m"):
            phone.through.append((index, phone.n, event["m"], True))
        phone.rows = self._replay(look, event, is_whole=event.get("full", False))
        for key in look.gone:
            before = look.before.get(key)
            if before is not None and not before.is_alive:
                phone.collected[key] = index

    def _final(self, index, event):
        phone = self.phone(event["p"])
        phone.final = (index, event, {row.key: row for row in map(Row, event["rows"])})

    def _view(self, index, event):
        phone = self.phone(event["p"])
        self.views.append((index, phone.name, event, list(phone.own), phone.rows))
        self.rows_of[index] = phone.rows_of
        if phone.version is not None:
            self.versions[index] = phone.version

    # --- what nodes hold and say ---------------------------------------------------------------

    def _server(self, index, event):
        look = Look(index, event, event["node"], is_server=True)
        look.person, look.is_set_back = None, look.viewer in self._restored
        self._restored.discard(look.viewer)
        self._replay(look, event, is_whole=event["full"])
        if event["role"] == "edge":
            self.arrivals.append((event["database"], event["s"]))
        self.ledger.server(look, event)

    def _arrived(self, _index, event):
        self.arrivals.append((event["database"], event["s"]))

    def _member(self, _index, event):
        self.ledger.member(event)

    def _judged(self, index, event):
        self.ledger.judged(index, event)

    def _outcomes(self, _index, event):
        self.ledger.outcomes(event)

    def _operator(self, index, event):
        self.operators.append((index, event))
        if event["what"] == "restore":
            self._restored.add(event["node"])

    def _quiet(self, index, _event):
        self.quiet = index

    def _replay(self, look, event, *, is_whole):
        before = self._held.get(look.viewer, {})
        told = [Row(row) for row in event["rows"]]
        rows = {} if is_whole else before
        if not is_whole and (told or event["gone"]):
            rows = dict(before)
        gone = [tuple(key) for key in event["gone"]]
        for key in gone:
            rows.pop(key, None)
        look.changed = []
        for row in told:
            known = before.get(row.key)
            if known is not None and known.sequence == row.sequence and known.image == row.image:
                rows[row.key] = known
                continue
            rows[row.key] = row
            look.changed.append(row)
        look.gone = [key for key in before if key not in rows] if is_whole else gone
        look.before, look.rows = before, rows
        self._held[look.viewer] = rows
        self.looks.append(look)
        return rows


def _known_to(own, installation, kept):
    """Return those of a phone's mutations that an older file of it can know: what it has numbered,
    and what was made before that under an earlier identity.
    """
    first = min((claim.index for claim in kept.values()), default=0)
    known = {claim.origin for claim in kept.values()}
    return {
        origin: None
        for origin in own
        if origin in known
        or all(c.installation != installation and c.index < first for c in origin.claims)
    }


def _dots_of(changes, rows):
    """Return the latest dots that the author's confirmed rows hold, of all fields it names dots in:
    (key, field, element, n) to counter.
    """
    found = {}
    for change in changes:
        key = (change["collection"], change["id"])
        row = rows.get(key)
        if row is None:
            continue
        for name, payload in change.get("fields", {}).items():
            if isinstance(payload, dict) and not payload.keys().isdisjoint(_NAMING):
                for element, n, counter in _dots(row.fields.get(name)):
                    found[key, name, element, n] = counter
    return found


_NAMING = frozenset({"remove", "off", "seen"})


def _dots(state):
    """Yield (element, n, counter) of a set ([element, n, add, removed]), a flag ([n, add, removed])
    or a multi-value register ([n, add, removed, h, value]); of other fields nothing useful.
    """
    for entry in state or ():
        if isinstance(entry, list) and len(entry) == 4:
            yield entry[0], entry[1], entry[2]
        elif isinstance(entry, list) and len(entry) > 1:
            yield "", entry[0], entry[1]
