"""Kraken spot: its words and numbers (no I/O), and thin shells that carry them."""
