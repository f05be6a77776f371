"""The recipe of a training run: every choice that params.yaml leaves open, with its bounds."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StrictBool, model_validator

from convline.backend import BackendParams
from convline.params import Float, Int, Seed

Width = Annotated[Int, Field(ge=1, le=4096)]
Kernel = Annotated[Int, Field(ge=1, le=64)]


def _no_number(value: object) -> object:
    if type(value) in (int, float):  # 1 equals true
        raise ValueError("true, false or last is expected, not a number")
    return value


Normalization = Annotated[Literal[False, True, "last"], BeforeValidator(_no_number)]
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

    crop: Annotated[Int, Field(ge=0, le=4096)]
    conv_filters: Annotated[list[Width], Field(min_length=1, max_length=32)]
    conv_kernels: Annotated[list[Kernel], Field(min_length=1, max_length=32)]
    conv_bias: StrictBool
    halve_every: Annotated[Int, Field(ge=1, le=32)]
    downsampling: Literal["pool", "stride"]
    batch_normalization: Normalization
    dropout: Annotated[Float, Field(ge=0, lt=1)]
    dense_units: Annotated[Int, Field(ge=0, le=4096)]

    rotation: Annotated[Float, Field(ge=0, le=180)]
    zoom: Annotated[Float, Field(ge=0, le=0.9)]
    shift: Annotated[Float, Field(ge=0, le=4096)]
    distortion: Annotated[Float, Field(ge=0, le=4096)]

    epochs: Annotated[Int, Field(ge=1, le=100_000)]
    batch_size: Annotated[Int, Field(ge=1, le=1_000_000)]
    optimizer: Literal["adam", "adamw", "nadam", "rmsprop", "sgd"]
    beta_2: Annotated[Float, Field(ge=0, lt=1)]
    learning_rate: Annotated[Float, Field(gt=0, le=100)]
    learning_rate_schedule: Literal["constant", "cosine", "one_cycle"]
    loss: Loss
    label_smoothing: Annotated[Float, Field(ge=0, lt=1)]

    @model_validator(mode="after")
    def _a_kernel_for_each_convolution(self) -> "Recipe":
        if len(self.conv_kernels) != len(self.conv_filters):
            raise ValueError(
                f"conv_kernels has {len(self.conv_kernels)} numbers and conv_filters "
                f"{len(self.conv_filters)}: each convolution needs one of both"
            )
        return self
