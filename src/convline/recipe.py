"""The recipe of a training run: every choice that params.yaml leaves open, with its bounds."""

from typing import Annotated, Literal

from pydantic import Field, StrictBool, model_validator

from convline.backend import BackendParams
from convline.params import Float, Int, Seed

Width = Annotated[Int, Field(ge=1, le=4096)]
Kernel = Annotated[Int, Field(ge=1, le=64)]
Loss = Literal[
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "kl_divergence",
    "mean_squared_error",
]


class Recipe(BackendParams):
    """What train reads from params.yaml; the meaning of each key is told there."""

    dataset: str
    seed: Seed

    conv_filters: Annotated[list[Width], Field(min_length=1, max_length=32)]
    conv_kernels: Annotated[list[Kernel], Field(min_length=1, max_length=32)]
    downsampling: Literal["pool", "stride"]
    batch_normalization: StrictBool
    dropout: Annotated[Float, Field(ge=0, lt=1)]
    dense_units: Width

    epochs: Annotated[Int, Field(ge=1, le=100_000)]
    batch_size: Annotated[Int, Field(ge=1, le=1_000_000)]
    optimizer: Literal["adam", "adamw", "nadam", "rmsprop", "sgd"]
    learning_rate: Annotated[Float, Field(gt=0, le=100)]
    learning_rate_schedule: Literal["constant", "cosine", "one_cycle"]
    loss: Loss

    @model_validator(mode="after")
    def _a_kernel_for_each_convolution(self) -> "Recipe":
        if len(self.conv_kernels) != len(self.conv_filters):
            raise ValueError(
                f"conv_kernels has {len(self.conv_kernels)} numbers and conv_filters "
                f"{len(self.conv_filters)}: each convolution needs one of both"
            )
        return self
