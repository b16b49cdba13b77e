import os
from typing import Any

from numpy.typing import ArrayLike

from ._synthfm import Scan, VolumeSegment

def segment_volume(
    image: ArrayLike | Scan | str | os.PathLike[str],
    points: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    box: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    *,
    model: str | os.PathLike[str] | None = None,
    device: str = "auto",
    **options: Any,
) -> VolumeSegment: ...
