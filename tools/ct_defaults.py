#!/usr/bin/env python3
"""Click on the structures of a CT by array indices, with no other flag, and score the masks.

    tools/ct_defaults.py SYNTHFM DATASET [--case CASE] [--largest 40]

DATASET is a data set in nnU-Net layout with CT volumes. For each structure the slice with its largest area is taken, and
the pixel of it that lies deepest inside; nibabel's array indices of that pixel go into a prompts file as they are. The
mean Dice of the slices is printed for the default window and for percentiles. Needs nibabel, numpy and scipy.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage


def prompts_of(labels: np.ndarray, image: str, names: dict[int, str]) -> list[dict]:
    """One click per structure, in the deepest pixel of its largest slice along the last axis."""
    entries = []
    for value in sorted(int(v) for v in np.unique(labels) if v):
        mask = labels == value
        k = int(mask.sum(axis=(0, 1)).argmax())
        depth = ndimage.distance_transform_edt(np.pad(mask[:, :, k], 1))[1:-1, 1:-1]
        i, j = (int(v) for v in np.unravel_index(depth.argmax(), depth.shape))
        entries.append({"image": image, "id": f"{value}_{names.get(value, '')}", "points": [[i, j, k]], "value": value})
    return entries


def largest_component(mask: np.ndarray, at: tuple[int, int]) -> np.ndarray:
    """The 8-connected component under a pixel."""
    parts, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    return parts == parts[at]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("synthfm", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--case", help="one case; all are taken if absent")
    parser.add_argument("--largest", type=int, default=40, help="structures that count, the largest first")
    options = parser.parse_args()
    described = json.loads((options.dataset / "dataset.json").read_text())
    names = {v: n for n, v in described["labels"].items() if isinstance(v, int)}
    ending = described["file_ending"]
    images = next(p for p in (options.dataset / "imagesTs", options.dataset / "imagesTr") if p.is_dir())
    truths = options.dataset / images.name.replace("images", "labels")
    cases = [options.case] if options.case else sorted(p.name.removesuffix(f"_0000{ending}") for p in images.glob(f"*_0000{ending}"))
    found: dict[str, list[tuple[int, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            labels = np.asarray(nibabel.load(truths / f"{case}{ending}").dataobj).astype(int)
            image = f"{case}_0000{ending}"
            entries = prompts_of(labels, image, names)
            file = Path(folder) / "prompts.json"
            file.write_text(json.dumps([{k: v for k, v in e.items() if k != "value"} for e in entries]))
            for window in ([], ["--window", "percentiles"]):
                out = Path(folder) / f"out{len(window)}-{case}"
                command = [options.synthfm, "predict", images, "--prompts", file, "-o", out, "--quiet", *window]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                for entry in entries:
                    i, j, k = entry["points"][0]
                    name = f"{case}_0000__{entry['id']}.nii.gz"
                    mask = np.asarray(nibabel.load(out / name).dataobj)[:, :, k] > 0
                    truth = largest_component(labels[:, :, k] == entry["value"], (i, j))
                    dice = 2 * (mask & truth).sum() / max(mask.sum() + truth.sum(), 1)
                    name = " ".join(window) or "no flag"
                    found.setdefault(name, []).append((int(truth.sum()), float(dice)))
    for name, scores in found.items():
        scores = sorted(scores, reverse=True)[: options.largest]
        mean = sum(dice for _, dice in scores) / len(scores)
        print(f"{name:<22} {len(scores)} structures, mean Dice {mean:.3f}")


if __name__ == "__main__":
    sys.exit(main())
