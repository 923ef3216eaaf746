"""The user's function: named, checked without running it, shipped, loaded in a child, and bound to a space's names."""

from ttg.function.helpers import same, texts_of
from ttg.function.loading import allowed, load
from ttg.function.marks import is_marked, is_vectorized, vectorized
from ttg.function.naming import function_from_callable, function_from_text, refreshed
from ttg.function.signature import Binding, bind

__all__ = [
    "Binding",
    "allowed",
    "bind",
    "function_from_callable",
    "function_from_text",
    "is_marked",
    "is_vectorized",
    "load",
    "refreshed",
    "same",
    "texts_of",
    "vectorized",
]
