"""The route families: what each expects of the next seconds, one module per group.

`contract.py` holds what all share, `breakout.py` those that go with a break, `reversion.py` those
that expect a way back; the first four stand in `engine/core/theses.py`, beside the table of all.
"""
