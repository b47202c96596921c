"""``python -m tinygrad_ce.docs [FOLDER]`` builds the documentation."""

import argparse

from tinygrad_ce.cli import arguments
from tinygrad_ce.docs import build

parser = argparse.ArgumentParser("python -m tinygrad_ce.docs", description="Build the documentation as a static site.")
parser.add_argument("folder", nargs="?", default="tinygrad_ce_docs", help="where it goes (tinygrad_ce_docs)")
print(build(parser.parse_args().folder, arguments.parser()))
