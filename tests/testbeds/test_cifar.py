"""CIFAR is read in both its forms; a pickle that names anything but an array's parts is refused, and nothing in it run."""

import pickle
import tracemalloc

import numpy as np
import pytest

from gradnoise.testbeds.cifar import IMAGE_BYTES
from gradnoise.testbeds.datasets import load_data, load_npz
from gradnoise.testbeds.pickled import read_pickle

NAMES = [f"class {number}" for number in range(10)]
X = np.random.default_rng(0).integers(0, 256, size=(12, IMAGE_BYTES), dtype=np.uint8)
Y = np.arange(12, dtype=np.uint8) % 10
BATCHES = {f"data_batch_{number}": slice(2 * number - 2, 2 * number) for number in range(1, 6)} | {
    "test_batch": slice(10, 12)
}


def write_binary(folder, **replaced):
    files = {name: np.column_stack([Y[rows], X[rows]]).tobytes() for name, rows in BATCHES.items()} | replaced
    for name, content in files.items():
        if content is not None:
            (folder / f"{name}.bin").write_bytes(content)
    (folder / "batches.meta.txt").write_text("\n".join(NAMES).replace(" ", "-") + "\n\n")
    return folder


def write_pickled(folder, protocol=2, **replaced):
    files = {name: {"data": X[rows], "labels": Y[rows].tolist()} for name, rows in BATCHES.items()}
    for name, content in (files | {"batches.meta": {"label_names": NAMES}} | replaced).items():
        if content is not None:
            packed = content if isinstance(content, bytes) else pickle.dumps(content, protocol)
            (folder / name).write_bytes(packed)
    return folder


def refusal(folder, **options):
    with pytest.raises(ValueError) as caught:
        load_data(folder, **options)
    message = str(caught.value)
    assert message.startswith(f"data='{folder}'")
    assert "expected" in message or "Get it again" in message
    assert "\n" not in message
    return message


# What is read


@pytest.mark.parametrize("write", [write_binary, write_pickled])
def test_both_forms_give_the_same_data_as_an_npz_file_of_the_arrays(tmp_path, write):
    np.savez(tmp_path / "same.npz", x_train=X[:10], y_train=Y[:10], x_test=X[10:], y_test=Y[10:])
    (folder := tmp_path / "raw").mkdir()
    found, expected = load_data(write(folder)), load_npz(tmp_path / "same.npz")
    for part in ("pool", "test_pool"):
        for name, leaf in getattr(expected, part).items():
            assert np.array_equal(getattr(found, part)[name], leaf)
    assert found[2:5] == ("classification", IMAGE_BYTES, 10)
    assert found.class_names == tuple(NAMES if write is write_pickled else [name.replace(" ", "-") for name in NAMES])


def test_a_part_of_the_batches_will_do(tmp_path):
    write_binary(tmp_path, data_batch_3=None, data_batch_4=None, data_batch_5=None)
    assert load_data(tmp_path).pool["y"].tolist() == [0, 1, 2, 3]


def test_cifar_100_has_its_fine_labels_in_both_forms(tmp_path):
    fine = np.array([3, 99, 7, 0, 1, 2], np.uint8)
    binary, pickled = tmp_path / "binary", tmp_path / "pickled"
    for folder in (binary, pickled):
        folder.mkdir()
    for name, rows in {"train": slice(0, 4), "test": slice(4, 6)}.items():
        (binary / f"{name}.bin").write_bytes(np.column_stack([fine[rows] // 5, fine[rows], X[:6][rows]]).tobytes())
        coarse, labels = (fine[rows] // 5).tolist(), fine[rows].tolist()
        whole = {"data": X[:6][rows], "fine_labels": labels, "coarse_labels": coarse}
        (pickled / name).write_bytes(pickle.dumps(whole, 2))
    (pickled / "meta").write_bytes(pickle.dumps({"fine_label_names": [str(number) for number in range(100)]}, 2))
    for folder in (binary, pickled):
        data = load_data(folder)
        assert (data.pool["y"].tolist(), data.test_pool["y"].tolist()) == ([3, 99, 7, 0], [1, 2])
        assert data.num_outputs == 100
    assert load_data(pickled).class_names[99] == "99"


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("dtype", ["u1", "<i8", "<f4", "<f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_come_back_as_they_were_pickled(protocol, dtype, order):
    array = np.asarray(np.arange(6).reshape(2, 3), dtype, order=order)
    found = read_pickle(pickle.dumps({"a": array, "b": [1, "two", None]}, protocol))
    assert np.array_equal(found["a"], array)
    assert found["a"].dtype == array.dtype
    assert found["b"] == [1, "two", None]


def test_what_python_2_wrote_is_read_as_bytes():
    """{'data': <array of uint8 [[1, 2]]>} as Python 2 and numpy 1 pickled it, protocol 2."""
    written = (
        b"\x80\x02}q\x01U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85"
        b"U\x01b\x87Rq\x05(K\x01K\x01K\x02\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNN"
        b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x02\x01\x02tbs."
    )
    assert read_pickle(written)[b"data"].tolist() == [[1, 2]]


# What is refused


class Attack:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("name", ["data_batch_1", "data_batch_5", "test_batch", "batches.meta"])
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path, name, inside, protocol):
    (folder := tmp_path / "raw").mkdir()
    witness = tmp_path / "was run"
    attack = Attack(open, str(witness), "w")
    payload = {"data": X[:2], "labels": [0, attack]} if inside else attack
    assert "Nothing in it was run" in refusal(
        write_pickled(folder, protocol=2, **{name: pickle.dumps(payload, protocol)})
    )
    assert not witness.exists()
    pickle.loads(pickle.dumps(attack)).close()
    assert witness.exists()  # the attack is one


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"(S'true'\nios\nsystem\n.",
        b"\x80\x02\x82\x01.",  # an extension code
        b"Pperson\n.",  # a persistent id
        b"\x80\x04\x8c\x05numpy\x8c\x0bfromfile.foo\x93.",
        b"cnumpy\nndarray\n(J\xff\xff\xff\x7ftR.",  # numpy's own constructor would take 2 GB
        b"cnumpy\nndarray\n)\x81}S'x'\nK\x01sb.",  # state that is no array's
        b"c_codecs\nencode\n}S'x'\nK\x01sb.",  # attributes of a function of ours
        b"c_codecs\nencode\n(S'a'\nS'zlib'\ntR.",
        b"\x80\x05\x96\xff\xff\xff\xff\xff\x00\x00\x00.",  # a byte array of a terabyte
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\x00\x00\x00.",  # bytes of a terabyte
        b"\x80\x02Nr\xff\xff\xff\x7f.",  # a memo of 2^31 places
        b"]q\x000" * 10 + b"",
        b"",
        b"\x80\x02}",
        b"not a pickle",
    ],
)
def test_hostile_pickles_are_refused_without_memory(content):
    tracemalloc.start()
    try:
        found = read_pickle(content)
    except pickle.UnpicklingError:
        found = None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found is None
    assert peak < 1e6


@pytest.mark.parametrize(
    "array", [np.array([object()]), np.array(["text"]), np.array([1j]), np.zeros(2, "u1,i4"), np.arange(3, dtype=">i8")]
)
def test_arrays_of_anything_but_numbers_are_refused(array):
    with pytest.raises(pickle.UnpicklingError):
        read_pickle(pickle.dumps(array, 2))


@pytest.mark.parametrize(
    ("replaced", "words"),
    [
        ({"data_batch_2": bytes(3072)}, "data_batch_2.bin has 3072 bytes, expected a multiple of 3073"),
        ({"test_batch": None}, "test_batch.bin is missing"),
        ({"test_batch": b""}, "test_batch.bin has 0 bytes"),
        ({"data_batch_1": b"\x0a" + bytes(3072)}, "y_train holds the label 10, expected 0..9"),
        ({"test_batch": b"\xff" + bytes(3072)}, "y_test holds the label 255, expected 0..9"),
    ],
)
def test_wrong_binary_files_are_told(tmp_path, replaced, words):
    assert words in refusal(write_binary(tmp_path, **replaced))


@pytest.mark.parametrize(
    ("replaced", "words"),
    [
        ({"data_batch_2": {"data": X[:2, :5], "labels": [0, 1]}}, "data_batch_2 holds no images under 'data'"),
        ({"data_batch_2": {"data": X[:2] * 1.0, "labels": [0, 1]}}, "holds no images under 'data'"),
        ({"data_batch_2": {"labels": [0, 1]}}, "holds no images under 'data'"),
        ({"data_batch_2": {"data": X[:2], "labels": [0]}}, "holds no list of 2 labels under 'labels'"),
        ({"data_batch_2": {"data": X[:2], "labels": [0, 1.5]}}, "holds no list of 2 labels"),
        ({"data_batch_2": {"data": X[:2], "labels": [0, 10]}}, "y_train holds the label 10, expected 0..9"),
        ({"data_batch_2": {"data": X[:2], "labels": [0, 10**30]}}, "y_train holds the label -1"),
        ({"data_batch_2": [1, 2]}, "holds a list, expected a dict"),
        ({"data_batch_2": pickle.dumps({"data": X[:2]}, 2)[:-100]}, "it is no whole pickle"),
        ({"test_batch": None}, "test_batch is missing"),
    ],
)
def test_wrong_pickled_files_are_told(tmp_path, replaced, words):
    assert words in refusal(write_pickled(tmp_path, **replaced))


def test_files_larger_than_the_limit_are_not_read(tmp_path):
    assert "data_batch_1.bin has 6146 bytes, expected at most 5000" in refusal(write_binary(tmp_path), max_bytes=5000)
    assert "x_train takes 122880 bytes" in refusal(write_binary(tmp_path), max_bytes=10**5)
