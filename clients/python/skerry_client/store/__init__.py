"""The phone's database: confirmed rows, the mutation queue, staged pages; all SQL of the client."""

from skerry_client.store.store import Store

__all__ = ["Store"]
