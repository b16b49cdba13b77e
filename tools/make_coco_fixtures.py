"""Records the masks that pycocotools makes of COCO segmentations: polygons, run lengths, compressed run lengths.

Run by hand: python tools/make_coco_fixtures.py > crates/synthfm-eval/src/dataset/fixtures/coco.json
Needs numpy and pycocotools.
"""
import json

import numpy as np
from pycocotools import mask as coco


def star(centre, radii, corners, seed):
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radius = rng.uniform(*radii, corners)
    points = np.stack([centre[0] + radius * np.cos(angles), centre[1] + radius * np.sin(angles)], 1)
    return [round(float(v), 2) for v in points.ravel()]


def decoded(segmentation, height, width):
    if isinstance(segmentation, list):
        rle = coco.merge(coco.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        rle = coco.frPyObjects(segmentation, height, width)
    else:
        rle = segmentation
    return "".join(str(v) for v in coco.decode(rle).ravel())


blob = np.asfortranarray(np.random.default_rng(3).random((11, 17)) > 0.6, dtype=np.uint8)
compressed = coco.encode(blob)
compressed["counts"] = compressed["counts"].decode()
CASES = [
    ("triangle", (9, 12), [[1, 1, 10.5, 2.2, 4, 7.9]]),
    ("rectangle on pixel edges", (7, 10), [[2, 1, 6, 1, 6, 5, 2, 5]]),
    ("star", (20, 31), [star((15, 10), (3, 9), 11, 1)]),
    ("star of many corners", (23, 17), [star((8, 11), (2, 8), 40, 2)]),
    ("two parts that overlap", (15, 15), [star((6, 6), (3, 5), 7, 4), star((8, 9), (2, 5), 6, 5)]),
    ("beyond the image", (10, 14), [[-3.5, 2, 20, -4, 16.2, 15, 5, 11.5]]),
    ("crossing itself", (12, 12), [[1, 1, 10, 10, 10, 1, 1, 10]]),
    ("thinner than a pixel", (8, 8), [[1.2, 1.3, 6.6, 1.4, 6.6, 1.5]]),
    ("run lengths", (4, 6), {"size": [4, 6], "counts": [3, 2, 5, 1, 13]}),
    ("compressed run lengths", (11, 17), compressed),
]
print(
    json.dumps(
        {
            "cases": [
                {"name": name, "size": list(size), "segmentation": shape, "mask": decoded(shape, *size)}
                for name, size, shape in CASES
            ]
        },
        indent=1,
    )
)
