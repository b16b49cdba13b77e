import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_Config = str | os.PathLike[str] | Mapping[str, Any] | None

def generate(config: _Config = None, seed: int = 0, index: int = 0) -> dict[str, Any]: ...
def recipe(config: _Config = None, seed: int = 0, index: int = 0) -> dict[str, Any]: ...

class Dataset:
    seed: int
    size: int
    start: int
    masks: bool
    transform: Callable[[dict[str, Any]], Any] | None
    def __init__(
        self,
        config: _Config = None,
        seed: int = 0,
        size: int = 1000,
        *,
        start: int = 0,
        masks: bool = False,
        transform: Callable[[dict[str, Any]], Any] | None = None,
    ) -> None: ...
    @property
    def config(self) -> dict[str, Any]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...
    def stream(self) -> Any: ...
