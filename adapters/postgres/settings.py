"""Where is the database, which deadlines hold, and what of that may be said aloud?

The connection string is a secret: it is never printed, and its password is cut out of every
foreign text. What may be said is the identity: host, port, database. Left out: reading a profile
(engine/config.py), connecting (pools.py).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from engine.errors import ConfigError

DSN_VARIABLE: Final = "KAPITAALBOT_MIRROR_DSN"
MIGRATE_VARIABLE: Final = "KAPITAALBOT_MIRROR_MIGRATE_DSN"
NAME_RULE: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
LOCAL_HOSTS: Final = ("", "localhost", "127.0.0.1", "::1")
TLS_MODES: Final = ("require", "verify-ca", "verify-full")


def checked_name(name: str, what: str) -> str:
    """A name that may become an identifier in SQL; raises ConfigError for any other."""
    if not NAME_RULE.fullmatch(name) or name.startswith("pg_"):
        raise ConfigError(
            f"{what} {name!r} is not allowed.",
            "Small letters, digits and _, at most 40, a letter first, not pg_.",
        )
    return name


@dataclass(frozen=True)
class Settings:
    """What the mirror is told. dsn : postgresql://user:password@host:port/database?sslmode=...

    schema : the PostgreSQL schema that holds the tables
    required : its commit is a condition before an order leaves (the session asks `committed`)
    connect_s, acquire_s, statement_s, lock_s : deadlines of connecting, of waiting for a connection
        of the pool, of one statement, of one lock
    flush_s : how long rows are gathered before a batch leaves, unless somebody waits for it
    progress_s : at least so often the mirror says how far it is, though nothing happened
    retry_s, retry_max_s : pause after a failure, doubled up to the second
    rows_max : rows held while the database is away; beyond that they are read from the log again
    batch_rows : rows per table of one transaction
    """

    dsn: str = field(repr=False)
    schema: str = "kapitaalbot"
    required: bool = False
    connect_s: float = 5.0
    acquire_s: float = 5.0
    statement_s: float = 5.0
    lock_s: float = 2.0
    flush_s: float = 0.2
    progress_s: float = 5.0
    retry_s: float = 0.1
    retry_max_s: float = 5.0
    rows_max: int = 200_000
    batch_rows: int = 500
    pool_size: int = 2

    def __post_init__(self) -> None:
        checked_name(self.schema, "the mirror's schema")
        parts = _split(self.dsn)
        if not self.is_local and self.ssl_mode not in TLS_MODES:
            raise ConfigError(
                f"the mirror's database at {self.place} is not on this machine, and sslmode is "
                f"{parts['sslmode']!r}.",
                "Add sslmode=verify-full to the connection string.",
            )

    @property
    def is_local(self) -> bool:
        """A unix socket or loopback: nothing travels in the clear."""
        return all(
            host.startswith("/") or host in LOCAL_HOSTS for host in _split(self.dsn)["hosts"]
        )

    @property
    def ssl_mode(self) -> str | None:
        """What asyncpg is told of TLS; None leaves it to the connection string."""
        given = _split(self.dsn)["sslmode"]
        return "verify-full" if not given and not self.is_local else given or None

    @property
    def place(self) -> str:
        """Host, port and database, without user and password."""
        parts = _split(self.dsn)
        return f"{','.join(parts['hosts']) or 'local'}/{parts['database']}"

    def redacted(self, text: str) -> str:
        """`text` without the connection string and its password."""
        for secret in (self.dsn, *_split(self.dsn)["secrets"]):
            if len(secret) > 2:
                text = text.replace(secret, "***")
        return text


def settings_from(
    table: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None
) -> Settings:
    """Settings of a profile's [mirror] section as a mapping; the environment's DSN wins.

    Keys that the mirror does not know are left alone. Raises ConfigError without a DSN.
    """
    names = Settings.__dataclass_fields__.keys()
    values = {name: value for name, value in (table or {}).items() if name in names}
    given = values.pop("dsn", "")
    if hasattr(given, "get_secret_value"):  # a secret of pydantic
        given = given.get_secret_value()
    environment = os.environ if environment is None else environment
    dsn = environment.get(DSN_VARIABLE, "") or str(given)
    if not dsn:
        raise ConfigError(
            "the mirror has no database.",
            f"Set {DSN_VARIABLE}, or `mirror.dsn` in the profile (docs/howto-postgres.md).",
        )
    return Settings(dsn=dsn, **values)


def _split(dsn: str) -> dict[str, Any]:
    """Hosts, database, sslmode and secrets of a connection string; raises ConfigError."""
    wrong = ConfigError(
        "the mirror's connection string cannot be read (it is not shown, since it is a secret).",
        "Write it as postgresql://user:password@host:5432/database; special characters as %40.",
    )
    try:
        url = urlsplit(dsn)
        query = parse_qs(url.query)
    except ValueError:
        raise wrong from None
    if url.scheme not in ("postgresql", "postgres"):
        raise wrong
    account, _, network = url.netloc.rpartition("@")
    password = account.partition(":")[2]
    hosts = [_host(each) for each in network.split(",") if each]
    hosts += [host for each in query.get("host", []) for host in each.split(",")]
    return {
        "hosts": [unquote(host) for host in hosts],
        "database": url.path.lstrip("/") or "default",
        "sslmode": query.get("sslmode", [""])[0],
        "secrets": [each for each in (password, unquote(password), *query.get("password", []))],
    }


def _host(text: str) -> str:
    if text.startswith("["):
        return text.partition("]")[0][1:]
    return text.partition(":")[0]
