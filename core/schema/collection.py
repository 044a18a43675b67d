"""A declared table of synced rows: subclass Collection and name each field's merge."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from core.changes import Change
from core.crdt.field import Field
from core.errors import DeclarationError, FieldError
from core.ids import CollectionName, is_name
from core.row import RowView

if TYPE_CHECKING:
    from core.constraints import Reference, Unique
    from core.policy import Access

FIELDS_MAX = 100
_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")
RESERVED = frozenset(
    {*vars(RowView), *vars(Change), "id", "space", "sequence", "alive", "fields", "access"}
    | {"unique", "references", "edit_wins", "space_kind", "collection_name", "operation", "base"}
)
"""Names that rows and changes answer to themselves."""


class Collection(RowView):
    """Base of all declared collections; an instance is a read-only view of one row.

    Class keywords: `space` names the kind of space the rows live in; `name` the table (default: the
    class name in snake_case); `edit_wins` lets an edit whose author had not seen a delete revive
    the row.
    """

    __slots__ = ()

    collection_name: ClassVar[CollectionName]
    space_kind: ClassVar[str]
    edit_wins: ClassVar[bool]
    fields: ClassVar[dict[str, Field[Any]]]
    access: ClassVar[Access]
    unique: ClassVar[tuple[Unique, ...]] = ()
    references: ClassVar[tuple[Reference, ...]] = ()

    def __init_subclass__(
        cls, *, space: str, name: str | None = None, edit_wins: bool = False, **kwargs: object
    ) -> None:
        super().__init_subclass__(**kwargs)
        cls.collection_name = CollectionName(name or _CAPITAL.sub("_", cls.__name__).lower())
        cls.space_kind = space
        cls.edit_wins = edit_wins
        cls.fields = {key: value for key, value in vars(cls).items() if isinstance(value, Field)}
        _check(cls)


def _check(declared: type[Collection]) -> None:
    title = f"collection {declared.collection_name!r}"
    if not is_name(declared.collection_name):
        raise DeclarationError(f"{title}: names are lower-case words joined by single underscores")
    if not 0 < len(declared.fields) <= FIELDS_MAX:
        raise DeclarationError(f"{title}: declare 1 to {FIELDS_MAX} fields")
    for name in declared.fields:
        if not is_name(name) or name in RESERVED:
            raise DeclarationError(f"{title}: {name!r} cannot name a field")
    if not hasattr(declared, "access"):
        raise DeclarationError(f"{title}: without an access policy nobody may use it")
    constrained = [name for unique in declared.unique for name in unique.fields]
    constrained += [reference.field for reference in declared.references]
    for name in constrained:
        if name not in declared.fields or not declared.fields[name].is_register:
            raise DeclarationError(f"{title}: a constraint needs a declared register, not {name!r}")
    for reference in declared.references:
        if reference.on_delete == "clear" and not _may_be_null(declared.fields[reference.field]):
            raise DeclarationError(
                f"{title}: what a delete clears is optional: {reference.field!r}"
            )


def _may_be_null(field: Field[Any]) -> bool:
    try:
        field.parse(None)
    except FieldError:
        return False
    return True
