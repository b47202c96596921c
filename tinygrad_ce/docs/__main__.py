"""``python -m tinygrad_ce.docs [FOLDER]`` is ``tinygrad-ce docs [FOLDER]``."""

import sys

from tinygrad_ce.cli import main

sys.exit(main(["docs", *sys.argv[1:]]))
