"""Calls that a program makes one by one, on the workers that also do runs: :class:`ttg.Executor`."""
