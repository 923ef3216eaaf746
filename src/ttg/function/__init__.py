"""The user's function: named, checked without running it, shipped, loaded in a child, and bound to a space's names."""

from ttg.function.helpers import same, texts_of
from ttg.function.loading import allowed, load
from ttg.function.marks import is_marked, is_vectorized, vectorized
from ttg.function.naming import function_from_callable, function_from_text, is_importable, refreshed, setup_beside
from ttg.function.packing import FindInput, Inputs, Packed, no_input
from ttg.function.programs import Program, check_placeholders, command_of, files_of_program, program
from ttg.function.signature import INJECTED, SETUP, Binding, bind, signature_of
from ttg.function.signing import check_store, shared_reference, shared_value, signed_store, with_pickles

__all__ = [
    "INJECTED",
    "SETUP",
    "Binding",
    "FindInput",
    "Inputs",
    "Packed",
    "Program",
    "allowed",
    "bind",
    "check_placeholders",
    "check_store",
    "command_of",
    "files_of_program",
    "function_from_callable",
    "function_from_text",
    "is_importable",
    "is_marked",
    "is_vectorized",
    "load",
    "no_input",
    "program",
    "refreshed",
    "same",
    "setup_beside",
    "shared_reference",
    "shared_value",
    "signature_of",
    "signed_store",
    "texts_of",
    "vectorized",
    "with_pickles",
]
