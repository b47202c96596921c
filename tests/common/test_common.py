"""The one writer of files, and the checks of options."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import unicodedata

import numpy as np
import pytest

from tinygrad_ce.common import files, options, terminal, words


def half_written(path, error):
    with files.replacing(path, text=True) as file:
        file.write("second")
        raise error


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.txt"
    files.write(path, "first\r\n")
    assert path.read_bytes() == b"first\r\n"
    for error in (OSError, KeyboardInterrupt):
        with pytest.raises(error):
            half_written(path, error)
        assert path.read_bytes() == b"first\r\n"
    with files.replacing(path) as file:
        file.write(b"second")
        assert path.read_bytes() == b"first\r\n"
    assert path.read_bytes() == b"second"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_what_cannot_be_replaced_is_written_to(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    files.write(pipe, "é\n")
    assert os.read(reader, 9) == "é\n".encode()
    os.close(reader)
    with pytest.raises(IsADirectoryError):
        files.write(tmp_path, "")
    with pytest.raises(FileNotFoundError):
        files.write(tmp_path / "gone" / "a.txt", "")


def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "mine").write_text("precious")
    (tmp_path / "a.txt").symlink_to(tmp_path / "mine")
    files.write(tmp_path / "a.txt", "new")
    assert ((tmp_path / "a.txt").read_text(), (tmp_path / "mine").read_text()) == ("new", "precious")
    assert not (tmp_path / "a.txt").is_symlink()


def test_names_of_unfinished_files_are_never_the_same(tmp_path):
    names = set()
    for _ in range(3):
        with files.replacing(tmp_path / "a.txt"):
            names |= set(os.listdir(tmp_path)) - {"a.txt"}
    assert len(names) == 3


KILLED = """
import os, sys
from tinygrad_ce.common import files

with files.replacing(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_what_killed_programs_left_goes_and_what_others_write_stays(tmp_path):
    path = tmp_path / "a[1].txt"
    command = [sys.executable, "-c", KILLED, path]
    writers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    writers[0].send_signal(signal.SIGKILL)
    writers[0].communicate()
    assert len(os.listdir(tmp_path)) == 2
    files.write(path, "new")
    assert len(os.listdir(tmp_path)) == 2  # the new one, and what the other still writes
    writers[1].communicate("", timeout=20)
    assert (os.listdir(tmp_path), path.read_text()) == (["a[1].txt"], "half")


def test_one_program_at_a_time_writes_to_a_folder(tmp_path):
    inner = "import sys; from tinygrad_ce.common import files; files.alone(sys.argv[1]).__enter__()"
    tried = [sys.executable, "-c", inner, str(tmp_path)]
    with files.alone(tmp_path):
        with (
            pytest.raises(BlockingIOError, match="another program writes to this folder") as caught,
            files.alone(tmp_path),
        ):
            pass
        assert caught.value.filename == str(tmp_path)
        assert "another program writes" in subprocess.run(tried, capture_output=True, text=True).stderr
    assert subprocess.run(tried, check=False).returncode == 0
    with files.alone(tmp_path):
        assert os.listdir(tmp_path) == []


def test_errors_of_a_full_disk_name_the_file():
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        files.write("/dev/full", "x" * 100_000)
    with pytest.raises(OSError, match=r"^without a number$"), files.naming("a.txt"):
        raise OSError("without a number")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cat", "cat"), ("日本語 é 🌸", "日本語 é 🌸"), ("a\u202eb", "a\\u202eb"), ("a\u200b", "a\\u200b"),
        ("\ufeffa", "\\ufeffa"), ("a\xa0b", "a\\xa0b"), ("\u3164", "\\u3164"), ("a\x1b[2J", "a\\x1b[2J"),
        ("a\U000e0041", "a\\U000e0041"), ("a\u2066b\u2069", "a\\u2066b\\u2069"), ("a\nb", "a\\nb"),
    ],
)  # fmt: skip
def test_what_would_not_show_is_escaped(text, shown):
    assert words.visible(text) == shown


def test_no_control_and_no_format_character_is_shown():
    unseen = [
        c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    ]
    assert [c for c in unseen if words.visible(c) == c] == []


@pytest.mark.parametrize("text", ["=1+2", "+cmd|' /C calc'!A0", "-x", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1"])
def test_cells_that_are_no_formulas(text):
    assert words.cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-1", "+1", "-1.5e-3", "-inf", "cat", "", "a=b", "1-2"])
def test_cells_that_stay(text):
    assert words.cell(text) == text


def test_two_forms_of_a_letter_are_one_name():
    assert words.normal("cafe\u0301") == words.normal("caf\xe9") == "caf\xe9"


def test_a_terminal_of_ascii_alone(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii"))
    terminal.say("∂loss/∂x = g · −σ → Größe 日")
    assert raw.getvalue() == b"dloss/dx = g * -sigma -> Gr\\xf6\\xdfe \\u65e5\n"
    assert sys.stdout.errors == "strict"


def test_programs_without_windows(monkeypatch):
    closed = io.StringIO()
    closed.close()
    assert not any(map(terminal.is_terminal, (None, closed, io.StringIO(), object())))
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with contextlib.redirect_stdout(None):
        terminal.say("nobody hears it")


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "1", None, np.float32(2), float("nan")])
def test_what_is_no_whole_number_of_at_least_one(value):
    with pytest.raises(ValueError, match=r"f: n is .*, expected a whole number of at least 1$"):
        options.whole("f", "n", value)


def test_options_within_their_range_are_returned():
    assert options.whole("f", "n", np.int64(3)) == 3
    assert options.finite("f", "x", 0) == 0.0
    assert options.choice("f", "mode", "min", "min", "max") == "min"
    with pytest.raises(ValueError, match=r"f: x is 1, expected a finite number \[0, 1\)"):
        options.finite("f", "x", 1, below=1.0)
    with pytest.raises(ValueError, match="f: mode is 'mid', expected 'min' or 'max'"):
        options.choice("f", "mode", "mid", "min", "max")
