"""The command line: main runs a command and turns what goes wrong into one line and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from tinygrad_ce.cli import apply, arguments, config, study, train
from tinygrad_ce.train import team

_COMMANDS = {
    "train": train.run,
    "evaluate": apply.evaluate,
    "predict": apply.predict,
    "gradcheck": study.gradcheck,
    "explain": study.explain,
    "notebooks": study.notebooks,
    "docs": study.docs,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 0, 1 for a failed check, or 2 for bad arguments or files."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = arguments.parser()
    args = parser.parse_args(argv)
    try:
        if args.command == "train":
            args = config.merged(parser, argv, args)
        args.argv = argv
        return _COMMANDS[args.command](args)
    except BrokenPipeError:  # whoever read the output has had enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 141
    except (ValueError, OSError, FloatingPointError, ImportError, MemoryError) as error:
        words = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
        print(f"{parser.prog} {args.command}: error: {words}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:  # it comes to all processes
        if team.is_first():
            print(f"\n{parser.prog}: {str(stop) or 'interrupted'}", file=sys.stderr)
        return 130
