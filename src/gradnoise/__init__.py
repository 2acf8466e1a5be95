"""gradnoise: measure the noise in a model's gradients, predict what SGD will do, simulate it, see where the two agree.

    import gradnoise as gn

Names are loaded on first use, so that importing the package, and the command line's help, stay fast.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Problem": "problem",
    "from_arrays": "problem",
    "Spacetime": "spacetime",
    "Diagram": "diagrams",
    "number_of_diagrams": "diagrams",
    "enumerate_diagrams": "diagrams",
    "embedding_count": "diagrams",
    "enumerate_forests": "diagrams",
    "Estimate": "estimate",
    "Process": "process",
    "coefficient": "predict",
    "coefficient_formula": "predict",
    "series_coefficients": "predict",
    "predict_curve": "predict",
    "predict_path": "predict",
    "batch_choice": "predict",
    "step_attribution": "predict",
    "schedule_gradient": "predict",
    "best_batch_schedule": "predict",
    "example_attribution": "predict",
    "ode_coefficients": "predict",
    "sde_coefficients": "predict",
    "estimate_path": "predict",
    "predict_resummed": "predict",
    "predict_drift": "predict",
    "process_differences": "predict",
    "process_factors": "predict",
    "series_by_parts": "predict",
    "fixed_time_coefficients": "predict",
    "fit_curve": "predict",
    "extended_curve": "predict",
    "outlook": "predict",
    "agreement": "predict",
    "emulate_batch": "predict",
    "emulation_domain": "predict",
    "batch_size_effect": "predict",
    "epochs_effect": "predict",
    "series_difference": "predict",
    "takeuchi_term": "predict",
    "tune_weight_decay": "predict",
    "diagram_values": "measure",
    "noise_covariance": "measure",
    "noise_spectrum": "measure",
    "noise_scale": "measure",
    "noise_scale_interval": "measure",
    "noise_scale_from_gradients": "measure",
    "hessian_extremes": "measure",
    "tail_index": "measure",
    "gaussianity": "measure",
    "cumulant_scaling": "measure",
    "noise_scale_in_metric": "measure",
    "irreversibility_test": "measure",
    "spectrum_distance": "measure",
    "subspace_overlap": "measure",
    "temperature_rule": "measure",
    "estimate_values": "measure",
    "gradient_descent": "dynamics",
    "sgd": "dynamics",
    "svag": "dynamics",
    "noisy_gd": "dynamics",
    "sde": "dynamics",
    "gradient_flow": "dynamics",
    "levy": "dynamics",
    "hessian_sgd": "dynamics",
    "optimizer": "dynamics",
    "equilibrium_records": "dynamics",
    "fluctuation_records": "dynamics",
    "entropy_sgd": "dynamics",
    "quarter_cosine": "schedules",
    "triangle": "schedules",
    "time_average": "bootstrap",
    "ratio_of_means": "bootstrap",
    "generalization_gap": "averaging",
    "cross_losses": "averaging",
    "fit_gap": "averaging",
    "fit_optimum": "averaging",
    "collapse_in_temperature": "averaging",
    "training_ensemble": "averaging",
    "gap_parts": "averaging",
    "effective_potential": "averaging",
    "predicted_optimum": "averaging",
    "temperature_slope": "averaging",
    "sweep": "experiment.sweep",
    "simulate": "experiment",
    "critical_batch": "stationary",
    "is_scale_invariant": "stationary",
    "linear_decomposition": "stationary",
    "circulation": "stationary",
    "entropy_production": "stationary",
    "solve_fokker_planck": "stationary",
    "evolve_fokker_planck": "stationary",
    "scale_invariant_groups": "stationary",
    "equilibrium_identity": "stationary",
    "stationary_averages": "stationary",
    "c_closeness": "stationary",
    "linear_scaling_invariance": "stationary",
    "norm_identity": "stationary",
    "loss_identity": "stationary",
    "potential_fields": "stationary",
    "drift_with_potential": "stationary",
    "free_energy": "stationary",
    "measure_curl": "stationary",
    "boltzmann_exponents": "stationary",
    "return_map": "stationary",
    "local_entropy": "stationary",
    "local_entropy_gradient": "stationary",
    "area_rate": "stationary",
    "find_minimum": "stationary",
    "linearize": "stationary",
    "compare": "experiment",
    "control_variates": "experiment",
    "fit_two_loops": "experiment",
    "weak_order": "experiment",
    "weak_order_of": "experiment",
    "decompose_error": "experiment",
    "spectrum_along_training": "experiment",
    "to_results": "results",
    "save": "results",
    "load": "results",
    "write_report": "report",
}
_MODULES = ("testbeds",)

__all__ = ["__version__", *_HOME, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"gradnoise.{name}")
    if name in _HOME:
        return getattr(import_module(f"gradnoise.{_HOME[name]}"), name)
    raise AttributeError(f"module 'gradnoise' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
