"""Promptable segmentation of medical images, trained on synthetic images alone.

    import synthfm

    predictor = synthfm.Predictor()
    predictor.set_image("scan.png")
    mask = predictor.segment(points=[(120, 90)]).mask

Arrays are NumPy's: pictures are ``[row, column]``, volumes ``[i, j, k]`` as nibabel has them. Points of pictures are
``(x, y)`` in pixels: x to the right, y down, (0, 0) at the centre of the top-left pixel. Lengths are millimetres.

For research use only. synthfm is not a medical device: do not use it for diagnosis or treatment.
"""

from ._data import Dataset, generate, recipe
from ._errors import (
    DeviceError,
    FileError,
    FormatError,
    LimitError,
    MissingFileError,
    ModelError,
    SynthfmError,
    UsageError,
)
from ._evaluation import evaluate
from ._program import _main
from ._synthfm import (
    Predictor,
    Scan,
    Segment,
    VolumeSegment,
    __version__,
    assd,
    dice,
    hd95,
    nsd,
    read,
    write,
)
from ._volume import segment_volume

__all__ = [
    "Dataset",
    "DeviceError",
    "FileError",
    "FormatError",
    "LimitError",
    "MissingFileError",
    "ModelError",
    "Predictor",
    "Scan",
    "Segment",
    "SynthfmError",
    "UsageError",
    "VolumeSegment",
    "__version__",
    "assd",
    "dice",
    "evaluate",
    "generate",
    "hd95",
    "nsd",
    "read",
    "recipe",
    "segment_volume",
    "write",
]
