"""The options of train as TOML: what a run writes down, and what --config reads."""

from __future__ import annotations

import argparse
import json
import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from tinygrad_ce.cli import arguments
from tinygrad_ce.cli.inputs import COLUMNS
from tinygrad_ce.cli.wording import likely
from tinygrad_ce.common.words import visible
from tinygrad_ce.data.arrays import word

FILE = "config.toml"  # of a run
MARK = "# tinygrad-ce "  # what a run's config begins with
_OF_ONE_CALL = ("argv", "command", "config", "dry_run", "resume", "replace", "passed_over")
SECTION = "columns"  # of a file; of a run's, it is there if any of them is given
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]")


def merged(parser: argparse.ArgumentParser, argv: Sequence[str], given: argparse.Namespace) -> argparse.Namespace:
    """The options of a call. Those of its --config file come first, so that those on the command line win.

    A file says what to train. Where to write says the command line alone, as the file may be a stranger's: the run that
    a file names is passed over. To resume or to replace a run, its folder or its config file is enough: one lies in the
    other.

    Raises:
        ValueError: the file is no TOML, or has an unknown key or a wrong value; file and key are named.
        OSError: it can't be opened.
    """
    path, folder = given.config, given.run
    if (given.resume or given.replace) and folder and not given.data:
        path = path or folder / FILE
    if path is None:
        return given
    there, data = read(path)
    args = parser.parse_args([argv[0], *there, *argv[1:]])
    named, args.run = args.run, folder
    if (given.resume or given.replace) and folder is None and path.name == FILE and is_run(path.parent):
        args.run = path.parent
    args.passed_over = named if args.run is None else None
    args.data = args.data or data
    return args


def is_run(folder: Path) -> bool:
    """Whether train has written a folder."""
    try:
        with open(folder / FILE if (folder / FILE).is_file() else os.devnull, "rb") as file:  # a pipe would block
            return file.read(len(MARK)) == MARK.encode()
    except OSError:
        return False


def version(folder: Path) -> str:
    """The version that wrote a run's folder."""
    with open(folder / FILE, encoding="utf-8", errors="replace") as file:
        return visible(file.readline()[len(MARK) :].partition(":")[0].strip())


def settings(path: Path) -> argparse.Namespace:
    """The options in a file, with the defaults of the others."""
    there, data = read(path)
    args = _parser().parse_args(there)
    args.data = data
    return args


def read(path: Path) -> tuple[list[str], list[str]]:
    """A file's options as arguments, and its data."""
    with open(path, "rb") as file:
        try:
            found = tomllib.load(file)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: {error}, expected TOML") from None
    section = found.pop(SECTION, {})
    if not isinstance(section, dict) or not section.keys() <= {*COLUMNS}:
        raise ValueError(f"{path}: {SECTION}: {section!r}, expected a section with some of {', '.join(COLUMNS)}")
    found |= section
    data = found.pop("data", [])
    data = [data] if isinstance(data, str) else data
    if not isinstance(data, list) or not all(isinstance(name, str) for name in data):
        raise ValueError(f"{path}: data: {data!r}, expected a name, or a list of names")
    defaults = {name: value for name, value in _named(_parser().parse_args([])).items() if name != "data"}
    return [_argument(path, key, value, defaults) for key, value in found.items()], data


def as_toml(args: argparse.Namespace, comment: str) -> str:
    """Options as TOML, below a comment of one line."""
    named = _named(args)
    columns = {name: value for name in COLUMNS if (value := named.pop(name))}
    section = [f"[{SECTION}]", *(f"{name} = {_toml(value)}" for name, value in columns.items())] if columns else []
    lines = [f"{name} = {_toml(value)}" for name, value in named.items() if value is not None]
    unset = ", ".join(name for name, value in named.items() if value is None)
    return "\n".join([f"# {_escaped(comment)}", *lines, *([f"# not set: {unset}"] if unset else []), *section, ""])


def _named(args: argparse.Namespace) -> dict[str, Any]:
    """What belongs into a file, by the options' names."""
    return {name.replace("_", "-"): value for name, value in vars(args).items() if name not in _OF_ONE_CALL}


def _argument(path: Path, key: str, value: Any, defaults: dict[str, Any]) -> str:
    """A key and its value as one argument, tried by itself so that an error can name the key."""
    if key not in defaults:
        more = likely(key.replace("_", "-"), defaults) or f"there are data, {', '.join(defaults)}"
        raise ValueError(f"{path}: {word(key)}: no such option; {more}")
    if isinstance(value, bool) != isinstance(defaults[key], bool):
        expected = "a value" if isinstance(value, bool) else "true or false"
        raise ValueError(f"{path}: {key}: {value!r}, expected {expected}")
    if isinstance(value, dict) or isinstance(value, list) > isinstance(defaults[key], list):
        raise ValueError(f"{path}: {key}: {value!r}, expected one value")
    if isinstance(value, bool):
        return f"--{key}" if value else f"--no-{key}"
    try:
        text = arguments.joined(value) if isinstance(value, list) else str(value)
        _parser().parse_args([f"--{key}={text}"])
    except ValueError as error:
        raise ValueError(f"{path}: {key}: {str(error).removeprefix(f'argument --{key}: ')}") from None
    return f"--{key}={text}"


class _Parser(argparse.ArgumentParser):
    """Raises what is wrong instead of ending the program."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def _parser() -> argparse.ArgumentParser:
    made = _Parser(add_help=False)
    arguments.add_train(made)
    return made


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str | Path):
        return _escaped(json.dumps(str(value), ensure_ascii=False))
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _escaped(text: str) -> str:
    """Control characters, which TOML has neither in strings nor in comments, as escapes."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
