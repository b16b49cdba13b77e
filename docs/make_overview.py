#!/usr/bin/env python3
"""Makes docs/overview.png with the program itself: synthetic samples, and two predictions after one box each.

    python3 docs/make_overview.py target/release/synthfm      # needs Pillow
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "examples/Dataset001_Example/imagesTs"
BOXES = {"fetal_head_0000.png": "222,120,632,467", "kidney_0000.png": "70,179,180,321"}
HEIGHT, GAP = 402, 8


def scaled(path: Path) -> Image.Image:
    picture = Image.open(path).convert("RGB")
    return picture.resize((round(picture.width * HEIGHT / picture.height), HEIGHT), Image.Resampling.LANCZOS)


def main(synthfm: str, *options: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        sheet = work / "sheet.png"
        generate = ["generate", "--preview", sheet, "--count", "9", "--seed", "1", "--size", "192x256"]
        subprocess.run([synthfm, *generate], check=True)
        pictures = [scaled(sheet)]
        for name, box in BOXES.items():
            files = ["-o", work / "mask.png", "--overlay", work / name]
            subprocess.run([synthfm, "predict", IMAGES / name, "--box", box, *files, *options], check=True)
            pictures.append(scaled(work / name))
    width = sum(picture.width for picture in pictures) + GAP * (len(pictures) - 1)
    overview = Image.new("RGB", (width, HEIGHT), "white")
    x = 0
    for picture in pictures:
        overview.paste(picture, (x, 0))
        x += picture.width + GAP
    overview.save(ROOT / "docs/overview.png", optimize=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
