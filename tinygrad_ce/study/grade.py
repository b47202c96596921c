"""grade: a table of what students' notebooks have earned. Answers run in a process of their own, with a time limit.

So one that never ends, or ends its process, doesn't keep the others from being graded. But it is no sandbox: what an
answer does to files or over the network, it does.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from tinygrad_ce.study import answers
from tinygrad_ce.study.exercise import stopped
from tinygrad_ce.study.exercises import exercises_of, has_exercises

LIMIT = 20.0  # seconds for an answer
_START = 60.0  # seconds in which a process has to be there


@dataclass(frozen=True)
class Line:
    """A line of the table: an exercise of a student; or, without an exercise, what there is to say of a notebook.

    ``verdict`` is a Result's, or "missing" (no such notebook, or no such name in it), "broken" (it can't be read),
    "timeout", "crash", or "note".
    """

    student: str
    notebook: str
    exercise: str
    points: float
    of: float
    verdict: str
    message: str


class Book(NamedTuple):
    """A notebook of a student, the name that it has in the course, and where it is."""

    student: str
    name: str
    path: Path


def grade(
    folder: str | os.PathLike[str], course: Sequence[str], *, limit: float = LIMIT, seed: int | None = None
) -> list[Line]:
    """Grade a student's folder of notebooks, or a folder of such folders, each of them a student's.

    A notebook is known by its name or, if it has another, by the exercises that it imports. Where several lie in one
    folder, the one that kept its name is the folder's student's, and each other one is a student's of its own.

    Args:
        folder: the folder.
        course: the names of the notebooks to grade, as ``"01_softmax"``. One that a student hasn't is a line, too.
        limit: the seconds after which an answer is given up.
        seed: of the inputs that answers are asked for, the same for all students; drawn anew unless given.

    Raises:
        OSError: there is no such folder.

    Example:
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp(), "anna")
        >>> folder.mkdir()
        >>> [(line.student, line.verdict, line.message) for line in grade(folder, ["01_softmax"])]
        [('anna', 'missing', 'no notebook of the course lies here')]
    """
    seed = secrets.randbits(32) if seed is None else seed
    jobs = [job for home, books in _homes(Path(folder)).items() for job in _of_student(home, books, course)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        graded = pool.map(lambda job: [job] if isinstance(job, Line) else _notebook(job, limit, seed), jobs)
        return [line for lines in graded for line in lines]


def _homes(root: Path) -> dict[Path, list[Path]]:
    """The notebooks of each student, by the student's folder."""
    entries = sorted(path for path in root.iterdir() if not path.name.startswith("."))
    homes = {path: sorted(path.rglob("*.ipynb")) for path in entries if path.is_dir() and path.suffix != ".ipynb"}
    own = [path for path in entries if path.suffix == ".ipynb"]
    if homes and not own:
        return homes
    return {root: own, **{home: books for home, books in homes.items() if books}}  # others in it are of pictures


def _of_student(home: Path, books: Sequence[Path], course: Sequence[str]) -> Iterator[Line | Book]:
    """What there is to grade in a folder: lines that are known already, and notebooks."""
    student = home.resolve().name
    found: dict[str, list[Path]] = {}
    for path in books:
        if not any(part.startswith(".") for part in path.relative_to(home).parts):
            found.setdefault(_recognised(path, course), []).append(path)
    found.pop("", None)
    for path in found.pop("?", []):
        yield Line(student, "", "", 0, 0, "note", f"{path.name} is no notebook of the course")
    if not found:
        yield Line(student, "", "", 0, sum(map(_points, course)), "missing", "no notebook of the course lies here")
        return
    shared = any(len(paths) > 1 for paths in found.values())
    for name in course:
        paths = found.get(name, [])
        for path in paths:
            own = len(paths) == 1 or path.stem == name
            yield Book(student if own else f"{student}/{path.stem}", name, path)
        if not paths and not shared:
            yield Line(student, name, "", 0, _points(name), "missing", f"there is no {name}.ipynb")


def _points(name: str) -> float:
    """What all exercises of a notebook can earn."""
    return sum(exercise.points for exercise in exercises_of(name).values())


def _recognised(path: Path, course: Sequence[str]) -> str:
    """Which notebook of the course a file is; "" if it isn't to be graded, "?" if it is none."""
    if path.stem in course:
        return path.stem
    try:
        modules = re.findall(rb"from tinygrad_ce\.study\.exercises import (\w+)", path.read_bytes())
    except OSError:
        modules = []
    known = [module.decode() for module in modules if has_exercises(module.decode())]
    if not known:
        return "" if has_exercises(path.stem) else "?"
    return next((name for name in course if name.lstrip("0123456789_") == known[0]), "")


def _notebook(book: Book, limit: float, seed: int) -> list[Line]:
    """The lines of one notebook."""
    student, name, path = book
    exercises = exercises_of(name)
    try:
        notebook = answers.read(path)
    except (OSError, ValueError) as error:
        return [Line(student, name, "", 0, _points(name), "broken", f"{path.name} can't be read: {error}")]
    notes = [] if path.stem == name else [f"found in {path.name}"]
    notes += [] if notebook.was_run else ["its cells have never been run, or their outputs were cleared"]
    lines = [Line(student, name, "", 0, 0, "note", note) for note in notes]
    texts = {exercise: answers.needed(notebook, exercise) for exercise in exercises}
    judged = dict(_judged(name, {exercise: text for exercise, text in texts.items() if text is not None}, limit, seed))
    for exercise, made in exercises.items():
        verdict, message = judged.get(exercise, ("missing", f"no cell makes {exercise}"))
        broken = [why for cell, why in notebook.broken if re.search(rf"\b{exercise}\b", cell)]
        if broken and verdict in ("missing", "open"):
            verdict, message = "error", f"✗ its cell is no Python: {broken[0]}"
        share = {"right": 1.0, "half": 0.5}.get(verdict, 0.0)
        lines.append(Line(student, name, exercise, share * made.points, made.points, verdict, message))
    return lines


def _judged(notebook: str, texts: dict[str, str], limit: float, seed: int) -> Iterator[tuple[str, tuple[str, str]]]:
    """The verdict and message on each answer. After an answer that it didn't survive, the process is a new one."""
    waiting = list(texts)
    while waiting:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        left = [(exercise, texts[exercise]) for exercise in waiting]
        process = context.Process(target=_run, args=(theirs, notebook, left, seed), daemon=True)
        process.start()
        theirs.close()
        try:
            _received(ours, _START)
            while waiting:
                verdict, message = _received(ours, limit)
                yield waiting.pop(0), (verdict, message)
        except TimeoutError:
            yield waiting.pop(0), ("timeout", f"it ran for more than {limit:g} seconds, and was ended")
        except (EOFError, OSError, ValueError):
            yield waiting.pop(0), ("crash", "it ended the process in which it ran")
        finally:
            process.kill()
            process.join()
            ours.close()


def _received(connection: Connection, seconds: float) -> Any:
    if not connection.poll(seconds):
        raise TimeoutError
    return json.loads(connection.recv_bytes())


def _run(connection: Connection, notebook: str, texts: list[tuple[str, str]], seed: int) -> None:
    """In a process of its own: judge answers, and send the verdicts."""
    os.environ["MPLBACKEND"] = "Agg"  # no answer opens a window
    exercises = exercises_of(notebook)
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        os.chdir(folder)
        connection.send_bytes(b"[]")
        for number, (name, text) in enumerate(texts):
            try:
                own = Path(folder, str(number))
                own.mkdir()
                result = exercises[name].judge(answers.load(text, name, own), seed)
                found = result.verdict, result.message
            except (Exception, SystemExit) as error:
                found = "error", f"✗ what {name} needs fails: {stopped(error, str(own / answers.FILE)).words}"
            connection.send_bytes(json.dumps(found).encode())
        os.chdir(os.sep)
