"""Tells an app's declaration to a history: what `App.describe` says, and what it leaves out."""


def declared(app):
    """Return the facts of an `app` event: the description, constraints, and who may read what."""
    return {
        "describe": app.describe(),
        "version": app.version,
        "unique": {
            name: [[list(unique.fields), unique.scope] for unique in collection.unique]
            for name, collection in app.collections.items()
            if collection.unique
        },
        "references": {
            name: [
                [reference.field, reference.collection, reference.on_delete]
                for reference in collection.references
            ]
            for name, collection in app.collections.items()
            if collection.references
        },
        "read": {
            name: sorted(collection.access.read) for name, collection in app.collections.items()
        },
        "lensed": _lensed(app),
        "ruled": sorted(name for name, rules in app.rules.items() if rules),
    }


def _lensed(app):
    """Return, by collection, the fields that some older version names or writes otherwise."""
    found = {}
    for (collection, _), lens in app.lenses.items():
        names = {*lens.renamed, *lens.renamed.values(), *lens.up, *lens.down}
        found[collection] = sorted(names | set(found.get(collection, ())))
    return found


def tell_app(history, app, *, now_ms):
    """Add the `app` event."""
    history.add({"e": "app", "t": now_ms, **declared(app)})
