"""Object storage through obstore: a folder of this machine, or S3 and what speaks like it.

Credentials and the address of an S3-compatible server come from the usual variables
(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL), never from the URL.

Invariants
  O1  memory is bounded: files go up in parts and come down in chunks
  O2  in a local folder everything is for its owner alone, and on the disk before it is answered
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from edge.errors import NotFound, Unavailable
from edge.ports.backups import BackupDamaged, StoredObject

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

PART_BYTES: Final = 8 << 20
"""S3 takes 10,000 parts of an object: 80 GB for one database."""
PARTS_AT_ONCE: Final = 4
"""With PART_BYTES, 32 MiB of one file are in memory; more parts do not fill a line any better."""
DELETED_AT_ONCE: Final = 1_000
"""As many as S3 deletes with one request."""
RETRIES_MAX: Final = 4
RETRY_SECONDS_MAX: Final = 60
REQUEST_SECONDS_MAX: Final = 120
OBJECTS_MAX: Final = 1_000_000
"""A listing of more is refused: it would not be backups."""
MISSING: Final = (
    "Backups need the package obstore: install Skerry with its extra, `pip install skerry[backup]`."
)


def open_store(target: str, environment: Mapping[str, str]) -> ObstoreStore:
    """Open a folder (a path or file:// URL), or s3://bucket/prefix.

    Raises ValueError for another kind of target, Unavailable when obstore is not installed.
    """
    try:
        from obstore.store import LocalStore, S3Store  # noqa: PLC0415  (an optional dependency)
    except ImportError as error:
        raise Unavailable(MISSING) from error
    url = urlsplit(target)
    if url.scheme == "s3":
        if not url.netloc or url.query or url.username:
            raise ValueError("write s3://bucket/prefix; credentials come from AWS_* variables")
        endpoint = s3_endpoint(environment)
        config: dict[str, Any] = {"region": environment.get("AWS_REGION", "us-east-1")}
        for name in ("access_key_id", "secret_access_key", "session_token"):
            if value := environment.get(f"AWS_{name.upper()}"):
                config[name] = value
        if endpoint:
            config["endpoint"] = endpoint
        store = S3Store(
            url.netloc,
            prefix=url.path.strip("/") or None,
            config=config,  # pyright: ignore[reportArgumentType]
            client_options={
                "allow_http": endpoint.startswith("http://"),
                "timeout": timedelta(seconds=REQUEST_SECONDS_MAX),
            },
            retry_config={
                "max_retries": RETRIES_MAX,
                "retry_timeout": timedelta(seconds=RETRY_SECONDS_MAX),
            },
        )
        return ObstoreStore(store, folder=None)
    if url.scheme not in ("", "file"):
        raise ValueError("a folder or s3://bucket/prefix is expected")
    folder = Path(url.path if url.scheme else target).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except (OSError, ValueError) as error:
        raise Unavailable(f"{folder!s} cannot be used: {error}.") from error
    return ObstoreStore(LocalStore(folder), folder=folder)


def s3_endpoint(environment: Mapping[str, str]) -> str:
    """Return the address of an S3-compatible server; empty: Amazon's own."""
    return environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL", "")


class ObstoreStore:
    """The ObjectStore port over one of obstore's stores; `folder` is given for a local one."""

    def __init__(self, store: Any, *, folder: Path | None) -> None:  # noqa: ANN401
        self._store = store
        self._folder = folder

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        return self._folder is not None

    async def put(self, path: str, source: Path) -> None:
        """Store a file in parts."""
        import obstore  # noqa: PLC0415

        with _translated(path):
            await obstore.put_async(
                self._store,
                path,
                source,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )
            self._settle(path)

    async def put_bytes(self, path: str, content: bytes) -> None:
        """Store a small object."""
        import obstore  # noqa: PLC0415

        with _translated(path):
            await obstore.put_async(self._store, path, content, use_multipart=False)
            self._settle(path)

    async def get(self, path: str, *, bytes_max: int) -> bytes:
        """Return a small object."""
        import obstore  # noqa: PLC0415

        with _translated(path):
            found = await obstore.get_async(self._store, path)
            if found.meta["size"] > bytes_max:
                raise BackupDamaged(f"{path} is larger than {bytes_max} bytes.")
            return bytes(await found.bytes_async())

    async def download(self, path: str, target: Path) -> None:
        """Write an object into a new file."""
        import obstore  # noqa: PLC0415

        with _translated(path):
            found = await obstore.get_async(self._store, path)
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "wb") as file:  # noqa: ASYNC230, PTH123  (1 MiB a write)
                async for chunk in found.stream(min_chunk_size=1 << 20):
                    file.write(chunk)

    async def list(self, prefix: str) -> list[StoredObject]:
        """Return the objects below a prefix, by path."""
        import obstore  # noqa: PLC0415

        found: list[StoredObject] = []
        with _translated(prefix):
            async for chunk in obstore.list(  # pyright: ignore[reportUnknownMemberType]
                self._store, prefix, chunk_size=1_000
            ):
                found += [
                    StoredObject(
                        str(meta["path"]),
                        int(meta["size"]),
                        int(meta["last_modified"].timestamp() * 1_000),
                    )
                    for meta in chunk
                ]
                if len(found) > OBJECTS_MAX:
                    raise Unavailable(f"There are more than {OBJECTS_MAX} objects.")
        return sorted(found, key=lambda stored: stored.path)

    async def delete(self, paths: Sequence[str]) -> None:
        """Delete objects, and folders that are empty then."""
        import obstore  # noqa: PLC0415

        for first in range(0, len(paths), DELETED_AT_ONCE):
            batch = list(paths[first : first + DELETED_AT_ONCE])
            if self._folder is not None:
                for path in batch:
                    (self._folder / path).unlink(missing_ok=True)
                self._prune({(self._folder / path).parent for path in batch})
                continue
            with _translated(batch[0]):
                await obstore.delete_async(self._store, batch)

    def _settle(self, path: str) -> None:
        """Bring a local object to the disk, and keep others from reading it (O2)."""
        if self._folder is None:
            return
        file = self._folder / path
        file.chmod(0o600)
        _sync(file)
        for folder in file.parents:
            if folder == self._folder:
                return
            folder.chmod(0o700)
            _sync(folder)

    def _prune(self, folders: set[Path]) -> None:
        for folder in folders:
            for candidate in (folder, *folder.parents):
                if candidate == self._folder or not candidate.is_dir() or any(candidate.iterdir()):
                    break
                candidate.rmdir()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translated(path: str) -> Generator[None]:
    """Turn obstore's errors into the node's own."""
    from obstore.exceptions import BaseError  # noqa: PLC0415

    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"The backup store has no {path}.") from error
    except (BaseError, OSError) as error:
        first = str(error).strip().partition("\n")[0]
        raise Unavailable(f"The backup store failed: {first:.300}") from error
