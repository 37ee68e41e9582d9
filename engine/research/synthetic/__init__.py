"""What would a market look like whose truth we know? A generator of order flow and its feeds.

`generate(GeneratorConfig(...))` streams events as Kraken's channels would have sent them, the same
bytes on every machine. It teaches and tests; results on it prove nothing about real markets.
"""

from engine.research.synthetic.config import (
    DEFAULT_SYMBOLS,
    GeneratorConfig,
    SymbolSpec,
    default_instruments,
)
from engine.research.synthetic.market import Market, generate

__all__ = [
    "DEFAULT_SYMBOLS",
    "GeneratorConfig",
    "Market",
    "SymbolSpec",
    "default_instruments",
    "generate",
]
