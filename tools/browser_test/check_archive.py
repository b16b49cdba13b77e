"""Reads the archive of all cases with nibabel, as a user of nnU-Net would.

    python3 check_archive.py ARCHIVE FOLDER_OF_IMAGES NAME=VALUE...

Fails unless each image of the folder (CASE_0000.nii) has labelsTr/CASE.nii.gz with its shape, its affine and something
marked, and dataset.json has the names with the values.
"""

import json
import sys
import tempfile
import zipfile
from pathlib import Path

import nibabel
import numpy as np


def main(archive: str, images: str, *names: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(archive) as file:
            listed = sorted(file.namelist())
            file.extractall(folder)
        root = Path(folder)
        manifest = json.loads((root / "dataset.json").read_text())
        expected = {"background": 0} | {name: int(value) for name, value in (n.split("=") for n in names)}
        assert manifest["labels"] == expected, manifest
        assert manifest["file_ending"] == ".nii.gz", manifest
        labels = [name for name in listed if name.startswith("labelsTr/")]
        assert manifest["numTraining"] == len(labels), (manifest, listed)
        checked = 0
        for path in sorted(Path(images).glob("*_0000.nii")):
            case = path.name.removesuffix("_0000.nii")
            image = nibabel.load(path)
            label = nibabel.load(root / "labelsTr" / f"{case}.nii.gz")
            assert label.shape == image.shape, case
            assert np.array_equal(label.affine, image.affine), (case, label.affine, image.affine)
            values = set(np.unique(np.asarray(label.dataobj)).tolist())
            assert values - {0} and values <= set(expected.values()), (case, values)
            checked += 1
        print(f"{checked} label files read by nibabel {nibabel.__version__}, of {listed}")


main(*sys.argv[1:])
