"""Types of the extension module."""

import os
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

__version__: str

_Path = str | os.PathLike[str]
_Axis = Literal["axial", "coronal", "sagittal"]
_Window = str | tuple[float, float]
_Frame = Literal["voxel", "display", "lps", "ras"]

class SliceRecord(TypedDict):
    slice: int
    score: float
    area_px: int

class Segment:
    @property
    def mask(self) -> NDArray[np.bool_]: ...
    @property
    def score(self) -> float: ...
    @property
    def crop(self) -> tuple[int, int, int, int] | None: ...
    @property
    def logits(self) -> NDArray[np.float32]: ...

class VolumeSegment:
    @property
    def mask(self) -> NDArray[np.bool_]: ...
    @property
    def slices(self) -> list[SliceRecord]: ...

class Scan:
    @property
    def array(self) -> NDArray[Any]: ...
    @property
    def affine(self) -> NDArray[np.float64]: ...
    @property
    def spacing(self) -> tuple[float, ...] | None: ...
    @property
    def modality(self) -> str | None: ...
    @property
    def format(self) -> str: ...
    @property
    def warnings(self) -> list[str]: ...
    @property
    def path(self) -> os.PathLike[str]: ...
    def __iter__(self) -> Iterator[Any]: ...

class Predictor:
    def __init__(
        self,
        model: _Path | None = None,
        device: str = "auto",
        *,
        precision: Literal["f32", "bf16", "f16", "auto"] = "f32",
        cache: _Path | None = None,
    ) -> None: ...
    def set_image(
        self,
        image: ArrayLike | Scan | _Path,
        image_format: Literal["RGB", "BGR"] = "RGB",
        *,
        slice: int | None = None,
        axis: _Axis = "axial",
        window: _Window | None = None,
        series: str | None = None,
    ) -> None: ...
    def reset_image(self) -> None: ...
    def predict(
        self,
        point_coords: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask_input: ArrayLike | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.float32]]: ...
    def segment(
        self,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        *,
        multimask: bool = False,
    ) -> Segment: ...
    def segment_volume(
        self,
        image: ArrayLike | Scan | _Path,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        *,
        frame: _Frame = "voxel",
        slice: int | None = None,
        axis: _Axis = "axial",
        window: _Window | None = None,
        series: str | None = None,
    ) -> VolumeSegment: ...
    @property
    def model(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def image(self) -> NDArray[np.uint8] | None: ...
    @property
    def is_image_set(self) -> bool: ...
    @property
    def original_size(self) -> tuple[int, int] | None: ...
    @property
    def image_size(self) -> int: ...
    @property
    def has_alternatives(self) -> bool: ...

class Generator:
    def __init__(self, name: _Path | None = None) -> None: ...
    @classmethod
    def of_json(cls, text: str) -> Generator: ...
    def to_json(self) -> str: ...
    @property
    def size(self) -> tuple[int, int]: ...
    def recipe(self, seed: int, index: int) -> str: ...
    def sample(self, seed: int, index: int, masks: bool) -> dict[str, Any]: ...

def read(path: _Path, *, series: str | None = None, max_memory: int | None = None) -> Scan: ...
def write(
    mask: ArrayLike,
    path: _Path,
    like: Scan | _Path | None = None,
    *,
    affine: ArrayLike | None = None,
    spacing: ArrayLike | None = None,
    slice: int | None = None,
    axis: _Axis = "axial",
    names: Mapping[int, str] | None = None,
    format: str | None = None,
) -> list[str]: ...
def dice(prediction: ArrayLike, truth: ArrayLike) -> float: ...
def hd95(prediction: ArrayLike, truth: ArrayLike, spacing: ArrayLike | None = None) -> float: ...
def assd(prediction: ArrayLike, truth: ArrayLike, spacing: ArrayLike | None = None) -> float: ...
def nsd(prediction: ArrayLike, truth: ArrayLike, tolerance: float, spacing: ArrayLike | None = None) -> float: ...
def evaluate(flags: list[str]) -> str: ...
def run_program(arguments: list[str]) -> int: ...
