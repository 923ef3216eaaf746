"""Implementations of the broker contract; `base` states it."""
