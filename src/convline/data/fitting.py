"""Fitting: from the bytes of a picture file to what an exported model takes.

Whatever asks a model, and whatever measures it, goes through `fit`.
"""

import numpy as np
import numpy.typing as npt

from convline.data import ink, pictures
from convline.data.pictures import Form
from convline.exported import About

Bytes = npt.NDArray[np.uint8]


def fit(content: bytes, about: About) -> Bytes:
    """The picture in `content` as the model that `about` describes takes it.

    (height, width, channels), uint8. For a model of ink, any picture is made to look like one of
    its dataset; those that do are left as they are. Raises `Unreadable`.
    """
    if not about.ink:
        return pictures.decode(content, Form(about.shape, about.fit, about.background))
    shape = about.shape[:2]
    # Larger than an image of the dataset: none that is scaled to fit has its shape
    picture = pictures.decode_grey(content, max(ink.SIDE, 2 * max(shape)))
    fitted = picture if ink.has_form(picture, shape) else ink.centred(picture, shape, about.ink)
    return fitted[..., None]
