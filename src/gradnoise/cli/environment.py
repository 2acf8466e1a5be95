"""What JAX reads from the environment when it starts; only the command line sets it."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from gradnoise.cli.expected import WrongUse

COUNT = "--xla_force_host_platform_device_count"


def prepare(device: str | None) -> None:
    """Set what `settings` says, if JAX has not started yet, and make sure that the asked device is there."""
    if "jax" not in sys.modules:
        os.environ.update(settings(os.environ, device))
    if device == "gpu":
        _require_gpu()


def settings(environment: Mapping[str, str], device: str | None) -> dict[str, str]:
    """Environment variables to set before JAX starts; what the user has set stays, but for an explicit `device`.

    On the CPU one JAX device a core, so that simulations are spread over the cores; a persistent cache of compiled
    programs in the user's cache folder; whole tracebacks, from which `errors` reads whose code failed.

    >>> settings({"XLA_FLAGS": "--xla_force_host_platform_device_count=3"}, "cpu").get("XLA_FLAGS")
    """
    chosen = {
        "JAX_COMPILATION_CACHE_DIR": str(_cache_folder(environment)),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
        "JAX_TRACEBACK_FILTERING": "off",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    chosen = {name: value for name, value in chosen.items() if name not in environment}
    if device == "cpu" or (device is None and not environment.get("JAX_PLATFORMS")):
        chosen["JAX_PLATFORMS"] = "cpu"
    on_cpu = chosen.get("JAX_PLATFORMS", environment.get("JAX_PLATFORMS")) == "cpu" and device != "gpu"
    flags = environment.get("XLA_FLAGS", "")
    if on_cpu and COUNT not in flags:
        chosen["XLA_FLAGS"] = f"{flags} {COUNT}={_num_cores()}".strip()
    return chosen


def _cache_folder(environment: Mapping[str, str]) -> Path:
    given = environment.get("XDG_CACHE_HOME", "")
    root = Path(given) if os.path.isabs(given) else Path(environment.get("HOME") or "~").expanduser() / ".cache"
    return root / "gradnoise" / "jax"


def _num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _require_gpu() -> None:
    import jax

    try:
        found = jax.devices()[0].platform
    except RuntimeError as error:
        found = f"no device ({str(error).splitlines()[0]})"
    if found not in ("gpu", "cuda", "rocm"):
        raise WrongUse(
            f"--device='gpu' found {found}, expected a GPU that JAX can use. Install JAX with GPU support, or give "
            "--device cpu."
        )
