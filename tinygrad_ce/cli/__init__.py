"""The command line: main runs a command and turns what goes wrong into one line and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from tinygrad_ce.cli import apply, arguments, config, train
from tinygrad_ce.common.terminal import plain_where_needed
from tinygrad_ce.common.words import visible
from tinygrad_ce.train import team

_COMMANDS = {"train": train.run, "evaluate": apply.evaluate, "predict": apply.predict}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 0, 1 for a failed check, or 2 for bad arguments or files."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = arguments.parser()
    args = parser.parse_args(argv)
    try:
        with plain_where_needed():
            if args.command == "train":
                args = config.merged(parser, argv, args)
            args.argv = argv
            if args.command in _COMMANDS:
                return _COMMANDS[args.command](args)
            from tinygrad_ce.cli import study  # with all that explains and draws, which a training can do without

            return int(getattr(study, args.command)(args))
    except BrokenPipeError:  # whoever read the output has had enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 141
    except (ValueError, OSError, FloatingPointError, ImportError, MemoryError) as error:
        print(f"{parser.prog} {args.command}: error: {_words(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:  # it comes to all processes
        if team.is_first():
            print(f"\n{parser.prog}: {str(stop) or 'interrupted'}", file=sys.stderr)
        return 130


def _words(error: Exception) -> str:
    """What went wrong, with the file's name. Files that were read may have names that a terminal would obey."""
    words = str(error)
    if isinstance(error, OSError) and error.strerror:
        # Every file that is written gives its name; what has none went where print goes.
        words = f"{error.filename or 'standard output'}: {error.strerror}"
        if not error.filename:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    return "\n".join(map(visible, words.split("\n")))
