"""What the main job is asked to do."""

from typing import Literal

from pydantic import Field, field_validator

from gradnoise.experiment.settings import Settings
from gradnoise.spacetime import Spacetime


class Config(Settings):
    """Settings of `report`, `measure`, `predict` and `simulate`; None means: chosen from the problem, and recorded.

    `learning_rate` is the main one; the series is also tried at fractions and multiples of it. `batch_size`,
    `num_examples`, `epochs`, `sampling` make the spacetime. `baseline_steps` steps of plain SGD at `batch_size` lead from
    the start to the end at which the noise is measured again.

    The whole run (stage "path"): `path_steps` steps of gradient descent at `path_learning_rate` (None: `learning_rate`, or
    else from the curvature), the noise around it by `num_probes` probes (0: leave the whole run out), and `path_replicas`
    runs of SGD at each of five batch sizes (0: predicted only).
    """

    learning_rate: float | None = Field(None, gt=0, allow_inf_nan=False)
    batch_size: int = Field(8, ge=1)
    num_examples: int | None = Field(None, ge=1)
    epochs: int = Field(2, ge=1)
    sampling: Literal["fixed", "reshuffle", "subset", "with_replacement"] = "fixed"
    momentum: float = Field(0.0, ge=0, lt=1, allow_inf_nan=False)
    weight_decay: float = Field(0.0, ge=0, allow_inf_nan=False)
    num_replicas: int = Field(500, ge=8)
    max_order: int = Field(3, ge=0, le=4)
    baseline_steps: int = Field(1000, ge=1)
    path_learning_rate: float | None = Field(None, gt=0, allow_inf_nan=False)
    path_steps: int | None = Field(None, ge=1)
    path_replicas: int | None = Field(None, ge=0)
    num_probes: int | None = Field(None, ge=0)

    @field_validator("num_probes", "path_replicas")
    @classmethod
    def _none_or_some(cls, count: int | None) -> int | None:
        if count == 1:
            raise ValueError("1 gives no error, expected 0 or at least 2")
        return count

    def spacetime(self, num_pool: int | None = None) -> Spacetime:
        """The sampling pattern: by default N = 8 batches; never more than B * floor(n / B) of n pool examples."""
        wanted = self.num_examples or 8 * self.batch_size
        if self.num_examples is None and num_pool is not None:
            wanted = min(wanted, self.batch_size * (num_pool // self.batch_size)) or wanted
        return Spacetime(wanted, self.batch_size, self.epochs, self.sampling)
