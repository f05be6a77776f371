"""Fitting: from the bytes of a picture file to what an exported model takes.

Whatever a picture is for, the answer, the page or the measurement, goes through `fit`.
"""

import numpy as np
import numpy.typing as npt

from convline.data import pictures
from convline.data.pictures import Form
from convline.exported import About

Bytes = npt.NDArray[np.uint8]


def fit(content: bytes, about: About) -> Bytes:
    """The picture in `content` as the model that `about` describes takes it.

    (height, width, channels), uint8. Raises `Unreadable`.
    """
    return pictures.decode(content, Form(about.shape, about.fit, about.background))
