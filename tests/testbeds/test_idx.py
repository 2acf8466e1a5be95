"""IDX folders are read as published, packed or not; damaged, lying and mislabelled ones are refused in one sentence."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest

import gradnoise as gn
from gradnoise.testbeds.data import MAX_BYTES
from gradnoise.testbeds.datasets import load_data, load_npz
from gradnoise.testbeds.idx import DTYPES, read_idx

IMAGES = (np.arange(6 * 4 * 4) ** 2 % 251).reshape(6, 4, 4).astype(np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2], np.uint8)


def idx(array, code=0x08, shape=None):
    shape = array.shape if shape is None else shape
    return struct.pack(f">HBB{len(shape)}I", 0, code, len(shape), *shape) + array.astype(DTYPES[code]).tobytes()


def write(folder, pack=False, dot="-", **replaced):
    """A whole folder; `replaced` gives other bytes, or None for no file, under train_images, t10k_labels and so on."""
    files = {
        "train_images": idx(IMAGES),
        "train_labels": idx(LABELS),
        "t10k_images": idx(IMAGES[:3]),
        "t10k_labels": idx(LABELS[:3]),
    }
    for name, content in (files | replaced).items():
        stem = name.replace("_", "-") + dot + ("idx3" if "images" in name else "idx1") + "-ubyte"
        if content is not None:
            (folder / (stem + ".gz" * pack)).write_bytes(gzip.compress(content) if pack else content)
    return folder


def refusal(folder, **options):
    with pytest.raises(ValueError) as caught:
        load_data(folder, **options)
    message = str(caught.value)
    assert message.startswith(f"data='{folder}'")
    assert "expected" in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("dot", ["-", "."])
def test_a_folder_gives_the_same_data_as_an_npz_file_of_its_arrays(tmp_path, pack, dot):
    np.savez(tmp_path / "same.npz", x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:3], y_test=LABELS[:3])
    (folder := tmp_path / "raw").mkdir()
    found, expected = load_data(write(folder, pack, dot)), load_npz(tmp_path / "same.npz")
    for part in ("pool", "test_pool"):
        for name, leaf in getattr(expected, part).items():
            assert np.array_equal(getattr(found, part)[name], leaf)
            assert getattr(found, part)[name].dtype == leaf.dtype
    assert found[2:] == expected[2:] == ("classification", 16, 3, None)


def test_without_test_files_there_is_no_test_pool(tmp_path):
    assert load_data(write(tmp_path, t10k_images=None, t10k_labels=None)).test_pool is None


def test_the_plain_file_goes_before_the_packed_one(tmp_path):
    write(tmp_path)
    write(tmp_path, pack=True, train_labels=b"nothing")
    assert load_data(tmp_path).num_outputs == 3


def test_the_plain_file_goes_before_the_packed_one_though_one_name_has_a_dot(tmp_path):
    write(tmp_path, dot=".")
    write(tmp_path, pack=True, train_labels=b"nothing")
    assert load_data(tmp_path).num_outputs == 3


@pytest.mark.parametrize("code", DTYPES)
def test_every_type_of_number_is_read(tmp_path, code):
    numbers = np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 100.0]])
    (path := tmp_path / "numbers-idx2").write_bytes(idx(numbers, code))
    found = read_idx(str(path), MAX_BYTES)
    assert np.array_equal(found, numbers)
    assert found.dtype.isnative


def test_a_problem_is_made_from_the_folder(tmp_path):
    problem = gn.testbeds.problem_from_data(write(tmp_path, pack=True), "logistic")
    assert (problem.setting, problem.num_pool) == ("held out", 6)


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize(
    ("replaced", "words"),
    [
        ({"train_labels": None}, "lacks the train labels, expected train-labels-idx1-ubyte"),
        ({"train_images": None}, "lacks the train images"),
        ({"t10k_labels": None}, "lacks the test labels, expected t10k-labels-idx1-ubyte"),
        ({"train_images": idx(IMAGES)[:-5]}, "train-images-idx3-ubyte"),
        ({"train_images": idx(IMAGES) + b"!"}, "too long"),
        ({"train_images": idx(IMAGES)[:10]}, "cut short in its header"),
        ({"train_images": b""}, "begins with nothing"),
        ({"train_images": b"\x89PNG" + bytes(30)}, "begins with 89 50 4e 47, expected 00 00 08 03"),
        ({"train_images": idx(IMAGES, shape=(2**31, 2**31, 2**31))}, "claims"),
        ({"train_labels": idx(LABELS[:5])}, "x_train has 6 examples and y_train has 5"),
        ({"train_labels": idx(np.zeros(6))}, "holds only the label 0"),
        ({"t10k_labels": idx(np.array([0, 1, 7]))}, "y_test holds the label 7, expected 0..2"),
        ({"t10k_images": idx(IMAGES[:3, :3])}, "x_test, y_test hold"),
        ({"train_images": idx(IMAGES[:0])}, "is empty"),
        ({"train_labels": idx(LABELS - 1.0, 0x09)}, "holds the label -1"),
        ({"train_images": idx(np.full((6, 4), np.nan), 0x0D)}, "holds NaN"),
        ({"train_labels": idx(np.stack([LABELS, LABELS], 1))}, "y_train has shape"),
    ],
)
def test_what_is_wrong_is_told(tmp_path, pack, replaced, words):
    assert words in refusal(write(tmp_path, pack, **replaced))


def test_a_damaged_or_half_packed_file_is_told(tmp_path):
    write(tmp_path, pack=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    for content in (whole[:-12], whole[:-8] + bytes(8), b"no gzip at all, but some text"):
        path.write_bytes(content)
        assert "packed with gzip. Get it again" in refusal(tmp_path)


def test_a_bomb_takes_no_memory(tmp_path):
    """100 MB of zeros in 100 kB: refused by the header's claim, or read no further than what the header claims."""
    zeros = bytes(10**8)
    write(tmp_path, pack=True, train_images=idx(IMAGES, shape=(10**8, 1, 1))[:16] + zeros)
    tracemalloc.start()
    assert "claims 100000000 bytes" in refusal(tmp_path, max_bytes=10**6)
    write(tmp_path, pack=True, train_images=idx(IMAGES, shape=(6, 4, 4))[:16] + zeros[: 10**7])
    assert "too long" in refusal(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3e7  # what the test itself packs


@pytest.mark.parametrize("names", [[], ["cat.jpg"], ["train-images-idx3-ubyte", "train.bin"]])
def test_a_folder_of_nothing_known_or_of_two_kinds_is_told(tmp_path, names):
    for name in names:
        (tmp_path / name).write_bytes(b"")
    message = refusal(tmp_path)
    assert ("several kinds" if len(names) == 2 else repr(names[0]) if names else "no files") in message
    assert "IDX files as of MNIST" in message


def test_nothing_at_the_path_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        load_data(tmp_path / "nowhere")
