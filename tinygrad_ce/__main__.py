"""``python -m tinygrad_ce`` is the command line."""

import sys

from tinygrad_ce.cli import main

sys.exit(main())
