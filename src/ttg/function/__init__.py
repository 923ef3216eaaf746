"""The user's function: named, checked without running it, shipped, loaded in a child, and bound to a space's names."""

from ttg.function.helpers import same, texts_of
from ttg.function.loading import allowed, load
from ttg.function.marks import is_marked, is_vectorized, vectorized
from ttg.function.naming import function_from_callable, function_from_text, refreshed
from ttg.function.packing import FindInput, Inputs, Packed, no_input
from ttg.function.signature import Binding, bind
from ttg.function.signing import shared_reference, shared_value

__all__ = [
    "Binding",
    "FindInput",
    "Inputs",
    "Packed",
    "allowed",
    "bind",
    "function_from_callable",
    "function_from_text",
    "is_marked",
    "is_vectorized",
    "load",
    "no_input",
    "refreshed",
    "same",
    "shared_reference",
    "shared_value",
    "texts_of",
    "vectorized",
]
