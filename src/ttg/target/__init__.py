"""The user's function: named, checked without running it, shipped, loaded in a child, and bound to a space's names."""

from ttg.target.loading import allowed, load
from ttg.target.marks import is_marked, is_vectorized, vectorized
from ttg.target.naming import refreshed, target_of, target_of_text
from ttg.target.signature import Binding, bind

__all__ = [
    "Binding",
    "allowed",
    "bind",
    "is_marked",
    "is_vectorized",
    "load",
    "refreshed",
    "target_of",
    "target_of_text",
    "vectorized",
]
