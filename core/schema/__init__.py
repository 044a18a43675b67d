"""The schema: collections, apps, lenses."""
