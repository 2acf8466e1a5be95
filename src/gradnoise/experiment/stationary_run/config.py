"""What `gradnoise stationary` is asked to do."""

from pydantic import Field

from gradnoise.experiment.settings import ConstantRateSettings
from gradnoise.spacetime import Spacetime

RECORDS = 400
BURN_IN = 0.25
"""The share of the steps that is left out of every average."""


class StationaryConfig(ConstantRateSettings):
    """Settings of `gradnoise stationary`.

    `num_replicas` runs of plain SGD with `weight_decay`, `num_steps` steps each at a constant learning rate; the first
    quarter is left out, and about 400 records are taken. `num_examples` None: every run trains on the whole pool; a
    number: each draws so many from it. The noise is followed along its `num_components` strongest directions.
    `num_probes`: random vectors a record for tr(H M).
    """

    learning_rate: float = Field(0.1, gt=0, allow_inf_nan=False)
    batch_size: int = Field(8, ge=1)
    weight_decay: float = Field(0.01, ge=0, allow_inf_nan=False)
    num_steps: int = Field(20_000, ge=100)
    num_replicas: int = Field(4, ge=2)
    num_components: int = Field(3, ge=2)
    num_probes: int = Field(4, ge=1)

    @property
    def every(self) -> int:
        """Steps between records."""
        return max(1, self.num_steps // RECORDS)

    @property
    def whole_steps(self) -> int:
        """`num_steps` rounded down to a whole number of records."""
        return self.num_steps // self.every * self.every

    @property
    def burn_in(self) -> int:
        """Steps left out, a whole number of records."""
        return round(self.whole_steps * BURN_IN / self.every) * self.every

    def spacetime(self, num_pool: int) -> Spacetime:
        """The sampling pattern; ValueError, naming batch_size, if a batch is larger than the training set."""
        size = self.num_examples or num_pool
        return Spacetime(size, self.batch_size, sampling=self.sampling, num_steps=self.whole_steps)
