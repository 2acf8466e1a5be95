"""What the settings of every job share."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gradnoise import _memory


class Settings(BaseModel):
    """A memory amount ("2GiB"; None: the default) and the seed of all random draws; unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory: str | None = None
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _memory_is_an_amount(self) -> Self:
        if self.memory is not None:
            _memory.parse_memory(self.memory)
        return self


class ConstantRateSettings(Settings):
    """SGD with coupled weight decay at one learning rate and batch size, batches drawn at each step.

    `num_examples` None: every run trains on the whole pool; a number: each replica draws so many from it.
    """

    learning_rate: float = Field(gt=0, allow_inf_nan=False)
    batch_size: int = Field(ge=1)
    weight_decay: float = Field(ge=0, allow_inf_nan=False)
    num_examples: int | None = Field(None, ge=2)
    sampling: Literal["with_replacement", "subset"] = "with_replacement"
    num_replicas: int = Field(ge=2)
