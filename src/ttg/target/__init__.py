"""The user's function: named, checked without running it, shipped, loaded in a child, and bound to a space's names."""

from ttg.target.loading import allowed, load
from ttg.target.naming import refreshed, target_of, target_of_text
from ttg.target.signature import Binding, bind

__all__ = ["Binding", "allowed", "bind", "load", "refreshed", "target_of", "target_of_text"]
