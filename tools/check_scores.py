"""Recomputes the scores of a report from its saved masks, with other people's code, and compares them.

    synthfm evaluate ... --save-masks --out REPORT
    python tools/check_scores.py REPORT [--limit N]

DSC and IoU are counted by NumPy. HD95, ASSD and NSD come from MONAI if it can be imported, otherwise from SciPy's
distance transform by MONAI's definitions (border: mask minus its erosion by the four neighbours; HD95: the larger of
the two directed 95th percentiles; ASSD: mean over both borders; NSD: share of border pixels within the tolerance).
Prints the largest difference per score; exit code 1 if one exceeds 1e-4 (the distances: also 1e-4 of their value).
Needs numpy, scipy and Pillow; MONAI and torch where they are there.
"""
import argparse
import csv
import json
import pathlib
import sys

import numpy as np
from PIL import Image
from scipy import ndimage

try:
    import torch
    from monai.metrics import (
        compute_average_surface_distance,
        compute_hausdorff_distance,
        compute_surface_dice,
    )
except ImportError:
    torch = None

TOLERANCE = 1e-4


def read(path):
    return np.asarray(Image.open(path)) > 0


def border(mask):
    return mask & ~ndimage.binary_erosion(mask)


def by_scipy(prediction, truth, spacing, tolerance):
    edges = border(prediction), border(truth)
    to = [ndimage.distance_transform_edt(~edge, sampling=spacing) for edge in edges]
    there, back = to[1][edges[0]], to[0][edges[1]]
    both = np.concatenate([there, back])
    hd95 = max(np.percentile(there, 95), np.percentile(back, 95))
    return hd95, both.mean(), (both <= tolerance).mean()


def by_monai(prediction, truth, spacing, tolerance):
    p, t = (torch.from_numpy(m[None, None].astype(np.float32)) for m in (prediction, truth))
    hd95 = compute_hausdorff_distance(p, t, percentile=95, spacing=spacing)
    assd = compute_average_surface_distance(p, t, symmetric=True, spacing=spacing)
    nsd = compute_surface_dice(p, t, class_thresholds=[tolerance], spacing=spacing)
    return float(hd95), float(assd), float(nsd)


def scores(prediction, truth, spacing, tolerance):
    common, union = (prediction & truth).sum(), (prediction | truth).sum()
    result = {"dice": 2 * common / (prediction.sum() + truth.sum()), "iou": common / union}
    if not prediction.any():
        diagonal = float(np.hypot(*(n * s for n, s in zip(truth.shape, spacing))))
        return result | {"hd95": diagonal, "assd": diagonal, "nsd": 0.0}
    # The borders must not touch the edge of the array: outside counts as background.
    padded = np.pad(prediction, 1), np.pad(truth, 1)
    distances = (by_monai if torch else by_scipy)(*padded, spacing, tolerance)
    return result | dict(zip(("hd95", "assd", "nsd"), distances))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("report", type=pathlib.Path)
    parser.add_argument("--limit", type=int, default=None, help="check every k-th row, so that N are checked")
    args = parser.parse_args()
    options = json.loads((args.report / "summary.json").read_text())["options"]
    rows = [row for row in csv.DictReader(open(args.report / "results.csv")) if row["mask"]]
    if not rows:
        sys.exit("no row with a saved mask: evaluate with --save-masks")
    step = max(1, len(rows) // args.limit) if args.limit else 1
    rows = rows[::step]
    largest = {}
    for row in rows:
        known = bool(row["row_spacing_mm"])
        spacing = [float(row["row_spacing_mm"]), float(row["col_spacing_mm"])] if known else [1.0, 1.0]
        tolerance = options["nsd_tolerance_mm" if known else "nsd_tolerance_px"]
        prediction, truth = read(args.report / row["mask"]), read(args.report / row["truth_mask"])
        for name, value in scores(prediction, truth, spacing, tolerance).items():
            difference = abs(value - float(row[name])) / max(1.0, abs(value))
            if difference > largest.get(name, (-1.0,))[0]:
                largest[name] = (difference, row["dataset"], row["case"], row["structure"], row["prompt"])
    print(f"{len(rows)} rows, distances by {'MONAI' if torch else 'SciPy'}; largest differences:")
    for name, (difference, *where) in largest.items():
        print(f"  {name:5} {difference:.2e}  {' '.join(where)}")
    if max(difference for difference, *_ in largest.values()) > TOLERANCE:
        sys.exit("failed: the report and this script disagree")


if __name__ == "__main__":
    main()
