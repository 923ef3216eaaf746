"""``python -m ttg`` is the ``ttg`` command."""

import sys

from ttg.cli import main

sys.exit(main())
