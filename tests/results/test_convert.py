"""Engine results become labelled arrays in the schema's names."""

import jax
import numpy as np
import pytest
import xarray as xr

import gradnoise as gn
from gradnoise.results import build_tree, to_results


@pytest.fixture(scope="module")
def problem() -> gn.Problem:
    return gn.from_arrays(
        lambda w, x: (w["a"] - x) ** 2 / 2, lambda key: {"a": np.float64(0.3)}, np.array([0.0, 1.0, 4.0]), name="mean"
    )


@pytest.fixture(scope="module")
def values(problem):
    return gn.diagram_values(problem, {"a": np.float64(0.3)}, max_order=2)


def test_diagram_values_are_entries_with_written_form_root_order_and_meaning(values):
    found = to_results(values)
    assert found.sizes["entry"] == len(values.entries)
    place = found["diagram"].values.tolist().index("(01-2)(02-12)")
    assert found["value"].values[place] == values[gn.Diagram.parse("(01-2)(02-12)")].value
    assert found["meaning"].values[place].endswith("C:H")
    assert found.attrs["group"] == "measured"
    assert found.attrs["setting"] == "population"


def test_a_held_out_value_says_over_which_examples_its_root_is(problem):
    held_out = gn.from_arrays(problem.loss, problem.init, np.array([0.0, 1.0]), test_pool=np.array([2.0, 4.0]))
    found = to_results(gn.diagram_values(held_out, {"a": np.float64(0.3)}, max_order=1))
    assert {"test", "pool"} == set(found["root"].values)
    assert any(text.endswith("(root over the test examples)") for text in found["meaning"].values)


def test_curves_of_targets_and_rates_combine_into_the_predicted_group(values):
    spacetime = gn.Spacetime(4, 2)
    pieces = [
        to_results(gn.predict_curve(values, spacetime, rate, target))
        for target in ("test", "gap")
        for rate in (0.1, 0.2)
    ]
    whole = xr.combine_by_coords(pieces, combine_attrs="drop_conflicts")
    assert isinstance(whole, xr.Dataset)
    tree = build_tree({"predicted": whole})
    curve = gn.predict_curve(values, spacetime, 0.2, "gap")
    np.testing.assert_array_equal(tree["predicted"]["loss"].sel(target="gap", learning_rate=0.2), curve.value)
    assert tree["predicted"].attrs["licensed_order"] == 2


def test_a_simulation_is_means_with_errors_and_a_count_of_diverged_runs(problem):
    run = gn.simulate(gn.sgd(problem), {"a": np.float32(0.3)}, gn.Spacetime(4, 2), 0.1, 20, jax.random.key(0))
    found = to_results(run)
    assert dict(found["loss"].sizes) == {"process": 1, "target": 3, "learning_rate": 1, "step": len(run.steps)}
    mean = run.mean("gap")
    np.testing.assert_allclose(found["loss"].sel(target="gap").squeeze(), mean.value)
    np.testing.assert_allclose(found["loss_se"].sel(target="gap").squeeze(), mean.stderr)
    assert found["num_replicas"].item() == 20
    assert found["num_diverged"].item() == 0
    build_tree({"simulated": found})


def test_a_mean_over_runs_of_which_one_diverged_is_nan_from_there(problem):
    run = gn.simulate(gn.sgd(problem), {"a": np.float32(0.3)}, gn.Spacetime(4, 2), 0.1, 20, jax.random.key(0))
    run.observables["test_loss"][3, -1] = np.nan
    run.diverged_at[3] = run.steps[-1]
    found = to_results(run)
    last = found["loss"].sel(target="test").squeeze().values
    assert np.isnan(last[-1])
    assert np.isfinite(last[:-1]).all()
    assert found["num_diverged"].item() == 1


def test_noise_scale_is_scalars_with_errors_and_groups(problem):
    scale = gn.noise_scale(problem, {"a": np.float64(0.3)})
    found = to_results(scale)
    assert found["simple_noise_scale"].item() == scale.simple_noise_scale.value
    assert found["noise_trace_se"].item() == 0
    assert found["simple_noise_scale_low"].item() == found["simple_noise_scale"].item(), (
        "exact: the pool is the population"
    )
    assert found["group_simple_noise_scale"].sel(group="a").item() == scale.groups["a"].simple_noise_scale.value
    both = xr.concat([found, found], dim=xr.IndexVariable("checkpoint", ["start", "end"]))
    build_tree({"measured": both[[name for name in both if "noise_trace" in str(name)]]})


def test_a_spectrum_has_its_eigenvalues_numbered_from_one(problem):
    spectrum = gn.noise_spectrum(problem, {"a": np.float64(0.3)})
    found = to_results(spectrum)
    np.testing.assert_array_equal(found["eigenvalue"], spectrum.eigenvalues)
    assert found["eigen"].values.tolist() == list(range(1, len(spectrum.eigenvalues) + 1))
    assert found["rank"].item() == spectrum.rank
    assert found.attrs["which"] == spectrum.which


def test_curvature_has_the_names_of_the_schema(problem):
    found = to_results(gn.hessian_extremes(problem, {"a": np.float64(0.3)}))
    assert found["hessian_max"].item() == pytest.approx(1.0)
    assert found["curvature_limit"].item() == pytest.approx(2.0)
    assert "hessian_max_se" in found


def test_what_can_say_itself_as_a_dataset_is_asked():
    class Told:
        def to_dataset(self):
            return xr.Dataset({"residual": 1.0})

    assert to_results(Told())["residual"].attrs["units"] == "loss"


def test_one_rate_for_each_parameter_does_not_label_a_curve(values):
    import dataclasses

    curve = dataclasses.replace(gn.predict_curve(values, gn.Spacetime(4, 2), 0.1), learning_rate={"a": 0.1})
    with pytest.raises(ValueError, match="learning_rate is dict, expected one number"):
        to_results(curve)
