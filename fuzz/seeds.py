#!/usr/bin/env python3
"""Takes the seeds of the fuzz targets `jpeg2000` and `dicom_deflated` out of DICOM files: `seeds.py KIND FOLDER FILE...`."""

import sys
import zlib
from pathlib import Path


def code_stream(data):
    """The first JPEG 2000 code stream, from its first marker to its last."""
    start = data.index(b"\xff\x4f\xff\x51")
    return data[start : data.rindex(b"\xff\xd9") + 2]


def inflated(data):
    """The data set behind the file meta information, whose length its first element tells."""
    length = int.from_bytes(data[140:144], "little")
    return zlib.decompress(data[144 + length :], -15)


def main():
    kind, folder = sys.argv[1], Path(sys.argv[2])
    inner = {"jpeg2000": code_stream, "deflated": inflated}[kind]
    for name in sys.argv[3:]:
        (folder / Path(name).stem).write_bytes(inner(Path(name).read_bytes()))


if __name__ == "__main__":
    main()
