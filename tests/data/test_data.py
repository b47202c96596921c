"""Data sets, readers, splitting, batches."""

import gzip
import re
import struct

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import data


def test_digits_and_iris_are_the_known_ones():
    digits, iris = data.load_digits(), data.load_iris()
    assert digits.x.shape == (1797, 64)
    assert (digits.x.min(), digits.x.max()) == (0, 1)
    assert np.bincount(digits.y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert iris.x.shape == (150, 4)
    assert np.bincount(iris.y).tolist() == [50, 50, 50]
    np.testing.assert_allclose(iris.x.mean(axis=0), [5.843333, 3.057333, 3.758, 1.199333], rtol=1e-6)
    np.testing.assert_allclose(iris.x[[34, 37]], [[4.9, 3.1, 1.5, 0.2], [4.9, 3.6, 1.4, 0.1]], rtol=1e-6)


@pytest.mark.parametrize(
    "make", [data.load_digits, data.load_iris, data.make_blobs, data.make_moons, data.make_spirals]
)
def test_every_set_is_float32_rows_integer_labels_and_names(make):
    x, y, classes = make()
    assert (x.dtype, y.dtype, x.ndim, y.shape) == (np.float32, np.int64, 2, x.shape[:1])
    assert len(classes) == y.max() + 1
    assert np.isfinite(x).all()
    assert make().x.tobytes() == x.tobytes()


def test_seeds_change_the_toy_sets():
    for make in (data.make_blobs, data.make_moons, data.make_spirals):
        assert make(seed=1).x.tobytes() != make(seed=2).x.tobytes()
    with pytest.raises(ValueError, match="n is 1"):
        data.make_blobs(1)


def test_split_is_stratified_fixed_and_loses_nothing():
    digits = data.load_digits()
    train, test = data.split(digits, 0.2)
    assert len(train.y) + len(test.y) == 1797
    assert np.abs(np.bincount(test.y) - 0.2 * np.bincount(digits.y)).max() <= 0.5
    assert data.split(digits, 0.2)[1].x.tobytes() == test.x.tobytes()
    assert data.split(digits, 0.2, seed=1)[1].x.tobytes() != test.x.tobytes()
    for fraction in (0, 1.0, -0.1):
        with pytest.raises(ValueError, match="fraction is"):
            data.split(digits, fraction)
    with pytest.raises(ValueError, match="leaves one side empty"):
        data.split((np.ones((2, 1)), [0, 1]), 0.1)


def test_batches_show_each_row_once_in_a_seeded_order():
    x, y = np.arange(10.0)[:, None], np.arange(10)
    seen = [labels for _, labels in data.batches((x, y), 4, seed=3, epoch=1)]
    assert [len(b) for b in seen] == [4, 4, 2]
    assert sorted(np.concatenate(seen)) == list(range(10))
    again = [labels for _, labels in data.batches((x, y), 4, seed=3, epoch=1)]
    np.testing.assert_array_equal(np.concatenate(again), np.concatenate(seen))
    other = [labels for _, labels in data.batches((x, y), 4, seed=3, epoch=2)]
    assert np.concatenate(other).tolist() != np.concatenate(seen).tolist()
    assert next(data.batches((x, y), 4, shuffle=False))[1].tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="batch_size is 0"):
        next(data.batches((x, y), 0))


# Files


def idx(array, kind):
    head = struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize(("dtype", "kind"), [("u1", 8), ("i1", 9), ("i2", 11), ("i4", 12), ("f4", 13), ("f8", 14)])
@pytest.mark.parametrize("zipped", [False, True])
def test_idx_of_every_type_gzipped_or_not(tmp_path, dtype, kind, zipped):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    content = idx(array, kind)
    path = tmp_path / "a.idx"
    path.write_bytes(gzip.compress(content) if zipped else content)
    found = data.read_idx(path)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_a_pair_of_idx_files_is_a_data_set(tmp_path):
    (tmp_path / "x").write_bytes(idx(np.full((3, 2, 2), 255, "u1"), 8))
    (tmp_path / "y").write_bytes(idx(np.array([0, 2, 1], "u1"), 8))
    found = data.load_file([str(tmp_path / "x"), str(tmp_path / "y")])
    assert found.x.tolist() == [[1, 1, 1, 1]] * 3
    assert found.classes == ("0", "1", "2")
    with pytest.raises(data.DataError, match="expected a label for each of the 3 rows"):
        data.load_idx(tmp_path / "x", tmp_path / "x")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "offset 0: the file ends 4 bytes short of the magic number"),
        (b"PK\3\4", "offset 0: 50 4b 03 04, expected an IDX file"),
        (b"\0\0\x08\0", "offset 3: 0 dimensions"),
        (b"\0\0\x08\2\0\0", "offset 4: the file ends 6 bytes short of 2 sizes"),
        (b"\0\0\x08\1\0\0\0\5abc", "offset 8: the file ends 2 bytes short of 5 bytes"),
        (b"\0\0\x08\1\xff\xff\xff\xffabc", "offset 8: the file ends 4,294,967,292 bytes short"),
        (b"\0\0\x08\1\0\0\0\1abc", "offset 9: more bytes, expected the end"),
        (b"\x1f\x8b\x08\0\0\0", "damaged gzip data"),
        (gzip.compress(b"\0\0\x08\1\0\0\0\5abcde", mtime=0)[:-12], "damaged gzip data|bytes short"),
    ],
)
def test_damaged_idx_files(tmp_path, content, message):
    path = tmp_path / "bad.idx"
    path.write_bytes(content)
    with pytest.raises(data.DataError, match=message) as caught:
        data.read_idx(path)
    assert "bad.idx" in str(caught.value)


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_csv_with_and_without_names(tmp_path):
    named = write(tmp_path, "a.csv", "width,kind,height\n1,cat,2.5\n3,dog,4\n5,cat,6\n")
    found = data.load_csv(named, "kind")
    assert found.x.tolist() == [[1, 2.5], [3, 4], [5, 6]]
    assert (found.y.tolist(), found.classes) == ([0, 1, 0], ("cat", "dog"))
    bare = write(tmp_path, "b.csv", "10,1.5\n2,2.5\n\n10,0\n")
    found = data.load_csv(bare, 0)
    assert (found.y.tolist(), found.classes) == ([1, 0, 1], ("2", "10"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("a,b\n", "no rows"),
        ("1\n2\n", "1 column, expected features and a label"),
        ("1,2,x\n1,oops,x\n", "line 2, column 1: 'oops', expected a finite number"),
        ("w,h,kind\n1,nan,x\n", "line 2, column h: 'nan'"),
        ("1,2,x\n1,x\n", "line 2: 2 columns, expected 3"),
        ("1,2\n\0\n", "line 2|no text table"),
    ],
)
def test_damaged_csv_files(tmp_path, text, message):
    with pytest.raises(data.DataError, match=message):
        data.load_csv(write(tmp_path, "bad.csv", text))


def test_a_csv_column_that_is_not_there(tmp_path):
    with pytest.raises(data.DataError, match="no column 'kind'; the columns are a, b"):
        data.load_csv(write(tmp_path, "c.csv", "a,b\n1,2\n"), "kind")


WEIGHT = '"weight, g",x,kind\n1,2,a\n'
MISSING = "a missing value: fill it in, or leave the row out"
CODING = "the file isn't UTF-8: save it as UTF-8"


@pytest.mark.parametrize(
    ("text", "label", "message"),
    [
        (f"{WEIGHT},2,b\n", -1, f"line 3, column 'weight, g': '', expected a finite number ({MISSING})"),
        *((f"{WEIGHT}{cell},2,b\n", -1, f"number ({MISSING})") for cell in ("NA", "nan", "null", "?", " ")),
        (f"{WEIGHT}b,2,b\n", -1, "column 'weight, g': 'b', expected a finite number (is it the label?)"),
        (WEIGHT, "label", "no column 'label'; the columns are 'weight, g', x, kind"),
        (",x\nb,a\n", -1, "column '': 'b'"),
        ("1,2\nRöd,a\n", -1, f"'R\\udcf6d', expected a finite number ({CODING})"),
        ("1,a\n1,Röd\n", -1, f"without control characters ({CODING})"),
        ("Röd,b\n1,a\n", "Röd", f"the columns are 'R\\udcf6d', b ({CODING})"),
        ("a;b;c\n1,5;2;x\n", -1, "1 column, expected several, separated by commas; separated by ';'? Save it with"),
        ("a\tb\n1\t2\n", -1, "separated by commas; separated by tabs? Save it with commas"),
    ],
)
def test_a_table_with_a_fault_names_its_likely_cause(tmp_path, text, label, message):
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(data.DataError, match=re.escape(message)):
        data.load_csv(path, label)


def test_npy_to_predict_is_read_and_what_is_wrong_with_it(tmp_path):
    path = tmp_path / "x.npy"
    x = np.arange(24).reshape(2, 3, 4)
    for array in (x, x.astype(">f8"), np.asfortranarray(x), x.astype("u1")):
        np.save(path, array)
        found = data.load_features(path, 12)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, x.reshape(2, 12))
    for array, message in [
        (np.ones((2, 13)), "rows of 13 columns, but the model takes 12 features"),
        (np.ones(12), r"x has shape \(12,\)"),
        (np.array([["a"] * 12]), "dtype <U1, expected numbers"),
        (np.full((1, 12), np.inf), "row 0 has a feature that is inf"),
        (np.array([[{}] * 12]), r"no \.npy file of a plain array: .*descr '\|O'"),
    ]:
        np.save(path, array)
        with pytest.raises(data.DataError, match=message):
            data.load_features(path, 12)
    path.write_bytes(b"1,2,3\n")
    with pytest.raises(data.DataError, match=r"no \.npy file of a plain array: offset 0"):
        data.load_features(path, 12)


def test_npz_in_and_what_is_wrong_with_it(tmp_path):
    path = tmp_path / "d.npz"
    np.savez(path, x=np.ones((3, 2, 2)), y=[0, 1, 1], classes=["no", "yes"])
    found = data.load_file([str(path)])
    assert (found.x.shape, found.classes) == ((3, 4), ("no", "yes"))
    for arrays, message in [
        ({"x": np.ones((3, 2))}, "no array 'y'; it holds x"),
        ({"x": np.ones((3, 2)), "y": [0, 1]}, r"y has shape \(2,\), expected \(3,\)"),
        ({"x": np.ones((3, 2)), "y": [0, 1, -1]}, r"y\[2\] is -1"),
        ({"x": np.array([["a"]]), "y": [0]}, "x has shape"),
        ({"x": np.full((1, 2), np.nan), "y": [0]}, "row 0 has a feature that is nan"),
        ({"x": np.ones((1, 2)), "y": np.array([0.5])}, "labels have dtype float64"),
        ({"x": np.ones((1, 2)), "y": np.array([10**9])}, "are these class labels"),
    ]:
        np.savez(path, **arrays)
        with pytest.raises(data.DataError, match=message):
            data.load_npz(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(data.DataError, match=r"no \.npz file of plain arrays"):
        data.load_npz(path)


def test_pickles_are_never_opened(tmp_path):
    path = tmp_path / "evil.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object), y=[0])
    with pytest.raises(data.DataError, match="plain arrays"):
        data.load_npz(path)
    with pytest.raises(tg.CheckpointError):
        tg.train.checkpoint.load(path)


def test_unknown_files_say_what_is_expected(tmp_path):
    with pytest.raises(data.DataError, match=r"expected a .csv file, a .npz file, or two IDX files"):
        data.load_file(["x.parquet"])
