"""The database that these tests run on."""

from tests.support.postgres import empty_place, own_server, place, server

__all__ = ["empty_place", "own_server", "place", "server"]
