"""What the checker knows of an app, from the `app` events of a history and from nothing else."""

from dataclasses import dataclass, field

REGISTERS = frozenset(
    {"lww", "group", "first_write", "list_order", "tree_parent", "blob_reference", "custom"}
)
"""Kinds whose state is [h, n, value]."""
LATEST_WINS = REGISTERS - {"first_write"}


@dataclass(frozen=True)
class Declared:
    """One collection: the kind of its space, its fields by name, and what is kept at ingest.

    `lensed` are the fields whose name or form an older version of the app has otherwise.
    """

    space_kind: str
    is_edit_wins: bool
    fields: dict
    unique: tuple = ()
    references: tuple = ()
    readers: frozenset | None = None
    lensed: frozenset = frozenset()


@dataclass
class Schema:
    """The newest declaration that a history tells; fields of older ones are kept beside it."""

    version: int = 0
    collections: dict = field(default_factory=dict)
    has_rules: bool = False
    is_mixed: bool = False
    """Whether more than one version was declared."""

    def learn(self, event):
        """Take an `app` event."""
        described = event["describe"]
        self.is_mixed |= self.version not in {0, described["version"]}
        self.version = max(self.version, described["version"])
        self.has_rules |= bool(event.get("ruled"))
        for name, told in described["collections"].items():
            known = self.collections.get(name)
            fields = {**(known.fields if known else {}), **told["fields"]}
            readers = event.get("read", {}).get(name)
            self.collections[name] = Declared(
                told["space"],
                told["edit_wins"],
                fields,
                tuple((tuple(names), scope) for names, scope in _of(event, "unique", name)),
                tuple(tuple(reference) for reference in _of(event, "references", name)),
                None if readers is None else frozenset(readers),
                frozenset(_of(event, "lensed", name)) | (known.lensed if known else frozenset()),
            )

    def may_read(self, collection, role):
        """Tell whether a role reads a collection; undeclared ones are nobody's concern here."""
        declared = self.collections.get(collection)
        return declared is None or declared.readers is None or role in declared.readers

    def kind(self, collection, name):
        """Return a field's kind, None for what is not declared or stands behind a lens."""
        declared = self.collections.get(collection)
        if declared is None or name in declared.lensed:
            return None
        spec = declared.fields.get(name)
        return None if spec is None else spec["kind"]


def _of(event, facts, collection):
    return event.get(facts, {}).get(collection, ())
