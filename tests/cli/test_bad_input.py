"""Wrong use: one sentence with the argument's name, what came, what was expected; exit code 2; nothing written."""

import io
import subprocess
import sys
import zipfile

import numpy as np
import pytest

RUNS = ("report", "measure", "predict", "simulate")
QUICK = ("--batch-size", 2)


def refused(told, folder, before, *words):
    assert told.code == 2, told
    assert told.out == ""
    assert told.err.count("\n") == 1, told.err
    assert told.err.startswith("gradnoise: ")
    assert "Traceback" not in told.err
    assert "this is a bug" not in told.err
    for word in words:
        assert str(word) in told.err, (word, told.err)
    assert sorted(path.name for path in folder.rglob("*")) == before, "something was written"


@pytest.fixture
def wrong(call, folder):
    """Call the command line and check that it refuses in one sentence with these words, writing nothing."""

    def check(arguments, *words):
        before = sorted(path.name for path in folder.rglob("*"))
        refused(call(*arguments), folder, before, *words)

    return check


EVERYWHERE = [
    (("--learning-rate", "-1"), ("--learning-rate=-1", "above 0")),
    (("--learning-rate", "fast"), ("--learning-rate='fast'", "a number")),
    (("--learning-rate", "nan"), ("--learning-rate=nan",)),
    (("--batch-size", "0"), ("--batch-size=0", "at least 1")),
    (("--batch-size", "2.5"), ("--batch-size='2.5'", "whole number", "--batch-size 8")),
    (("--batch-size",), ("--batch-size", "without a value")),
    (("--momentum", "1"), ("--momentum=1", "below 1")),
    (("--weight-decay", "-0.1"), ("--weight-decay=-0.1", "at least 0")),
    (("--memory", "lots"), ("--memory='lots'", "2GiB")),
    (("--memory", "0"), ("--memory", "not positive")),
    (("--seed", "-1"), ("--seed=-1", "at least 0")),
    (("--device", "abacus"), ("--device='abacus'", "cpu or gpu")),
    (("--device", "gpu"), ("--device='gpu'", "--device cpu")),
    (("--problem", "digits-mpl"), ("--problem='digits-mpl'", "Did you mean 'digits-mlp'", "module:function")),
    (("--problem", ""), ("--problem=''",)),
    (("--problem", "absent:f"), ("--problem='absent:f'", "no module 'absent'")),
    (("--problem", "absent.inner:f"), ("no module 'absent'",)),
    (("--problem", "mine:absent"), ("--problem='mine:absent'", "no 'absent'")),
    (("--problem", "mine:god"), ("Did you mean 'good'?",)),
    (("--problem", "mine:a_number"), ("--problem='mine:a_number'", "type int", "Problem")),
    (("--problem", "mine:nothing"), ("gives None",)),
    (("--problem", "mine:a_string"), ("type str",)),
    (("--problem", "mine:raises"), ("ZeroDivisionError: division by zero", "--debug")),
    (("--problem", "mine:wants_arguments"), ("missing 2 required positional arguments",)),
    (("--problem", "mine:"), ("module:function",)),
    (("--problem", "../mine:good"), ("module:function",)),
    (("--problem", "mine:good", "--data", "x.npz"), ("--data='x.npz'", "--problem")),
    (("--model", "mlp"), ("--model='mlp'", "--data")),
    (("--hidden", "8"), ("--hidden=8", "--data")),
    (("--data", "data.npz", "--model", "forest"), ("--model='forest'", "'logistic'")),
    (("--data", "data.npz", "--model", "logistic", "--hidden", "8"), ("--hidden=8", "mlp")),
    (("--data", "data.npz", "--hidden", "0"), ("--hidden='0'", "at least 1")),
    (("--bach-size", "4"), ("--bach-size", "Did you mean --batch-size?")),
    (("--frobnicate",), ("--frobnicate", "--help")),
    (("extra",), ("'extra'", "expected options alone")),
    (("--json=yes",), ("--json came with a value", "alone")),
    (("--out", ""), ("--out=''", "a folder")),
    (("--out", "mine.py"), ("--out='mine.py'", "a file", "expected a folder")),
    (("--out", "mine.py/inside"), ("--out='mine.py/inside'", "expected a folder")),
    (("--out", "/proc/nothing/here"), ("--out='/proc/nothing/here'", "cannot be written")),
]


@pytest.mark.parametrize("command", RUNS)
@pytest.mark.parametrize(("arguments", "words"), EVERYWHERE, ids=lambda part: " ".join(part))
def test_options_of_every_run_are_checked_before_anything_is_written(wrong, data, pools, command, arguments, words):
    wrong((command, *arguments), *words)


GRID = [
    (("--num-examples", "100", "--batch-size", "48"), ("--batch-size=48", "--num-examples=100", "divisor")),
    (("--num-examples", "4", "--batch-size", "8"), ("--batch-size=8", "exceeds", "--num-examples=4")),
    (("--num-examples", "0"), ("--num-examples=0",)),
    (("--epochs", "0"), ("--epochs=0", "at least 1")),
    (("--sampling", "fixd"), ("--sampling='fixd'", "reshuffle")),
    (("--sampling", "subset", "--num-examples", "10", "--batch-size", "4", "--epochs", "1"), ("--epochs=1", "whole")),
    (("--data", "data.npz", "--batch-size", "22"), ("--batch-size=22", "the 21 examples")),
    (("--data", "data.npz", "--batch-size", "4", "--num-examples", "21"), ("--batch-size=4", "--num-examples=21")),
]


@pytest.mark.parametrize("command", ["report", "predict", "simulate"])
@pytest.mark.parametrize(("arguments", "words"), GRID, ids=lambda part: " ".join(part))
def test_batches_that_do_not_fit_are_refused(wrong, data, command, arguments, words):
    wrong((command, *arguments), *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("report", "--num-replicas", "1"), ("--num-replicas=1", "at least 8")),
        (("simulate", "--num-replicas", "many"), ("--num-replicas='many'", "whole number")),
        (("report", "--max-order", "9"), ("--max-order=9", "from 0 to 4")),
        (("measure", "--max-order", "-1"), ("--max-order=-1",)),
        (("predict", "--max-order", "two"), ("--max-order='two'",)),
        (("measure", "--baseline-steps", "0"), ("--baseline-steps=0",)),
        (("measure", "--epochs", "2"), ("--epochs", "no option of gradnoise measure")),
        (("predict", "--num-replicas", "9"), ("--num-replicas", "no option of gradnoise predict")),
        (("simulate", "--max-order", "1"), ("--max-order", "no option of gradnoise simulate")),
        (("report", "--error", "0.1"), ("--error=0.1", "--dry-run")),
        (("report", "--dry-run", "--error", "2"), ("--error='2'", "below 1")),
        (("simulate", "--dry-run", "--error", "0"), ("--error='0'",)),
        (("measure", "--resume"), ("--resume", "--out")),
        (("predict", "--resume"), ("--resume", "--out")),
        (("simulate", "--resume"), ("--resume", "--out")),
        (("diagrams", "--order", "5"), ("--order=5", "0 to 4")),
        (("diagrams", "--order", "-1"), ("--order=-1",)),
        (("diagrams", "--order", "two"), ("--order='two'",)),
        (("diagrams", "(01-2)"), ("(01-2)", "two brackets")),
        (("diagrams", "(0-1)(10)"), ("(0-1)(10)", "child")),
        (("diagrams", "(01-3)(03-13)"), ("node 2 is missing",)),
        (("diagrams", "(0-1)(01)", "--order", "1"), ("--order=1", "(0-1)(01)")),
        (("diagrams", "--batch-size", "2"), ("--num-examples", "--batch-size")),
        (("diagrams", "--num-examples", "2"), ("--batch-size",)),
        (("diagrams", "--epochs", "2"), ("--num-examples",)),
        (("diagrams", "--num-examples", "5", "--batch-size", "2"), ("--batch-size=2", "--num-examples=5")),
        (("diagrams", "--num-examples", "0", "--batch-size", "2"), ("--num-examples=0",)),
        (("diagrams", "--num-examples", "4", "--batch-size", "2", "--momentum", "-1"), ("--momentum=-1",)),
        (("diagrams", "--svg", "no/where/\0"), ("--svg",)),
        (("diagrams", "--svg", "."), ("--svg='.'", "folder")),
        (("diagrams", "--svg", "/proc/nothing/x.svg"), ("--svg='/proc/nothing/x.svg'",)),
        (("diagrams", "--problem", "gauss"), ("--problem", "no option of gradnoise diagrams")),
        (("cite", "tenka"), ("tenka",)),
        (("cite", "--bibtex"), ("--bibtex", "no option of gradnoise cite")),
        (("cite", "--out", "x"), ("--out",)),
        (("reprot",), ("'reprot'", "Did you mean report?")),
        (("xyzzy",), ("'xyzzy'", "report, measure, predict, simulate, scaling, stationary, sweep, diagrams, cite")),
        (("--verison",), ("--verison", "--version")),
    ],
    ids=lambda part: " ".join(part).replace("\0", "0"),
)
def test_each_commands_own_options_are_checked(wrong, arguments, words):
    wrong(arguments, *words)


@pytest.mark.parametrize("command", RUNS)
@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("at_random", ("loss is random", "dropout")),
        ("in_float32", ("float32", "float64")),
        ("not_scalar", ("shape (2,)", "scalar")),
        ("not_finite", ("expected finite",)),
        ("wrong_shapes", ("TypeError", "mine.py, line")),
        ("key_missing", ("KeyError", "z", "mine.py, line")),
    ],
)
def test_a_loss_that_cannot_be_studied_is_refused_before_anything_is_written(wrong, pools, command, function, words):
    wrong((command, "--problem", f"mine:{function}", *QUICK, "--out", "results"), "--problem", *words)


def test_a_users_module_that_fails_is_told_from_one_that_is_absent(wrong, folder):
    (folder / "broken.py").write_text("import absent_too\n")
    (folder / "typo.py").write_text("def f(:\n")
    (folder / "script.py").write_text("import sys\nsys.exit('usage: ...')\n")
    wrong(("measure", "--problem", "broken:f"), "importing broken", "No module named 'absent_too'")
    wrong(("measure", "--problem", "typo:f"), "importing typo", "SyntaxError")
    wrong(("measure", "--problem", "script:f"), "importing script", "SystemExit")


def absent(path):
    pass


def truncated(path):
    np.savez(path, x=np.ones((50, 2)), y=np.arange(50))
    path.write_bytes(path.read_bytes()[:400])


def no_archive(path):
    path.write_text("x,y\n1,2\n")


def wrong_keys(path):
    np.savez(path, inputs=np.ones((4, 2)), labels=np.arange(4))


def holds_nan(path):
    np.savez(path, x=np.array([[1.0, np.nan], [0.0, 1.0]]), y=np.array([0, 1]))


def lengths_differ(path):
    np.savez(path, x=np.ones((4, 2)), y=np.arange(3))


def empty(path):
    np.savez(path, x=np.ones((0, 2)), y=np.zeros(0, int))


def no_bytes(path):
    path.write_bytes(b"")


def objects(path):
    np.savez(path, x=np.array([[{}], [{}]]), y=np.array([0, 1]))


def claims_100_gb(path):
    header = io.BytesIO()
    claim = {"descr": "<f8", "fortran_order": False, "shape": (12_500_000, 1000)}
    np.lib.format.write_array_header_1_0(header, claim)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header.getvalue() + b"\0" * 64)
        archive.writestr("y.npy", header.getvalue() + b"\0" * 64)


def a_folder(path):
    path.mkdir()


FILES = [
    (absent, "no such file"),
    (truncated, "cut short"),
    (no_archive, "no whole .npz file"),
    (wrong_keys, "expected x and y"),
    (holds_nan, "NaN"),
    (lengths_differ, "x has 4 examples and y has 3"),
    (empty, "empty"),
    (no_bytes, "no whole .npz file"),
    (objects, "Python objects"),
    (claims_100_gb, "claims 100 GB"),
    (a_folder, "a folder of no files"),
]


@pytest.mark.parametrize("command", RUNS)
@pytest.mark.parametrize(("make", "words"), FILES, ids=lambda part: getattr(part, "__name__", "-"))
def test_every_kind_of_bad_data_file_is_refused(wrong, folder, command, make, words):
    make(folder / "bad.npz")
    wrong((command, "--data", "bad.npz", "--out", "results"), "--data='bad.npz'", words)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("report", "--batch-size", "48", "--num-examples", "100"), "--batch-size=48"),
        (("simulate", "--problem", "mine:in_float32", "--out", "results"), "float32"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, tuple) else part,
)
def test_as_a_program_of_its_own_it_refuses_alike(folder, pools, arguments, word):
    before = sorted(path.name for path in folder.rglob("*"))
    told = subprocess.run(
        [sys.executable, "-B", "-m", "gradnoise", *arguments], capture_output=True, text=True, timeout=120
    )
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.count("\n") == 1
    assert word in told.stderr
    assert sorted(path.name for path in folder.rglob("*")) == before


def test_debug_adds_the_traceback(call, data):
    told = call("measure", "--data", "absent.npz", "--debug")
    assert told.code == 2
    assert "Traceback" in told.err
    assert told.err.splitlines()[-1].startswith("gradnoise: --data='absent.npz'")


def test_a_folder_that_may_not_be_written_is_found_before_the_work(wrong, folder, monkeypatch):
    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device", "x")

    monkeypatch.setattr("pathlib.Path.touch", full)
    wrong(("report", "--out", "results"), "--out='results'", "No space left on device")
