"""The recipe of a training: what a file in recipes/ may set, the network's section aside."""

from typing import Annotated, Literal

from pydantic import Field, StrictBool

from convline.params import Float, Int, Schema


class Recipe(Schema):
    """The parameters of training. params.yaml says what each means."""

    network: str

    rotation: Annotated[Float, Field(ge=0, le=180)]
    zoom: Annotated[Float, Field(ge=0, le=0.9)]
    shift: Annotated[Float, Field(ge=0, le=4096)]
    distortion: Annotated[Float, Field(ge=0, le=4096)]
    flip: StrictBool
    fog: Annotated[Float, Field(ge=0, le=10)]
    cutout: Annotated[Float, Field(ge=0, lt=1)]
    noise: Annotated[Float, Field(ge=0, le=1)]
    average_mirrored: StrictBool

    epochs: Annotated[Int, Field(ge=1, le=100_000)]
    batch_size: Annotated[Int, Field(ge=1, le=1_000_000)]
    optimizer: Literal["adam", "adamw", "nadam", "rmsprop", "sgd"]
    beta_2: Annotated[Float, Field(ge=0, lt=1)]
    momentum: Annotated[Float, Field(ge=0, lt=1)]
    weight_decay: Annotated[Float, Field(ge=0, lt=1)]
    learning_rate: Annotated[Float, Field(gt=0, le=100)]
    learning_rate_schedule: Literal["constant", "cosine", "one_cycle"]
    loss: Literal[
        "categorical_crossentropy",
        "categorical_focal_crossentropy",
        "kl_divergence",
        "mean_squared_error",
    ]
    label_smoothing: Annotated[Float, Field(ge=0, lt=1)]
    class_weight: Literal["none", "balanced"]
