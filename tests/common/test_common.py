"""The one writer of files, and the checks of options."""

import os

import numpy as np
import pytest

from tinygrad_ce.common import files, options


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
