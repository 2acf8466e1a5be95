"""What the command line sets before JAX starts."""

import os
import subprocess
import sys

from gradnoise.cli.environment import settings

HOME = {"HOME": "/home/someone"}


def test_one_cpu_device_a_core_unless_the_user_chose():
    cores = len(os.sched_getaffinity(0))
    count = f"--xla_force_host_platform_device_count={cores}"
    assert settings(HOME, None)["XLA_FLAGS"] == count
    assert settings(HOME | {"XLA_FLAGS": "--xla_foo=1"}, "cpu")["XLA_FLAGS"] == f"--xla_foo=1 {count}"
    assert "XLA_FLAGS" not in settings(HOME | {"XLA_FLAGS": "--xla_force_host_platform_device_count=7"}, "cpu")
    assert "XLA_FLAGS" not in settings(HOME, "gpu")
    assert "XLA_FLAGS" not in settings(HOME | {"JAX_PLATFORMS": "cuda"}, None)


def test_the_device_is_the_asked_one_then_the_users_then_the_cpu():
    assert settings(HOME, None)["JAX_PLATFORMS"] == "cpu"
    assert "JAX_PLATFORMS" not in settings(HOME | {"JAX_PLATFORMS": "cuda"}, None)
    assert settings(HOME | {"JAX_PLATFORMS": "cuda"}, "cpu")["JAX_PLATFORMS"] == "cpu"
    assert "JAX_PLATFORMS" not in settings(HOME, "gpu")


def test_compiled_programs_are_kept_in_the_users_cache_folder_unless_told_otherwise():
    name = "JAX_COMPILATION_CACHE_DIR"
    assert settings(HOME, None)[name] == "/home/someone/.cache/gradnoise/jax"
    assert settings(HOME | {"XDG_CACHE_HOME": "/var/tmp/c"}, None)[name] == "/var/tmp/c/gradnoise/jax"
    assert settings(HOME | {"XDG_CACHE_HOME": "relative"}, None)[name] == "/home/someone/.cache/gradnoise/jax"
    assert name not in settings(HOME | {name: "/elsewhere"}, None)


def test_jax_starts_with_these_settings():
    code = (
        "import os; from gradnoise.cli.environment import prepare; prepare('cpu'); import jax;"
        "print(jax.device_count() == len(os.sched_getaffinity(0)), jax.config.jax_compilation_cache_dir)"
    )
    environment = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "XDG_CACHE_HOME": "/nowhere/cache"}
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert told.stdout.split() == ["True", "/nowhere/cache/gradnoise/jax"]
