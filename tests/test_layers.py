"""The picture of docs/architecture.md, held: a layer imports only from layers above it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "gradnoise"

LAYERS = {
    0: {
        "_types",
        "_tree",
        "_checks",
        "_memory",
        "_dataflow",
        "_liveness",
        "_rates",
        "_signal_noise",
        "estimate",
        "autocorrelation",
        "bootstrap",
        "schedules",
    },
    1: {"problem", "smoothness", "spacetime", "process", "diagrams"},
    2: {"testbeds", "measure", "predict", "dynamics", "stationary", "averaging"},
    3: {"results"},
    4: {"experiment"},
    5: {"report", "cli", "__main__"},
}
BESIDE = {("predict", "measure"), ("cli", "report"), ("__main__", "cli")}
"""The imports within a layer that are allowed; layers 0 and 1 may import within themselves."""
PURE = {"diagrams"}
HEAVY = {"jax", "numpy", "scipy", "equinox", "xarray"}

LAYER_OF = {room: layer for layer, rooms in LAYERS.items() for room in rooms}


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """(absolute module name, is it at the top of the file) of every import."""
    tree = ast.parse(path.read_text())
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "gradnoise" else [node.module]
            )
            yield from ((name, id(node) in top) for name in names)


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_from_layers_above_its_own(path):
    room = room_of(path)
    assert room in LAYER_OF, f"{room} stands in no layer: add it to the picture in docs/architecture.md and here"
    for name, _ in imports(path):
        parts = name.split(".")
        if parts[0] != "gradnoise" or len(parts) == 1 or parts[1] == "__version__":
            continue
        other = parts[1]
        above = LAYER_OF[other] < LAYER_OF[room] or (LAYER_OF[other] == LAYER_OF[room] <= 1)
        assert above or other == room or (room, other) in BESIDE, f"{room} imports {other}, which is not above it"


@pytest.mark.parametrize("room", sorted(PURE))
def test_diagrams_are_pure_python(room):
    for path in sorted((PACKAGE / room).rglob("*.py")):
        for name, _ in imports(path):
            assert name.split(".")[0] not in HEAVY, f"{path.name} imports {name}"


def test_importing_the_package_loads_nothing_heavy():
    top = [name for name, at_top in imports(PACKAGE / "__init__.py") if at_top]
    assert {name.split(".")[0] for name in top} <= {"importlib", "typing"}


def test_nothing_imports_the_torch_front_and_files_stay_small():
    for path in FILES:
        assert not any(name.startswith("gradnoise.torch") for name, _ in imports(path)) or room_of(path) == "torch"
        assert path.read_text().count("\n") <= 300, f"{path}: a room should be read in five minutes"
