"""Learners: each is a `Config`, a `loss(outputs, batch, config) -> (scalar, metrics)` and a three-line main over one loop.

Shapes: B rows (episodes), T tokens, S decisions; see `algorithms.batch`.
"""
