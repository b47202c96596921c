"""Numbers read from bytes are those of float, bit for bit; what may be another one is left to float."""

import random
import struct

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce.data.decimals import Block, NotPlain

EDGES = (
    "0", "-0", "-0.0", ".5", "-.5", "5.", "00", "000.10", "007", "9007199254740993", "9007199254740992.5",
    "9223372036854775808", "9999999999999999999", "0.30000000000000004", "0.1234567890123456789", "1152921504606847105",
)  # fmt: skip
OTHERS = (
    "", "-", ".", "-.", "+5", "1e5", "1-2", "--5", "1.2.3", " 7", "7 ", "1_0", "x", "nan", "inf", "0x1", "٣",
    "99999999999999999999", "0.12345678901234567890", ".-5", "5-", "1,5".replace(",", ";"), "-5.-",
)  # fmt: skip


def bits(value):
    return struct.pack("d", float(value))


def written(rng):
    kind = rng.randrange(7)
    if kind == 0:
        return repr(rng.gauss(0, 1))
    if kind == 1:
        return f"{rng.gauss(0, 10 ** rng.randrange(-4, 6)):.6f}"
    if kind == 2:
        return str(rng.randrange(-(10 ** rng.randrange(1, 20)), 10 ** rng.randrange(1, 20)))
    if kind == 3:
        return f"{rng.uniform(-1000, 1000):.{rng.randrange(16)}f}"
    if kind == 4:  # halfway between two float64
        return str(2 * (rng.getrandbits(53) | 1 << 52) + 1)
    if kind == 5:  # next to halfway, in what extended precision doesn't see
        return f"{2 * (rng.getrandbits(52) | 1 << 51) + 1}{rng.choice(['', '.5', '.001', '.999'])}"
    return rng.choice(EDGES)


@pytest.mark.parametrize("point", [".", ","])
def test_each_number_is_that_of_float(point):
    rng = random.Random(0)
    rows = [[written(rng) for _ in range(7)] for _ in range(4000)]
    content = "".join(";".join(row).replace(".", point) + "\n" for row in rows)
    block = Block(content.encode(), ";", point, 7)
    left = 0
    for i in range(7):
        odd = set(block.odd(i).tolist())
        left += len(odd)
        for k, row in enumerate(rows):
            assert k in odd or bits(block.values[i, k]) == bits(row[i]), row[i]
    assert left < 0.3 * 28_000  # ties, and numbers of more digits than a word holds


def test_what_is_no_plain_number_is_left_to_float():
    block = Block("".join(f"1,{cell},2\n" for cell in OTHERS).encode(), ",", ".", 3)
    assert block.odd(1).tolist() == list(range(len(OTHERS)))
    assert not len(block.odd(0))
    assert (block.values[::2].T == [1, 2]).all()
    assert [cell.decode() for cell in block.cells(1)] == list(OTHERS)


@pytest.mark.parametrize("content", [b"1,2\n3\n", b"1,2\n3,4,5\n", b"1,2,3\n4\n", b"1,2\n\n3,4\n", b"1\n2,3\n4\n"])
def test_ragged_lines_are_no_block(content):
    with pytest.raises(NotPlain):
        Block(content, ",", ".", 2)


def test_a_table_is_read_alike_by_bytes_and_by_the_csv_module(tmp_path):
    rng = np.random.default_rng(0)
    lines = [f"{a!r},{b},{'é' * (b % 4)}x{b % 5},{'abcdefghijk'[: b % 11 + 1]}" for a, b in
             zip(rng.standard_normal(30_000).tolist(), rng.integers(-9, 99, 30_000).tolist(), strict=True)]  # fmt: skip
    plain, quoted, mixed = (tmp_path / f"{name}.csv" for name in ("plain", "quoted", "mixed"))
    plain.write_text("\n".join(["a,b,c,kind", *lines]) + "\n", encoding="utf-8")
    quoted.write_text("\r".join(['"a",b,c,"kind"', *lines]) + "\r", encoding="utf-8")
    lines[20_000] = '"' + lines[20_000].replace(",", '","') + '"'
    mixed.write_text("\r\n".join(["a,b,c,kind", *lines]), encoding="utf-8")
    tables = [tg.data.load_table(path, "kind") for path in (plain, quoted, mixed)]
    assert str(tables[0].plan) == str(tables[1].plan) == str(tables[2].plan)
    for other in tables[1:]:
        assert other.classes == tables[0].classes
        assert np.array_equal(other.x, tables[0].x)
        assert np.array_equal(other.y, tables[0].y)


def test_an_error_far_down_names_its_line(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text("a,b,kind\n" + "1.5,2,x\n2.5,3,y\n" * 40_000 + "1,2\n")
    with pytest.raises(tg.data.DataError, match="line 80002: 2 columns, expected 3"):
        tg.data.load_table(path)
    with pytest.raises(tg.data.DataError, match="line 80002: 2 columns, expected 3"):
        tg.data.load_csv(path)
