"""Apps and collections: what is declared is checked at once."""

import json
from typing import Any

import pytest

from core import (
    Access,
    App,
    Change,
    Collection,
    Counter,
    Lww,
    Operation,
    Reference,
    Reject,
    TreeParent,
    Unique,
)
from core.errors import DeclarationError
from core.ids import RowId, SpaceId
from core.row import RowState

ACCESS = Access(read=["owner"], insert=["owner"], edit=["owner"])


class Note(Collection, space="team", edit_wins=True):
    access = ACCESS
    title = Lww(str)
    visits = Counter()
    parent = TreeParent(write=["owner"])


def make_app():
    return App("field_survey", version=1, spaces={"team": ["owner"]})


def declare(name="thing", fields=None, **attributes):
    body: dict[str, Any] = {"access": ACCESS, **(fields or {"title": Lww(str)}), **attributes}
    return type(name.title(), (Collection,), body, space="team", name=name)


def test_a_collection_knows_its_fields():
    assert Note.collection_name == "note"
    assert list(Note.fields) == ["title", "visits", "parent"]
    assert Note.title is Note.fields["title"]
    assert Note.title.name == "title"
    assert Note.edit_wins


def test_an_instance_reads_one_row():
    row = RowState(RowId("r"), SpaceId("s"), fields={"title": [5, 2, "hi"], "visits": [0, 3]})
    note = Note(row)
    assert (note.title, note.visits, note.parent) == ("hi", 3, None)


def test_a_change_gives_proposed_values():
    change: Change[Note] = Change(
        "note",
        RowId("r"),
        Operation.EDIT,
        SpaceId("s"),
        fields={"title": "new"},
        proposals=Note.fields,
    )
    assert change.get(Note.title) == "new"
    assert change.get(Note.parent) is None
    assert "title" in change
    assert "parent" not in change
    with pytest.raises(AttributeError):
        _ = change.nothing


def test_an_app_describes_itself_as_json():
    app = make_app()
    app.add(Note)
    described = app.describe()
    assert json.loads(json.dumps(described)) == described
    assert described["collections"]["note"]["fields"]["visits"] == {"kind": "counter"}


def test_rules_are_registered_after_their_collection():
    app = make_app()
    with pytest.raises(DeclarationError):
        app.rule(Note)(lambda *_: None)
    app.add(Note)

    @app.rule(Note)
    def never(actor, before, change):
        return Reject("never", "Never.")

    assert app.rules["note"] == [never]


@pytest.mark.parametrize(
    "declare_wrongly",
    [
        lambda: declare(fields={"Title": Lww(str)}),
        lambda: declare(fields={"sequence": Lww(str)}),
        lambda: declare(fields={"a__b": Lww(str)}),
        lambda: declare(name="no spaces"),
        lambda: declare(unique=(Unique(("missing",)),)),
        lambda: declare(fields={"title": Counter()}, unique=(Unique(("title",)),)),
        lambda: declare(references=(Reference("missing", "note"),)),
        lambda: declare(fields={f"f{i}": Counter() for i in range(101)}),
    ],
)
def test_bad_collections(declare_wrongly):
    with pytest.raises(DeclarationError):
        declare_wrongly()


def test_what_a_delete_clears_may_be_empty():
    def pointing(field, on_delete):
        references = (Reference("title", "note", on_delete=on_delete),)
        return declare(fields={"title": field}, references=references)

    with pytest.raises(DeclarationError, match="what a delete clears is optional: 'title'"):
        pointing(Lww(str), "clear")
    for field, on_delete in ((Lww(str), "cascade"), (Lww.optional(str), "clear")):
        assert pointing(field, on_delete).references[0].on_delete == on_delete


def test_a_collection_without_access_or_fields_is_refused():
    with pytest.raises(DeclarationError):
        type("Empty", (Collection,), {"access": ACCESS}, space="team")
    with pytest.raises(DeclarationError):
        type("Open", (Collection,), {"title": Lww(str)}, space="team")


def test_bad_apps():
    with pytest.raises(DeclarationError):
        App("No", version=1, spaces={})
    with pytest.raises(DeclarationError):
        App("app", version=0, spaces={})
    with pytest.raises(DeclarationError):
        App("app", version=1, spaces={"team": ["Not a role"]})


def test_what_is_added_is_checked_against_the_app():
    app = make_app()
    app.add(Note)
    with pytest.raises(DeclarationError):
        app.add(Note)
    with pytest.raises(DeclarationError):
        app.add(declare(fields={"title": Lww(str, write=["stranger"])}))
    with pytest.raises(DeclarationError):
        App("app", version=1, spaces={"house": ["owner"]}).add(Note)
    with pytest.raises(DeclarationError):
        app.add(declare("other", references=(Reference("title", "nowhere"),)))


def test_an_app_describes_what_both_sides_must_agree_on():
    app = App("field_survey", version=3, spaces={"team": ["owner"]})
    app.add(declare("other"), Note)
    assert app.describe() == {
        "app": "field_survey",
        "version": 3,
        "collections": {
            "note": {
                "space": "team",
                "edit_wins": True,
                "fields": {
                    "parent": {"kind": "tree_parent", **Note.parent.describe()},
                    "title": {"kind": "lww", **Note.title.describe()},
                    "visits": {"kind": "counter"},
                },
            },
            "other": {
                "space": "team",
                "edit_wins": False,
                "fields": {"title": {"kind": "lww", **Note.title.describe()}},
            },
        },
    }
    collections = app.describe()["collections"]
    assert list(collections) == ["note", "other"], "names are sorted"
    assert list(collections["note"]["fields"]) == ["parent", "title", "visits"]


def test_versions_that_are_understood_end_at_the_present_one():
    assert App("app", version=2, spaces={}).oldest_version == 1
    assert App("app", version=2, oldest_version=2, spaces={}).oldest_version == 2
    for oldest_version in (0, 3):
        with pytest.raises(DeclarationError):
            App("app", version=2, oldest_version=oldest_version, spaces={})


def test_kinds_of_spaces_are_names():
    assert App("app", version=1, spaces={"team": ["owner", "guest"]}).spaces == {
        "team": ("owner", "guest")
    }
    with pytest.raises(DeclarationError):
        App("app", version=1, spaces={"Not a kind": ["owner"]})


def test_references_stay_within_a_kind_of_space_and_may_point_at_what_is_added_with_them():
    app = App("app", version=1, spaces={"team": ["owner"], "desk": ["owner"]})
    elsewhere = type("Desk", (Collection,), {"access": ACCESS, "a": Lww(str)}, space="desk")
    app.add(elsewhere)
    with pytest.raises(DeclarationError):
        app.add(declare("other", references=(Reference("title", "desk"),)))
    app.add(declare("first", references=(Reference("title", "second"),)), declare("second"))


def test_a_collection_is_named_after_its_class_and_declares_up_to_a_hundred_fields():
    body = {"access": ACCESS, **{f"f{i}": Counter() for i in range(100)}}
    declared: Any = type("FieldTripNote", (Collection,), body, space="team")
    assert declared.collection_name == "field_trip_note"
    assert not declared.edit_wins
    assert len(declared.fields) == 100
    app = make_app()
    app.add(declared)
    assert app.rules == {"field_trip_note": []}
    assert declared.fields["f7"].name == "f7"


def test_a_collection_takes_its_name_from_the_keyword():
    assert declare("other").collection_name == "other"
    named: Any = type(
        "Airfield", (Collection,), {"access": ACCESS, "a": Lww(str)}, space="team", name="place"
    )
    assert named.collection_name == "place"


def test_unknown_class_keywords_are_refused():
    with pytest.raises(TypeError):
        type("Note", (Collection,), {"access": ACCESS, "a": Lww(str)}, space="team", colour="red")


def test_a_reject_code_is_kebab_case():
    assert Reject("not-visited", "Visit it first.").code == "not-visited"
    for code in ("Not visited", "not_-visited", "", "9lives"):
        with pytest.raises(DeclarationError):
            Reject(code, "No.")


def test_a_bad_collection_is_named():
    with pytest.raises(DeclarationError, match="'thing': declare"):
        declare(fields={f"f{i}": Counter() for i in range(101)})


def test_a_constraint_is_named_after_its_fields():
    assert Unique(("folder", "title")).name == "folder_title"
