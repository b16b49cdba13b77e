import os
from collections.abc import Sequence
from typing import Any

_Path = str | os.PathLike[str]

def evaluate(
    data: _Path | Sequence[_Path],
    model: _Path | Sequence[_Path] = "embedded",
    *,
    out: _Path | None = None,
    **options: Any,
) -> dict[str, Any]: ...
