"""A venue on loopback that speaks Kraken's protocol: `serve` runs it, docs/howto-venue-server.md."""

from adapters.local_venue.faults import Script, parse_script, read_script
from adapters.local_venue.keys import ApiKey
from adapters.local_venue.market import events_of
from adapters.local_venue.options import VenueOptions
from adapters.local_venue.server import LocalVenue, serve
from adapters.local_venue.source import MarketSource, generated

__all__ = [
    "ApiKey",
    "LocalVenue",
    "MarketSource",
    "Script",
    "VenueOptions",
    "events_of",
    "generated",
    "parse_script",
    "read_script",
    "serve",
]
