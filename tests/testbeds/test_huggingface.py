"""Folders of `save_to_disk` are read without `datasets`; packed, incomplete and lying ones are refused in one sentence.

Every test but the first needs pyarrow (the extra gradnoise[huggingface]), those on encoded images Pillow too.
"""

import io
import json
import sys

import numpy as np
import pytest

from gradnoise.cli.expected import WrongUse
from gradnoise.cli.problems import Source
from gradnoise.testbeds.datasets import load_data

IMAGES = np.random.default_rng(0).integers(0, 256, size=(9, 5, 4, 3), dtype=np.uint8)
LABELS = np.arange(9) % 3


@pytest.fixture
def arrow():
    return pytest.importorskip("pyarrow", reason="reading Hugging Face folders needs pyarrow")


@pytest.fixture
def save(arrow, tmp_path):
    def write(columns, folder=tmp_path, names=None, num_files=1, state=None, **options):
        """A folder like that of Dataset.save_to_disk: `columns` are {name: pyarrow array}."""
        folder.mkdir(exist_ok=True)
        table = arrow.table(columns)
        cuts = np.linspace(0, len(table), num_files + 1).astype(int)
        files = [f"data-{number:05d}-of-{num_files:05d}.arrow" for number in range(num_files)]
        for name, start, stop in zip(files, cuts, cuts[1:], strict=False):
            with arrow.ipc.new_stream(folder / name, table.schema, **options) as stream:
                stream.write_table(table.slice(start, stop - start), max_chunksize=4)
        listed = {"_data_files": [{"filename": name} for name in files], "_indices_data_files": None}
        (folder / "state.json").write_text(json.dumps(listed | (state or {})))
        feature = {"names": names, "_type": "ClassLabel"} if names else {"dtype": "int64", "_type": "Value"}
        (folder / "dataset_info.json").write_text(json.dumps({"features": {"label": feature, "y": feature}}))
        return folder

    return write


def encoded(images, form="PNG", mode=None):
    pillow = pytest.importorskip("PIL.Image", reason="decoding images needs Pillow")
    files = []
    for image in images:
        stream = io.BytesIO()
        pillow.fromarray(image).convert(mode or ("L" if image.ndim == 2 else "RGB")).save(stream, form)
        files.append(stream.getvalue())
    return files


def refusal(folder, **options):
    with pytest.raises(ValueError) as caught:
        load_data(folder, **options)
    message = str(caught.value)
    assert message.startswith(f"data='{folder}'")
    assert message.count(". ") >= 1 or "expected" in message
    assert "\n" not in message
    return message


def test_without_pyarrow_one_sentence_says_how_to_get_it(tmp_path, monkeypatch):
    (tmp_path / "state.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs pyarrow.* Install gradnoise\[huggingface\]"):
        load_data(tmp_path)
    with pytest.raises(WrongUse, match=r"^--data='.*Install gradnoise\[huggingface\]"):
        Source(problem=None, data=str(tmp_path), model=None, hidden=None).load()


# What is read


@pytest.mark.parametrize("num_files", [1, 3])
@pytest.mark.parametrize("kind", ["lists", "large lists", "fixed lists", "rows"])
def test_numbers_in_lists_are_read(arrow, save, kind, num_files):
    x = IMAGES.reshape(9, -1) if kind == "rows" else IMAGES[..., 0]
    item = arrow.uint8()
    for side in reversed(x.shape[1:]):
        item = {"fixed lists": arrow.list_(item, side), "large lists": arrow.large_list(item)}.get(
            kind, arrow.list_(item)
        )
    data = load_data(save({"x": arrow.array(x.tolist(), item), "y": arrow.array(LABELS)}, num_files=num_files))
    flat = x.reshape(9, -1).astype(np.float64)
    np.testing.assert_allclose(data.pool["x"], (flat - flat.mean(0)) / flat.std(0), rtol=1e-5, atol=1e-6)
    assert data.pool["y"].tolist() == LABELS.tolist()
    assert (data.task, data.test_pool, data.class_names) == ("classification", None, None)


def test_floating_targets_make_a_regression(arrow, save):
    x, y = arrow.array(IMAGES.reshape(9, -1).tolist()), arrow.array(np.linspace(0, 1, 18).reshape(9, 2).tolist())
    assert load_data(save({"features": x, "target": y}))[2:5] == ("regression", 60, 2)


@pytest.mark.parametrize("form", ["PNG", "BMP"])
@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("grey", [True, False])
def test_encoded_images_are_those_numbers_channels_first(arrow, save, tmp_path, form, wrapped, grey):
    images = IMAGES[..., 0] if grey else IMAGES
    files = encoded(images, form)
    column = arrow.array([{"bytes": file, "path": None} for file in files] if wrapped else files)
    names = ["cat", "dog", "emu"]
    data = load_data(save({"image": column, "label": arrow.array(LABELS)}, names=names))
    np.savez(tmp_path / "same.npz", x=images if grey else np.moveaxis(images, -1, 1), y=LABELS)
    assert np.array_equal(data.pool["x"], load_data(tmp_path / "same.npz").pool["x"])
    assert data.class_names == tuple(names)


def test_a_grey_image_among_colour_ones_becomes_colour(arrow, save):
    files = encoded(IMAGES[:5]) + encoded(IMAGES[5:, ..., 0])
    assert load_data(save({"img": arrow.array(files), "fine_label": arrow.array(LABELS)})).num_features == 60


@pytest.mark.parametrize("test", ["test", "validation"])
def test_a_dict_of_splits_gives_a_test_pool(arrow, save, tmp_path, test):
    columns = {"x": arrow.array(IMAGES.reshape(9, -1).tolist()), "label": arrow.array(LABELS)}
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "extra", test]}))
    save(columns, tmp_path / "train", names=["a", "b", "c", "d"])
    save({name: column[:4] for name, column in columns.items()}, tmp_path / test)
    data = load_data(tmp_path)
    assert (len(data.pool["y"]), len(data.test_pool["y"]), data.num_outputs) == (9, 4, 4)
    assert np.array_equal(data.test_pool["x"], data.pool["x"][:4])


# What is refused


def columns_of(arrow, **replaced):
    return {"x": arrow.array(IMAGES.reshape(9, -1).tolist()), "label": arrow.array(LABELS)} | replaced


@pytest.mark.parametrize(
    ("replaced", "words"),
    [
        (lambda a: {"label": a.array([*LABELS[:8], None])}, "column 'label' holds 1 missing values"),
        (lambda a: {"x": a.array([[1, 2], [None, 1]] + [[1, 2]] * 7)}, "column 'x' holds 1 missing values"),
        (lambda a: {"x": a.array([[1, 2], None] + [[1, 2]] * 7)}, "column 'x' holds 1 missing values"),
        (lambda a: {"x": a.array([[1, 2]] * 8 + [[1]])}, "column 'x' holds lists of different lengths"),
        (lambda a: {"x": a.array([[1, 2]] * 4 + [[1]] * 5)}, "column 'x' holds lists of different lengths"),
        (lambda a: {"x": a.array([["a"]] * 9)}, "column 'x' holds string, expected numbers"),
        (lambda a: {"x": a.array([{"path": "a.png"}] * 9)}, "expected images with their bytes"),
        (lambda a: {"x": a.array([[np.nan]] * 9)}, "x holds NaN"),
        (lambda a: {"x": a.array(np.arange(9))}, "x has shape (9,)"),
        (lambda a: {"label": a.array(LABELS - 1)}, "y holds the label -1"),
        (lambda a: {"label": a.array(LABELS + 1)}, "y holds the label 3, expected 0..2"),
        (lambda a: {"y": a.array(LABELS)}, "expected exactly one of 'label'"),
        (lambda a: {"x": a.array(LABELS).dictionary_encode()}, "holds dictionaries"),
    ],
)
def test_wrong_columns_are_told(arrow, save, replaced, words):
    folder = save(columns_of(arrow, **replaced(arrow)), names=["a", "b", "c"])
    assert words in refusal(folder)


def test_image_files_that_are_only_named_are_not_opened(arrow, save):
    kind = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    column = arrow.array([{"path": "/etc/passwd", "bytes": None}] * 9, kind)
    assert "names image files instead of holding their bytes" in refusal(save(columns_of(arrow, x=column)))


def test_missing_images_are_told_though_bytes_stand_in_their_place(arrow, save):
    files = encoded(IMAGES)
    parts = [arrow.array(files), arrow.array([None] * 9, arrow.string())]
    hidden = arrow.StructArray.from_arrays(parts, names=["bytes", "path"], mask=arrow.array([False] * 8 + [True]))
    for column in (hidden, arrow.array([*files[:8], None])):
        assert "column 'x' holds 1 missing values" in refusal(save(columns_of(arrow, x=column)))


@pytest.mark.parametrize("turned", [False, True])
def test_files_whose_columns_differ_in_type_are_told(arrow, save, tmp_path, turned):
    files = encoded(IMAGES)
    wrapped = arrow.array([{"bytes": file, "path": None} for file in files])
    columns = [wrapped, arrow.array(files)]
    for name, column in zip(("one", "two"), columns[::-1] if turned else columns, strict=True):
        save(columns_of(arrow, x=column), tmp_path / name)
        (tmp_path / name / "data-00000-of-00001.arrow").rename(tmp_path / f"{name}.arrow")
    listed = {"_data_files": [{"filename": "one.arrow"}, {"filename": "two.arrow"}]}
    (tmp_path / "state.json").write_text(json.dumps(listed))
    message = refusal(tmp_path)
    assert "struct<bytes: binary, path: null>" in message
    assert "expected one type" in message


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"_data_files": [{"filename": "../other.arrow"}]}, "state.json names no files of this folder"),
        ({"_data_files": [{"filename": "/etc/passwd"}]}, "state.json names no files of this folder"),
        ({"_data_files": []}, "state.json names no files of this folder"),
        ({"_data_files": [{"filename": "gone.arrow"}]}, "gone.arrow is missing"),
        ({"_indices_data_files": [{"filename": "indices.arrow"}]}, "Call flatten_indices()"),
    ],
)
def test_a_state_that_leads_elsewhere_is_told(arrow, save, state, words):
    assert words in refusal(save(columns_of(arrow), state=state))


@pytest.mark.parametrize("packing", ["lz4", "zstd"])
def test_packed_streams_are_refused_before_they_are_unpacked(arrow, save, packing):
    options = arrow.ipc.IpcWriteOptions(compression=packing)
    assert "is packed, expected what save_to_disk writes" in refusal(save(columns_of(arrow), options=options))


def test_a_cut_or_damaged_stream_is_told(arrow, save):
    folder = save(columns_of(arrow))
    path = folder / "data-00000-of-00001.arrow"
    whole = path.read_bytes()
    for content in (b"", b"no arrow at all", whole[:100], whole[: len(whole) // 2], whole[:-8], bytes(len(whole))):
        path.write_bytes(content)
        assert "no whole Arrow stream" in refusal(folder)


@pytest.mark.parametrize("content", ["", "{", "[" * 10**5, "[1]"])
def test_damaged_json_is_told(arrow, save, content):
    folder = save(columns_of(arrow))
    (folder / "state.json").write_text(content)
    refusal(folder)


def test_splits_without_train_are_told(arrow, tmp_path):
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["all"]}))
    assert "holds the splits ['all'], expected 'train' among them" in refusal(tmp_path)


def test_wrong_images_are_told(arrow, save):
    good, deep = encoded(IMAGES), encoded(IMAGES[..., 0].astype(np.uint16), "TIFF", "I;16")
    grey, large = encoded(IMAGES[..., 0]), encoded(np.zeros((7, 4, 3), np.uint8)[None])
    wrong = {
        "no image of a known form": [b"text", *good[1:]],
        "damaged image": [*good[:8], good[8][:-40]],
        "image 8 is 4 x 7 with 3 channels, expected 4 x 5 with 3": [*good[:8], *large],
        "image 1 is 4 x 5 with 3 channels, expected 4 x 5 with 1": [grey[0], *good[1:]],
        "mode I;16": deep,
    }
    for words, files in wrong.items():
        assert words in refusal(save(columns_of(arrow, x=arrow.array(files))))
    assert "takes 2160 bytes as float32, expected at most 2000" in refusal(
        save(columns_of(arrow, x=arrow.array(good))), max_bytes=2000
    )
