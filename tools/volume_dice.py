#!/usr/bin/env python3
"""Carry structures through volumes from one prompt each, and score the whole structure.

    tools/volume_dice.py SYNTHFM DATASET... [--prompts box click] [--min-slices 8] [--most 12] [-- MORE FLAGS]

DATASET is a data set in nnU-Net layout with NIfTI volumes. Of each structure on at least so many axial slices the largest
3-D component is the target, prompted on the slice of its largest area: by the box of the target there, or by its deepest
pixel. Prints mean 3-D Dice beside a floor, the true mask of that slice copied through the target's extent. Needs
nibabel, numpy and scipy.
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


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / max(a.sum() + b.sum(), 1))


def axial_last(volume: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, int]:
    """The array axis that runs along the body."""
    codes = nibabel.aff2axcodes(affine)
    return volume, next(n for n, code in enumerate(codes) if code in "SI")


def targets(labels: np.ndarray, axis: int, least: int) -> list[tuple[int, np.ndarray]]:
    """The largest 3-D component of each value that is on enough slices."""
    found = []
    others = tuple(a for a in range(3) if a != axis)
    for value in (int(v) for v in np.unique(labels) if v):
        parts, count = ndimage.label(labels == value, structure=np.ones((3, 3, 3)))
        if count == 0:
            continue
        sizes = np.bincount(parts.ravel())[1:]
        mask = parts == sizes.argmax() + 1
        if (mask.any(axis=others)).sum() >= least:
            found.append((value, mask))
    return found


def prompt_of(kind: str, mask: np.ndarray, axis: int) -> list[str]:
    """Flags of a prompt on the slice of the largest area, in array indices."""
    others = tuple(a for a in range(3) if a != axis)
    index = int(mask.sum(axis=others).argmax())
    slice_ = np.take(mask, index, axis=axis)
    if kind == "box":
        rows, cols = np.nonzero(slice_)
        return [f"--box={rows.min()},{cols.min()},{rows.max()},{cols.max()}", f"--slice={index}"]
    depth = ndimage.distance_transform_edt(np.pad(slice_, 1))[1:-1, 1:-1]
    i, j = np.unravel_index(depth.argmax(), depth.shape)
    return [f"--point={i},{j}", f"--slice={index}"]


def copied(mask: np.ndarray, axis: int) -> np.ndarray:
    """The true mask of the largest slice on every slice of the target."""
    others = tuple(a for a in range(3) if a != axis)
    areas = mask.sum(axis=others)
    one = np.take(mask, int(areas.argmax()), axis=axis)
    out = np.zeros_like(mask)
    for n in np.nonzero(areas)[0]:
        np.moveaxis(out, axis, 0)[n] = one
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("synthfm", type=Path)
    parser.add_argument("datasets", type=Path, nargs="+")
    parser.add_argument("--prompts", nargs="+", default=["box", "click"])
    parser.add_argument("--min-slices", type=int, default=8)
    parser.add_argument("--most", type=int, default=12, help="targets of a volume, the largest first")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--flags", nargs="*", default=[], help="more flags of predict, without their dashes")
    options = parser.parse_args()
    means: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for dataset in options.datasets:
            described = json.loads((dataset / "dataset.json").read_text())
            ending = described["file_ending"]
            images = next(p for p in (dataset / "imagesTs", dataset / "imagesTr") if p.is_dir())
            scores: dict[str, list[float]] = {}
            slices, milliseconds = 0, 0.0
            for image in sorted(images.glob(f"*_0000{ending}")):
                truth = dataset / images.name.replace("images", "labels") / image.name.replace("_0000", "")
                loaded = nibabel.load(truth)
                labels, axis = axial_last(np.asarray(loaded.dataobj).astype(int), loaded.affine)
                found = sorted(targets(labels, axis, options.min_slices), key=lambda t: -t[1].sum())[: options.most]
                for value, mask in found:
                    scores.setdefault("copied", []).append(dice(copied(mask, axis), mask))
                    for kind in options.prompts:
                        out = Path(folder) / "m.nii.gz"
                        flags = [f"--{flag}" for flag in options.flags]
                        command = [options.synthfm, "predict", image, "--volume", "-o", out, "--json", "-q"]
                        run = subprocess.run([*command, *prompt_of(kind, mask, axis), *flags], check=True, capture_output=True)
                        record = json.loads(run.stdout)
                        slices += len(record["slices"])
                        milliseconds += record["predict_ms"]
                        got = np.asarray(nibabel.load(out).dataobj) > 0
                        scores.setdefault(kind, []).append(dice(got, mask))
                        if options.verbose:
                            ends = "; ".join(f"{e['slice']}: {e['reason']}" for e in record["ends"])
                            extent = np.nonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))[0]
                            print(f"  {image.name} {value:>3} {kind:<6} {scores[kind][-1]:.3f} "
                                  f"truth {extent.min()}-{extent.max()} got {record['slices'][0]['slice']}-"
                                  f"{record['slices'][-1]['slice']} ({ends})")
            row = {name: sum(all_) / len(all_) for name, all_ in scores.items()}
            for name, mean in row.items():
                means.setdefault(name, []).append(mean)
            text = "  ".join(f"{name} {100 * mean:.1f}" for name, mean in row.items())
            count = len(scores.get("copied", []))
            print(f"{dataset.name:<28} {count:>3} targets  {text}  {milliseconds / max(slices, 1):.0f} ms/slice", flush=True)
    text = "  ".join(f"{name} {100 * sum(all_) / len(all_):.1f}" for name, all_ in means.items())
    print(f"{'mean of data sets':<28}      {text}")


if __name__ == "__main__":
    sys.exit(main())
