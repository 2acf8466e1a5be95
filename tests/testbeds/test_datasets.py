"""The user's file is read as documented, and a bad or hostile one is refused in one sentence before memory is taken."""

import io
import pickle
import tracemalloc
import zipfile

import jax
import numpy as np
import pytest

from gradnoise import testbeds
from gradnoise.problem import probe_problem
from gradnoise.testbeds import datasets, networks
from gradnoise.testbeds.datasets import load_npz

X, LABELS = np.arange(12.0).reshape(6, 2) ** 2, np.array([0, 1, 2, 0, 1, 2])


@pytest.fixture
def save(tmp_path):
    def write(compressed=False, **arrays):
        path = tmp_path / "data.npz"
        (np.savez_compressed if compressed else np.savez)(path, **arrays)
        return path

    return write


def refusal(path, **options):
    """The one sentence (or two) with which the file is refused."""
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        load_npz(path, **options)
    message = str(caught.value)
    assert message.startswith(f"data='{path}'")
    assert "expected" in message or "Write it again" in message
    assert "\n" not in message
    return message


# What is read


def test_digits_are_1797_images_of_64_pixels_between_0_and_1():
    data = datasets.digits()
    assert data.pool["x"].shape == (1797, 64)
    assert (data.pool["x"].min(), data.pool["x"].max()) == (0, 1)
    assert np.unique(data.pool["y"]).tolist() == list(range(10))


def test_digits_held_out_share_no_example_with_the_pool():
    data, whole = datasets.digits(num_pool=1000, num_test=297), datasets.digits()
    assert np.array_equal(data.pool["x"], whole.pool["x"][:1000])
    assert np.array_equal(data.test_pool["x"], whole.pool["x"][1500:])


def test_whoever_writes_into_the_digits_changes_their_own():
    data = datasets.digits(num_pool=10, num_test=10)
    for part in (data.pool, data.test_pool):
        part["x"] += 1
        part["y"][:] = 0
    fresh = datasets.digits()
    assert fresh.pool["x"].max() == 1
    assert np.unique(fresh.pool["y"][:10]).tolist() == list(range(10))


def test_softmax_regression_on_digits_has_its_largest_eigenvalue_near_one():
    """At zero weights the hessian is (I/10 - 11^T/100) x E[z z^T] with z = (x, 1)."""
    z = np.pad(datasets.digits().pool["x"], ((0, 0), (0, 1)), constant_values=1).astype(float)
    assert np.linalg.eigvalsh(z.T @ z / len(z))[-1] / 10 == pytest.approx(1.14, abs=0.01)


@pytest.mark.parametrize("compressed", [False, True])
def test_labels_make_a_classification_with_standardized_inputs(save, compressed):
    data = load_npz(save(compressed, x=X, y=LABELS))
    assert (data.task, data.num_features, data.num_outputs, data.test_pool) == ("classification", 2, 3, None)
    assert data.pool["x"].mean(0) == pytest.approx([0, 0], abs=1e-15)
    assert data.pool["x"].std(0) == pytest.approx([1, 1])
    assert data.pool["x"].dtype == np.float64
    assert data.pool["y"].tolist() == LABELS.tolist()


def test_targets_make_a_regression(save):
    data = load_npz(save(x=X, y=np.linspace(0, 1, 6)))
    assert (data.task, data.num_outputs, data.pool["y"].shape) == ("regression", 1, (6, 1))
    assert load_npz(save(x=X, y=np.ones((6, 3), np.float32))).num_outputs == 3


def test_held_out_inputs_are_standardized_by_the_training_pool(save):
    path = save(x_train=X, y_train=LABELS, x_test=X[:2] + 1, y_test=LABELS[:2])
    data = load_npz(path)
    assert data.test_pool["x"] == pytest.approx((X[:2] + 1 - X.mean(0)) / X.std(0))
    assert testbeds.problem_from_data(path).setting == "held out"


def test_constant_features_become_zero(save):
    x = np.column_stack([X, np.full(6, 0.1), np.full(6, 1e9)]).astype(np.float32)
    assert np.all(load_npz(save(x=x, y=LABELS)).pool["x"][:, 2:] == 0)


def test_images_of_bytes_are_flattened_to_float32(save):
    data = load_npz(save(x=np.arange(54, dtype=np.uint8).reshape(6, 3, 3), y=LABELS))
    assert (data.pool["x"].shape, data.pool["x"].dtype) == ((6, 9), np.float32)


def test_further_arrays_are_left_alone(save):
    assert load_npz(save(x=X, y=LABELS, names=np.array([object()]))).num_outputs == 3


@pytest.mark.parametrize("model", ["logistic", "mlp"])
@pytest.mark.parametrize("y", [LABELS, np.linspace(0, 1, 6)], ids=["labels", "targets"])
def test_problems_from_data_pass_the_probe(save, model, y):
    options = {"width": 2} if model == "mlp" else {}
    problem = testbeds.problem_from_data(save(x=X, y=y), model, weight_l2=0.1, **options)
    with jax.enable_x64(True):
        probe_problem(problem, problem.init(jax.random.key(0)), problem.pool)


# What is refused


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": X}, "holds 'x', expected x and y, or x_train and y_train and x_test and y_test"),
        ({"inputs": X, "targets": LABELS}, "holds 'inputs', 'targets', expected"),
        ({"x_train": X, "y_train": LABELS}, "expected x and y, or"),
        ({"x": X, "y": LABELS, "x_train": X, "y_train": LABELS, "x_test": X, "y_test": LABELS}, "several sets"),
        ({"x": np.where(X == 4, np.nan, X), "y": LABELS}, "x holds NaN"),
        ({"x": X, "y": np.full(6, np.inf)}, "y holds NaN or infinity"),
        ({"x": X, "y": LABELS[:5]}, "x has 6 examples and y has 5"),
        ({"x": X[:0], "y": LABELS[:0]}, "x is empty"),
        ({"x": X[:, :0], "y": LABELS}, "x is empty"),
        ({"x": X, "y": LABELS[:0]}, "y is empty"),
        ({"x": X.astype(object), "y": LABELS}, "x holds Python objects"),
        ({"x": X, "y": LABELS.astype(object)}, "y holds Python objects"),
        ({"x": X[:, 0], "y": LABELS}, "x has shape"),
        ({"x": np.float64(3), "y": LABELS}, "x has shape"),
        ({"x": X, "y": LABELS[:, None]}, "y has shape"),
        ({"x": X, "y": np.ones((6, 2, 2))}, "y has shape"),
        ({"x": X, "y": LABELS.astype(str)}, "y has dtype <U"),
        ({"x": X, "y": LABELS > 0}, "y has dtype bool"),
        ({"x": X, "y": LABELS * 1j}, "y has dtype complex128"),
        ({"x": X.astype(str), "y": LABELS}, "x has dtype <U"),
        ({"x": X, "y": LABELS - 1}, "y holds the label -1"),
        ({"x": X, "y": LABELS * 10**9}, "y holds the label 2000000000"),
        ({"x": X, "y": LABELS * 0}, "y holds only the label 0"),
        ({"x_train": X, "y_train": LABELS, "x_test": X[:, :1], "y_test": LABELS}, "x_test, y_test hold float64"),
        ({"x_train": X, "y_train": LABELS, "x_test": X, "y_test": LABELS * 1.0}, "x_test, y_test hold float64"),
        (
            {"x_train": X, "y_train": LABELS, "x_test": X, "y_test": LABELS[1:]},
            "x_test has 6 examples and y_test has 5",
        ),
        ({"x_train": X, "y_train": LABELS, "x_test": X * np.nan, "y_test": LABELS}, "x_test holds NaN"),
    ],
)
def test_wrong_arrays_are_told(save, arrays, words):
    assert words in refusal(save(**arrays))


def test_a_missing_file_is_told(tmp_path):
    assert "there is no such file" in refusal(tmp_path / "none.npz")
    assert "there is no such file" in refusal(tmp_path)


def test_a_truncated_file_is_told(save):
    path = save(x=X, y=LABELS)
    path.write_bytes(path.read_bytes()[:-100])
    assert "no whole .npz file" in refusal(path)


@pytest.mark.parametrize("content", [b"", b"x,y\n1,2\n", b"PK\x03\x04" + bytes(100)])
def test_what_is_no_zip_is_told(tmp_path, content):
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    assert "no whole .npz file" in refusal(path)


def test_a_single_array_file_is_told(tmp_path):
    path = tmp_path / "data.npy"
    np.save(path, X)
    assert "no whole .npz file" in refusal(path)


@pytest.mark.parametrize("offset", [60, 140, 200])
def test_a_flipped_byte_is_found(save, offset):
    path = save(x=X, y=LABELS)
    content = bytearray(path.read_bytes())
    content[offset] ^= 0xFF
    path.write_bytes(bytes(content))
    refusal(path)


def header(shape, dtype="<f8"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def archive(path, x_member, compression=zipfile.ZIP_STORED, lie=None):
    """An archive with this x.npy and an honest y.npy; `lie` replaces sizes in the central directory."""
    labels = io.BytesIO()
    np.save(labels, LABELS)
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("x.npy", x_member)
        file.writestr("y.npy", labels.getvalue())
        if lie:
            file.filelist[0].file_size = file.filelist[0].compress_size = lie
    return path


@pytest.mark.parametrize("shape", [(10**7, 1250), (10**30, 10**30), (-1, 2), (3, 2)])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_header_that_claims_too_much_is_refused_before_memory_is_taken(tmp_path, shape, compression):
    path = archive(tmp_path / "data.npz", header(shape) + bytes(8 * 12), compression)
    tracemalloc.start()
    message = refusal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "the header of x claims" in message
    assert peak < 2e6


def test_a_claim_of_100_gigabytes_is_refused_even_if_the_directory_agrees(tmp_path):
    path = archive(tmp_path / "data.npz", header((10**7, 1250)) + bytes(8), lie=10**11 + 128)
    assert "claims 100 GB" in refusal(path)


def test_a_bomb_is_refused_by_its_unpacked_size(tmp_path):
    """One megabyte of zeros packs a thousandfold; the limit counts what it unpacks to."""
    path = archive(tmp_path / "data.npz", header((6, 20_000)) + bytes(8 * 120_000), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 3000
    assert "expected at most 100000 bytes" in refusal(path, max_bytes=100_000)
    assert load_npz(path).num_features == 20_000


def test_the_limit_counts_numbers_as_they_are_kept(save):
    assert "takes 240 bytes as float32" in refusal(
        save(x=np.ones((30, 2), np.uint8), y=np.arange(2).repeat(15).astype(np.uint8)), max_bytes=100
    )


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unbounded_packings_are_refused(tmp_path, compression):
    path = archive(tmp_path / "data.npz", header((6, 2)) + bytes(96), compression)
    assert "packed in an unusual way" in refusal(path)


def test_code_in_a_file_is_not_run(tmp_path):
    witness = tmp_path / "was run"

    class Payload:
        def __reduce__(self):
            return (open, (str(witness), "w"))

    body = pickle.dumps(np.array([Payload()], dtype=object))
    assert "holds Python objects" in refusal(archive(tmp_path / "data.npz", header((1,), "|O") + body))
    refusal(archive(tmp_path / "data.npz", body))
    assert not witness.exists()


def test_an_unknown_model_or_option_is_told(save):
    path = save(x=X, y=LABELS)
    with pytest.raises(ValueError, match="model='mpl' is unknown"):
        testbeds.problem_from_data(path, "mpl")
    with pytest.raises(ValueError, match="'width' is unknown"):
        testbeds.problem_from_data(path, "logistic", width=3)
    assert set(testbeds.catalogue.MODELS) == {
        "logistic",
        "mlp",
        "conv",
        "normalized-mlp",
        "normalized-conv",
        "resnet",
        "preresnet",
        "vgg",
    }
    assert testbeds.catalogue.MODELS["mlp"] is networks.mlp
