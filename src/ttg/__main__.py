"""``python -m ttg`` is the ``ttg`` command."""

from ttg.cli import command

command()
