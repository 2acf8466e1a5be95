"""The variables of a results tree: the same names in memory, in the file and in the report."""

MAIN = ("measured", "predicted", "simulated", "compared", "path")
"""The groups of the main job; others belong to commands of their own."""

CURVE = ("target", "learning_rate", "step", "order")
AT_CHECKPOINT = ("checkpoint",)
BY_GROUP = ("checkpoint", "group")
BY_BATCH = ("batch_size", "target", "step")
SERIES = ("factor", "replica", "record")
BY_FACTOR = ("factor",)

GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "measured": {
        "value": ("entry",),
        "value_se": ("entry",),
        "noise_trace": AT_CHECKPOINT,
        "noise_trace_se": AT_CHECKPOINT,
        "gradient_norm_squared": AT_CHECKPOINT,
        "gradient_norm_squared_se": AT_CHECKPOINT,
        "simple_noise_scale": AT_CHECKPOINT,
        "simple_noise_scale_se": AT_CHECKPOINT,
        "simple_noise_scale_low": AT_CHECKPOINT,
        "simple_noise_scale_high": AT_CHECKPOINT,
        "group_noise_trace": BY_GROUP,
        "group_noise_trace_se": BY_GROUP,
        "group_gradient_norm_squared": BY_GROUP,
        "group_gradient_norm_squared_se": BY_GROUP,
        "group_simple_noise_scale": BY_GROUP,
        "group_simple_noise_scale_se": BY_GROUP,
        "eigenvalue": ("checkpoint", "eigen"),
        "rank": AT_CHECKPOINT,
        "participation_ratio": AT_CHECKPOINT,
        "stable_rank": AT_CHECKPOINT,
        "hessian_max": AT_CHECKPOINT,
        "hessian_max_se": AT_CHECKPOINT,
        "curvature_limit": AT_CHECKPOINT,
        "baseline_step": AT_CHECKPOINT,
        "test_loss": AT_CHECKPOINT,
    },
    "predicted": {
        "loss": CURVE,
        "loss_se": CURVE,
        "coefficient": ("target", "order"),
        "coefficient_se": ("target", "order"),
        "factor": ("target", "entry"),
    },
    "simulated": {
        "loss": ("process", "target", "learning_rate", "step"),
        "loss_se": ("process", "target", "learning_rate", "step"),
        "num_replicas": ("process", "learning_rate"),
        "num_diverged": ("process", "learning_rate"),
    },
    "compared": {
        "difference": CURVE,
        "difference_se": CURVE,
        "z": CURVE,
        "last_term": CURVE,
        "verdict": ("target", "learning_rate", "order"),
        "band": ("target", "learning_rate", "order"),
        "residual": ("target", "order", "learning_rate"),
        "residual_se": ("target", "order", "learning_rate"),
        "slope": ("target", "order"),
        "slope_low": ("target", "order"),
        "slope_high": ("target", "order"),
        "expected_slope": ("target", "order"),
    },
    "path": {
        "predicted": (*BY_BATCH, "loops"),
        "predicted_se": (*BY_BATCH, "loops"),
        "simulated": BY_BATCH,
        "simulated_se": BY_BATCH,
        "path_loss": ("step",),
        "in_domain": ("batch_size", "step"),
        "test_coefficient": ("step",),
        "test_coefficient_se": ("step",),
        "num_replicas": ("batch_size",),
        "num_diverged": ("batch_size",),
        "residual_scaled": ("batch_size",),
        "residual_scaled_se": ("batch_size",),
        "residual_level": (),
        "residual_level_se": (),
        "residual_level_p": (),
        "doubling_batch_size": (),
        "doubling_batch_size_se": (),
        "doubling_batch_size_low": (),
        "doubling_batch_size_high": (),
    },
    "stationary": {
        "train_loss": ("replica", "record"),
        "test_loss": ("replica", "record"),
        "drift": (),
        "drift_se": (),
        "reversal_p": (),
        "identity_ratio": ("identity", "form"),
        "identity_ratio_low": ("identity", "form"),
        "identity_ratio_high": ("identity", "form"),
        "eigenvalue": ("checkpoint", "eigen"),
        "rank": AT_CHECKPOINT,
        "participation_ratio": AT_CHECKPOINT,
        "stable_rank": AT_CHECKPOINT,
        "distance": ("checkpoint", "other"),
        "overlap": ("checkpoint", "other"),
    },
    "scaling": {
        "squared_norm": SERIES,
        "gradient_norm_squared": SERIES,
        "batch_noise_trace": SERIES,
        "test_loss": SERIES,
        "train_loss": SERIES,
        "test_error": SERIES,
        "num_diverged": BY_FACTOR,
        "average": ("factor", "quantity"),
        "average_se": ("factor", "quantity"),
        "balance": BY_FACTOR,
        "balance_low": BY_FACTOR,
        "balance_high": BY_FACTOR,
        "drift_share": BY_FACTOR,
        "drift_share_se": BY_FACTOR,
        "closeness": BY_FACTOR,
        "closeness_low": BY_FACTOR,
        "closeness_high": BY_FACTOR,
        "must_fail": BY_FACTOR,
        "own_must_fail": BY_FACTOR,
        "final_error": BY_FACTOR,
        "final_error_se": BY_FACTOR,
        "critical_batch": ("form",),
        "critical_batch_se": ("form",),
        "critical_batch_low": ("form",),
        "critical_batch_high": ("form",),
        "simple_noise_scale": (),
        "simple_noise_scale_se": (),
        "simple_noise_scale_low": (),
        "simple_noise_scale_high": (),
        "metric_noise_scale": (),
        "metric_noise_scale_se": (),
        "metric_noise_scale_low": (),
        "metric_noise_scale_high": (),
        "hessian_max": (),
        "hessian_max_se": (),
        "sde_difference": ("observable",),
        "sde_size_low": ("observable",),
        "sde_size_high": ("observable",),
        "sde_detectable": ("observable",),
        "sde_differs": ("observable",),
    },
}
"""Group -> variable -> dimensions, in any order. `band` may lack any of its dimensions."""

LABELS = (
    "target", "process", "learning_rate", "order", "checkpoint", "group", "diagram", "batch_size", "loops", "factor",
    "quantity", "form", "observable", "identity", "other",
)  # fmt: skip
"""Coordinates that say what a place along a dimension is; where a variable has the dimension it needs the coordinate."""

UNITS = {
    "noise_trace": "loss^2 / parameter^2",
    "gradient_norm_squared": "loss^2 / parameter^2",
    "eigenvalue": "loss^2 / parameter^2",
    "simple_noise_scale": "examples",
    "hessian_max": "loss / parameter^2",
    "curvature_limit": "learning rate",
    "value": "loss / learning_rate^order",
    "loss": "loss",
    "difference": "loss",
    "residual": "loss",
    "last_term": "loss",
    "predicted": "loss",
    "simulated": "loss",
    "path_loss": "loss",
    "test_coefficient": "loss * examples",
    "residual_scaled": "loss * examples^2",
    "residual_level": "loss * examples^2",
    "doubling_batch_size": "examples",
    "critical_batch": "examples",
    "drift": "loss",
    "metric_noise_scale": "examples",
    "squared_norm": "parameter^2",
    "batch_noise_trace": "loss^2 / parameter^2",
    "train_loss": "loss",
    "test_loss": "loss",
}


def units(name: str) -> str | None:
    """The units of the variable `name`, of its error and of its interval's ends; None where it has none.

    >>> units("group_simple_noise_scale_se")
    'examples'
    """
    stem = name.removeprefix("group_")
    for ending in ("_se", "_low", "_high"):
        stem = stem.removesuffix(ending)
    return UNITS.get(stem)
