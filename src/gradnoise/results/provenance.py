"""Where results come from: versions, machine type, commit. Never a host name, a user name or an absolute path."""

import platform
import subprocess
from datetime import UTC, datetime

import gradnoise


def provenance() -> dict[str, str | int | None]:
    """Root attributes of a results tree that say what made it; `git_commit` is None outside a git checkout."""
    import jax
    import numpy as np

    device = jax.devices()[0]
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "gradnoise_version": gradnoise.__version__,
        "python_version": platform.python_version(),
        "jax_version": jax.__version__,
        "numpy_version": np.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "device": device.device_kind,
        "num_devices": jax.device_count(),
        "git_commit": git_commit(),
    }


def git_commit() -> str | None:
    """The commit of the current folder's checkout, with "+changes" if files differ from it; None if there is none."""
    commit = _git("rev-parse", "--verify", "HEAD")
    if not commit:
        return None
    return f"{commit}+changes" if _git("status", "--porcelain", "--untracked-files=no") else commit


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
