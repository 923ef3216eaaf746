"""``python -m ttg`` is the ``ttg`` command."""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # the current folder, put there by -m: a user's random.py is not for us to import

from ttg.cli import command

command()
