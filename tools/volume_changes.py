#!/usr/bin/env python3
"""How structures change from slice to slice, in real volumes and in synthetic ones.

    python tools/volume_changes.py FOLDER [FOLDER ...]     # nnU-Net folders; needs nibabel and numpy

For each label that lies in at least five slices, each pair of neighbouring slices gives three numbers:

- area: |ln of the ratio of both areas| per step, a step being the distance of the slices over the structure's radius
  (that of a disc of its largest area);
- place: shift of the centroid over the distance of the slices;
- grey: |difference of the means inside| over the standard deviation of the volume.

Slices are taken along the axis of the largest spacing, or the last. Printed are the quantiles 10, 50 and 90 % over all
pairs, every structure with the same weight. A step that is much longer on one side than on the other is no comparison:
its median is printed too.
"""

import glob
import os
import sys

import nibabel
import numpy as np


def weighted_quantiles(values, weights, shares=(0.1, 0.5, 0.9)):
    order = np.argsort(values)
    values, cumulative = values[order], np.cumsum(weights[order])
    return [values[np.searchsorted(cumulative, share * cumulative[-1])] for share in shares]


def changes(image, mask, spacing):
    """Rows of step, area, place, grey for the slices of one structure along the last axis."""
    areas = mask.sum((0, 1)) * spacing[0] * spacing[1]
    there = np.flatnonzero(areas)
    if len(there) < 5:
        return []
    step = spacing[2] / np.sqrt(areas.max() / np.pi)
    spread = max(float(image.std()), 1e-9)
    rows, before = [], None
    for k in there:
        x, y = np.nonzero(mask[:, :, k])
        own = (areas[k], np.mean(x) * spacing[0], np.mean(y) * spacing[1], float(image[:, :, k][x, y].mean()), k)
        if before is not None and before[4] == k - 1:
            rows.append((
                step,
                abs(np.log(own[0] / before[0])) / step,
                np.hypot(own[1] - before[1], own[2] - before[2]) / spacing[2],
                abs(own[3] - before[3]) / spread,
            ))
        before = own
    return rows


def cases(folder):
    for part in ("Tr", "Ts"):
        for path in sorted(glob.glob(f"{folder}/labels{part}/*.nii.gz")):
            image = path.replace(f"labels{part}", f"images{part}").replace(".nii.gz", "_0000.nii.gz")
            if os.path.exists(image):
                yield image, path


def measure(folder):
    structures = []
    for image_path, label_path in cases(folder):
        image, labels = nibabel.load(image_path), nibabel.load(label_path)
        if image.shape != labels.shape or len(labels.shape) != 3:
            continue
        spacing = np.array(labels.header.get_zooms()[:3], float)
        axis = int(np.argmax(spacing)) if spacing.max() > 1.05 * spacing.min() else 2
        to_last = lambda a: np.moveaxis(a, axis, 2)
        grey = to_last(np.asarray(image.dataobj, dtype=np.float32))
        values = to_last(np.asarray(labels.dataobj).astype(np.int32))
        spacing = np.append(np.delete(spacing, axis), spacing[axis])
        for value in np.unique(values[values > 0]):
            rows = changes(grey, values == value, spacing)
            if rows:
                structures.append(np.array(rows))
    return structures


def main(folders):
    for folder in folders:
        structures = measure(folder)
        if not structures:
            print(f"{folder}: no structure in five slices")
            continue
        rows = np.concatenate(structures)
        weights = np.concatenate([np.full(len(s), 1 / len(s)) for s in structures])
        print(f"{folder}: {len(structures)} structures, {len(rows)} pairs of slices")
        for column, name in enumerate(("step", "area", "place", "grey")):
            low, middle, high = weighted_quantiles(rows[:, column], weights)
            print(f"  {name:6} {low:8.3f} {middle:8.3f} {high:8.3f}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1:])
