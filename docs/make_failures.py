#!/usr/bin/env python3
"""Makes docs/failures.png: where the built-in model does worst on public images (HC18 and FIVES, CC BY 4.0; BBBC038, CC0).

    python3 docs/make_failures.py target/release/synthfm      # needs Pillow, and ../shared/data/real-dev

For each data set and prompt setting the case of the lowest Dice: truth green, answer orange, clicks green (on the structure)
and red (beside it).
"""

import csv
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "../shared/data/real-dev"
SETS = ["Dataset101_Hc18", "Dataset131_Dsb2018", "Dataset137_Fives"]
SETTINGS = ["1,0", "3,2"]
SIDE, GAP, TEXT = 320, 6, 16


def outline(mask: Image.Image) -> Image.Image:
    return ImageChops.difference(mask, mask.filter(ImageFilter.MinFilter(3)))


def panel(report: Path, row: dict) -> Image.Image:
    picture = Image.open(next((DATA / row["dataset"] / "imagesTs").glob(f"{row['case']}_0000.*"))).convert("RGB")
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    original = Image.open(report / row["mask"])
    for name, colour in [("truth_mask", (60, 220, 80)), ("mask", (255, 160, 0))]:
        mask = Image.open(report / row[name]).convert("L").point(lambda v: 255 if v else 0)
        mask = mask.resize(picture.size, Image.Resampling.NEAREST)
        picture.paste(Image.new("RGB", picture.size, colour), mask=outline(mask))
    draw = ImageDraw.Draw(picture)
    scale = picture.width / original.width
    for click in row["clicks"].split():
        x, y = (float(v) * scale for v in click[1:].split(":"))
        colour = (60, 220, 80) if click[0] == "+" else (255, 60, 60)
        draw.ellipse([x - 4, y - 4, x + 4, y + 4], fill=colour, outline="white")
    framed = Image.new("RGB", (SIDE, SIDE + TEXT), "black")
    framed.paste(picture, ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2))
    text = f"{row['structure']}, ({row['prompt']}): Dice {100 * float(row['dice']):.0f} %"
    ImageDraw.Draw(framed).text((4, SIDE + 2), text, fill="white")
    return framed


def main(synthfm: str, *options: str) -> None:
    if not DATA.is_dir():
        sys.exit(f"{DATA} is not here")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        evaluate = [synthfm, "evaluate", "-q", "--data", *(DATA / name for name in SETS), "--save-masks", "--out", report]
        subprocess.run([*evaluate, "--prompts", *SETTINGS, "--negatives", "ring", *options], check=True)
        with open(report / "results.csv", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["dice"] and row["mask"]]
        worst = {}
        for row in sorted(rows, key=lambda row: float(row["dice"])):
            worst.setdefault((row["prompt"], row["dataset"]), row)
        panels = [[panel(report, worst[setting, name]) for name in SETS] for setting in SETTINGS]
    sheet = Image.new("RGB", (len(SETS) * (SIDE + GAP) - GAP, len(SETTINGS) * (SIDE + TEXT + GAP) - GAP), "white")
    for i, line in enumerate(panels):
        for j, picture in enumerate(line):
            sheet.paste(picture, (j * (SIDE + GAP), i * (SIDE + TEXT + GAP)))
    sheet.save(ROOT / "docs/failures.png", optimize=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
