"""Which release is this? The one place that says so."""

VERSION = "0.1.0"
