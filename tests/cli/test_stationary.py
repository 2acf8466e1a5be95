"""`gradnoise stationary`: wrong use in one sentence, and the answer with its files."""

import pytest


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--num-steps", 10), ("--num-steps=10",)),
        (("--sampling", "reshuffle"), ("--sampling='reshuffle'", "with_replacement")),
        (("--learning-rate", 0), ("--learning-rate=0", "above 0")),
        (("--resume",), ("--resume", "--out")),
        (("--sampling", "subset", "--batch-size", 5000), ("--batch-size=5000",)),
        (("--problem", "digits-mlp", "--data", "x.npz"), ("expected one of the two",)),
    ],
)
def test_wrong_use_is_one_sentence_and_leaves_nothing(call, folder, arguments, words):
    told = call("stationary", *arguments)
    assert told.code == 2, told
    assert told.out == ""
    assert told.err.count("\n") == 1, told.err
    assert all(word in told.err for word in words), told.err
    assert list(folder.rglob("*")) == []


@pytest.mark.slow
def test_mean_estimation_is_stationary_and_has_its_page(call, folder):
    told = call(
        "stationary", "--problem", "mean-estimation", "--weight-decay", 0, "--num-steps", 20000, "--out", "place"
    )
    assert told.code == 0, told
    assert "Nothing speaks against a stationary run" in told.out
    assert "one direction has nowhere to circulate" in told.out
    assert "Where SGD settles" in (folder / "place" / "report.html").read_text()
