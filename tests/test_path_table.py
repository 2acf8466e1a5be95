"""The study of predict_path: its quick rows, going on where it stopped, and what it does without MNIST."""

import jax
import numpy as np
import pytest

import gradnoise as gn
from scripts import load_script

pytestmark = pytest.mark.slow


path_table = load_script("path_table")


def row_of(**changes):
    """A row as the study writes it, 1% of error at a share of 0.1."""
    test = {"test": 0.5, "test_se": 0.001, "test_predicted": 0.505, "test_predicted_se": 0.0, "test_error": 0.01}
    test |= {"test_error_se": 0.002, "test_z": -5.0, "test_c2": -0.02, "test_c2_se": 0.004}
    row = {"problem": "softmax", "learning_rate": 0.5, "momentum": 0.0, "steps_per_epoch": 4, "epochs": 2} | test
    row |= {"sampling": "fixed", "training_set": "drawn", "setting": "population", "batch_size": 2, "num_examples": 8}
    row |= {"noise_share": 0.1, "inside": True, "path": 0.45, "drop": 1.5, "spread": 0.1, "gap": None}
    return row | {"rate_times_curvature": 1.2, "num_diverged": 0, "seconds": 1.0} | changes


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The file that `--quick` leaves."""
    out = tmp_path_factory.mktemp("study") / "rows.jsonl"
    path_table.main(["--quick", "--out", str(out)])
    return out


def test_quick_rows_agree_with_simulation_where_the_noise_is_small(quick):
    rows = path_table.load(quick)
    assert len(rows) == 3
    assert all(row["inside"] and row["noise_share"] < 0.3 for row in rows)
    assert all(abs(row["test_error"]) < 0.02 + 4 * row["test_error_se"] for row in rows)
    given = [row["gap"] for row in rows if row["training_set"] == "given"]
    assert given == [None]  # test and train loss are the same there


def test_the_columns_are_what_they_say(quick):
    for row in path_table.load(quick)[:2]:
        for target, scale in {"test": row["batch_size"] ** 2, "gap": row["batch_size"] * row["num_examples"]}.items():
            off, error = row[target] - row[f"{target}_predicted"], row[f"{target}_se"]
            assert row[f"{target}_c2"] == pytest.approx(scale * off)
            assert row[f"{target}_z"] == pytest.approx(off / error)  # dense: no error of its own
            assert row[f"{target}_error"] == pytest.approx(-off / row[target])


def test_the_spread_is_that_of_the_runs(quick):
    for row in path_table.load(quick)[:2]:
        assert row["spread"] == pytest.approx(row["test_se"] * row["num_replicas"] ** 0.5, rel=0.2)


def test_a_rerun_skips_finished_rows_and_does_the_missing_ones(quick, tmp_path, capsys, monkeypatch):
    kept = tmp_path / "rows.jsonl"
    path_table.save(kept, path_table.load(quick)[:2])
    monkeypatch.setattr(path_table, "QUICK", path_table.QUICK[:1])
    monkeypatch.setattr(gn, "simulate", lambda *_, **__: pytest.fail("a finished row was run again"))
    path_table.main(["--quick", "--out", str(kept)])
    printed = capsys.readouterr().out
    assert printed.count("| small mlp |") == 2
    assert "2 rows, 2 of them inside the domain" in printed
    monkeypatch.setattr(path_table, "QUICK", (path_table.QUICK[0]._replace(batch_sizes=(2, 8, 4)),))
    done = path_table.load(kept)
    problem = path_table.make_problem("small mlp", None)
    monkeypatch.setattr(path_table, "_simulated", lambda *_: {})
    assert [row["batch_size"] for row in path_table.rows_of(path_table.QUICK[0], problem, done)] == [4]


def test_without_mnist_the_convolutional_rows_are_left_out_and_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(path_table, "FULL", tuple(c for c in path_table.FULL if c.problem.startswith("conv")))
    path_table.main([])
    told = capsys.readouterr()
    assert told.err.count("left out, needs --mnist FILE.npz") == len(path_table.FULL)
    assert "0 rows" in told.out


def test_with_a_file_the_images_are_halved_and_standardized(tmp_path, rng):
    images = rng.integers(0, 256, (400, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", x_train=images, y_train=rng.integers(0, 10, 400, dtype=np.uint8))
    problem = path_table.make_problem("conv gelu", tmp_path / "images.npz")
    assert problem is not None
    x = np.asarray(problem.pool["x"])
    assert x.shape == (300, 196)
    assert [x.mean(), x.std()] == pytest.approx([0, 1], abs=1e-5)
    halved = images[:300].reshape(300, 14, 2, 14, 2).mean((2, 4)).reshape(300, -1)
    assert x == pytest.approx((halved - halved.mean()) / halved.std(), abs=1e-4)
    loss = problem.loss(problem.init(jax.random.key(0)), jax.tree.map(lambda leaf: leaf[0], problem.pool))
    assert 0 < float(loss) < 10


def test_every_row_of_the_full_table_has_a_problem_and_whole_epochs():
    for case in path_table.FULL:
        assert case.problem.startswith("conv") or case.problem in path_table.PROBLEMS
        for batch in case.batch_sizes:
            assert case.spacetime(batch).num_examples == case.steps_per_epoch * batch
    sizes = [case.steps_per_epoch * batch for case in path_table.FULL for batch in case.batch_sizes]
    assert [min(sizes), max(sizes)] == [20, 2000]
    assert {case.epochs for case in path_table.FULL} >= {1, 5, 10}


@pytest.mark.parametrize(
    ("value", "error", "written"),
    [
        (0.3061, 0.00081, "0.30610(81)"),
        (2.31, 0.104, "2.31(10)"),
        (42.0, 30.0, "42(30)"),
        (7.1, 1.04, "7.1(1.0)"),
        (0.5868, 0.0, "0.5868"),
    ],
)
def test_errors_stand_in_units_of_the_last_digit(value, error, written):
    assert path_table._with_error(value, error) == written


def test_the_summary_says_where_it_fails_and_whether_the_domain_caught_it():
    bad = {"noise_share": 0.6, "inside": False, "test_error": -0.2, "test_z": 40.0}
    slipped = {"noise_share": 0.25, "test_error": -0.09, "test_z": 20.0, "momentum": 0.9}
    told = path_table.summary([row_of(), row_of(**bad), row_of(**slipped), row_of(num_diverged=3, test=None)])
    assert "3 rows, 2 of them inside the domain" in told
    assert "Test loss is surely (2 se) off by more than 5% in 2 rows, 1 outside." in told
    assert "test, inside, momentum 0.9: 1 rows, largest error -9.0%" in told
    assert "1 rows have runs that diverge." in told


def test_a_row_whose_runs_diverge_says_so_in_the_table():
    line = path_table.markdown([row_of(num_diverged=3, test=None)]).splitlines()[-1]
    assert "3 runs diverge" in line
    assert line.count("|") == path_table.markdown([row_of()]).splitlines()[-1].count("|")
