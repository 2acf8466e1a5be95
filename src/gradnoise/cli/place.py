"""The folder of results: checked before work, written file by file, tidy afterwards."""

import os
import secrets
import shutil
from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gradnoise.cli.expected import WrongUse

if TYPE_CHECKING:
    import xarray as xr

STAGES, RUNS = ".stages", ".runs"


class Place(NamedTuple):
    """The folder that `--out` names; `made` are the folders that were not there before, outermost first."""

    folder: Path
    made: tuple[Path, ...]

    @classmethod
    def of(cls, out: str | None) -> "Place | None":
        """The place for `out`, made sure that it can be written; nothing stays behind. None for None."""
        if out is None:
            return None
        folder = Path(out)
        absent = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
        place = cls(folder, tuple(reversed(absent)))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            trial = folder / f".{secrets.token_hex(8)}"
            trial.touch(exist_ok=False)
            trial.unlink()
        except OSError as error:
            raise _unusable(out, error) from error
        finally:
            place.tidy()
        return place

    @property
    def stages(self) -> Path:
        """Where finished stages of an unfinished run are kept."""
        return self.folder / STAGES

    def kept(self) -> set[Path]:
        """The finished stages, and the folders of simulations."""
        return {*self.stages.glob("*.nc"), *self.stages.glob(f"*{RUNS}")}

    def simulated(self) -> set[Path]:
        """The kept folders of simulations in which something was finished."""
        return {folder for folder in self.stages.glob(f"*{RUNS}") if any(folder.glob("*.npz"))}

    def prepare(self, resume: bool) -> set[Path]:
        """Before a run: forget the stages of an earlier one, unless they are to be taken up; those that stay."""
        if not resume:
            self.forget()
        return self.kept()

    def forget(self, but: Set[Path] = frozenset()) -> None:
        """Remove the kept stages and simulations, all `but` these, and what a killed process left half written."""
        for found in {*self.kept(), *self.stages.glob(".*.part")} - but:
            if found.is_dir() and not found.is_symlink():
                shutil.rmtree(found, ignore_errors=True)
            else:
                found.unlink(missing_ok=True)

    def write(self, tree: "xr.DataTree", page: bool) -> dict[str, str]:
        """Write results.nc, and report.html if asked, each whole or not at all; the paths by name."""
        from gradnoise.report import write_report
        from gradnoise.results import save

        try:
            paths = {"results": str(save(tree, self.folder / "results.nc"))}
            if page:
                paths["report"] = str(write_report(tree, self.folder / "report.html"))
        except OSError as error:
            raise WrongUse(
                f"--out={str(self.folder)!r} cannot be written any more ({_reason(error)}), expected a folder with room. "
                "Make room and run the same command with --resume."
            ) from error
        self.forget()
        return paths

    def tidy(self) -> None:
        """Remove the stages' folder and those that this run made, where they are empty."""
        for folder in (self.stages, *reversed(self.made)):
            try:
                folder.rmdir()
            except OSError:
                continue


def _unusable(out: str, error: OSError) -> WrongUse:
    if isinstance(error, (NotADirectoryError, FileExistsError)):
        return WrongUse(f"--out={out!r} is a file or lies under one, expected a folder. Give another name.")
    return WrongUse(
        f"--out={out!r} cannot be written ({_reason(error)}), expected a folder with room. Give another one."
    )


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
