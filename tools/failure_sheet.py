#!/usr/bin/env python3
"""Sheets of what a model gets wrong, to be counted by eye: truth green, answer red, clicks cyan (on it) and magenta (beside it).

    synthfm evaluate --data real-dev/Dataset* --prompts 1,0 3,2 box --negatives ring --save-masks --out report
    python3 tools/failure_sheet.py report real-dev sheets --below 90       # needs Pillow and NumPy

A sheet for each modality and prompt setting: targets whose Dice is below the bound, drawn at random from a seed, a crop
around truth and answer each. Slices of volumes are left out.
"""

import argparse
import csv
import random
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIDE, TEXT, COLUMNS = 320, 20, 6
GREEN, RED = (60, 255, 60), (255, 60, 60)


def outline(mask):
    edge = np.zeros_like(mask)
    edge[:-1] |= mask[:-1] != mask[1:]
    edge[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    return edge


def grey(path):
    """The image as floating-point numbers, colours as their mean."""
    values = np.asarray(Image.open(path)).astype(float)
    return values[..., :3].mean(-1) if values.ndim == 3 else values


def window(masks, shape):
    """Rows and columns of a square around all masks, with room."""
    rows, cols = np.nonzero(np.any(masks, axis=0))
    side = int(max(np.ptp(rows), np.ptp(cols)) * 1.3) + 8
    spans = []
    for middle, length in zip(((rows.min() + rows.max()) // 2, (cols.min() + cols.max()) // 2), shape):
        start = max(0, middle - side // 2)
        spans.append(slice(start, min(length, start + side)))
    return spans


def panel(report, data, row):
    """A picture of one target; None for slices of volumes."""
    files = sorted((data / row["dataset"] / "imagesTs").glob(f"{row['case']}_0000.*"))
    if not files or files[0].suffix not in (".png", ".bmp", ".jpg", ".tif"):
        return None
    image = grey(files[0])
    truth, answer = (np.asarray(Image.open(report / row[name]).convert("L")) > 0 for name in ("truth_mask", "mask"))
    if image.shape != truth.shape or not (truth | answer).any():
        return None
    rows, cols = window([truth, answer], image.shape)
    crop = image[rows, cols]
    low, high = np.percentile(crop, [1, 99])
    crop = np.clip((crop - low) / max(high - low, 1e-9), 0, 1) * 255
    scale = SIDE / max(crop.shape)
    size = tuple(max(1, int(length * scale)) for length in crop.shape[::-1])
    picture = np.array(Image.fromarray(crop.astype(np.uint8)).resize(size, Image.BILINEAR).convert("RGB"))
    for mask, colour in ((answer, RED), (truth, GREEN)):
        large = Image.fromarray(mask[rows, cols].astype(np.uint8)).resize(size, Image.NEAREST)
        picture[outline(np.asarray(large) > 0)] = colour
    framed = Image.new("RGB", (SIDE + 8, SIDE + TEXT + 4))
    framed.paste(Image.fromarray(picture), (0, TEXT))
    draw = ImageDraw.Draw(framed)
    draw.text((2, 3), f"{row['dataset'][7:]} {row['structure']} {row['case']} {100 * float(row['dice']):.0f}"[:56], "white")
    for click in row["clicks"].split():
        x, y = (float(v) for v in click[1:].split(":"))
        x, y = (x - cols.start) * scale, (y - rows.start) * scale + TEXT
        draw.ellipse([x - 3, y - 3, x + 3, y + 3], fill="cyan" if click[0] == "+" else "magenta")
    return framed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="what evaluate --save-masks wrote")
    parser.add_argument("data", type=Path, help="the folder of the data sets")
    parser.add_argument("out", type=Path, help="a folder for the sheets")
    parser.add_argument("--below", type=float, default=90.0, help="Dice in %% (90)")
    parser.add_argument("--count", type=int, default=24, help="targets of a sheet (24)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with open(args.report / "results.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["dice"] and row["mask"]]
    args.out.mkdir(parents=True, exist_ok=True)
    for kind in sorted({(row["modality"], row["prompt"]) for row in rows}):
        poor = [row for row in rows if (row["modality"], row["prompt"]) == kind and 100 * float(row["dice"]) < args.below]
        random.Random(args.seed).shuffle(poor)
        panels = (panel(args.report, args.data, row) for row in poor)
        panels = [picture for picture in panels if picture][: args.count]
        if not panels:
            continue
        width, height = panels[0].size
        sheet = Image.new("RGB", (COLUMNS * width, -(-len(panels) // COLUMNS) * height))
        for i, picture in enumerate(panels):
            sheet.paste(picture, (i % COLUMNS * width, i // COLUMNS * height))
        name = "-".join(kind).replace(",", "+").lower() + ".png"
        sheet.save(args.out / name)
        print(f"{args.out / name}: {len(panels)} of {len(poor)} below {args.below:.0f} %")


if __name__ == "__main__":
    main()
