#!/usr/bin/env python3
"""How fast a CT series of 512 x 512 x 300 is read: synthfm, SimpleITK and nibabel in one run.

    venv/bin/pip install nibabel==5.4.2 SimpleITK==2.5.7 pydicom==3.0.2
    venv/bin/python tools/read_speed.py            # makes 340 MB in a temporary folder

First from the system's cache, then from the disk (Linux): the files are taken out of the cache before every turn, which
is checked. `bytes alone` reads the same files in order and inflates them, without keeping anything; it takes turns with
synthfm. For NIfTI the peers are timed with and without the conversion to float32 that synthfm's reading includes.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import SimpleITK as sitk

REPEATS = 5
ROOT = Path(__file__).resolve().parent.parent


def evict(path):
    """Takes a file, or those in a folder, out of the system's cache; fails if some stay."""
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        with open(file, "rb") as opened:
            os.fsync(opened)
            for attempt in range(100):
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                try:
                    os.preadv(opened.fileno(), [bytearray(1)], file.stat().st_size // 2, os.RWF_NOWAIT)
                except BlockingIOError:
                    break
                time.sleep(0.02)
            else:
                sys.exit(f"{file} stays in the cache")


def median_s(run, path, cold):
    times = []
    for _ in range(REPEATS):
        if cold:
            evict(path)
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def volume(slices):
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:512, :512]
    body = np.hypot((x - 256) / 200, (y - 256) / 150) < 1
    plane = np.where(body, 40, -1000)
    noise = rng.normal(0, 12, (8, 512, 512))
    return np.stack([plane + noise[k % 8] * body for k in range(slices)]).astype(np.int16)


def write_series(folder, values):
    folder.mkdir()
    template = next((ROOT / "crates/synthfm-image/tests/fixtures/formats/dicom_axial").glob("*.dcm"))
    for k, plane in enumerate(values):
        d = pydicom.dcmread(template)
        d.Rows, d.Columns, d.BitsStored, d.HighBit = 512, 512, 16, 15
        d.RescaleSlope, d.RescaleIntercept = "1", "0"
        d.InstanceNumber, d.SOPInstanceUID = k + 1, f"2.25.78.{k}"
        d.ImagePositionPatient, d.PixelSpacing = [-200, -200, 1.5 * k], [0.8, 0.8]
        d.PixelData = plane.tobytes()
        d.save_as(folder / f"{k:04}.dcm")


def main():
    slices = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        values = volume(slices)
        write_series(scratch / "series", values)
        image = nibabel.Nifti1Image(values.T, np.diag([-0.8, -0.8, 1.5, 1]))
        nibabel.save(image, scratch / "ct.nii")
        nibabel.save(image, scratch / "ct.nii.gz")
        paths = [scratch / name for name in ["series", "ct.nii", "ct.nii.gz"]]
        def itk_series():
            reader = sitk.ImageSeriesReader()
            reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(paths[0])))
            sitk.GetArrayViewFromImage(reader.Execute())

        peers = {
            "series": {"SimpleITK": itk_series},
            "ct.nii": {
                "SimpleITK": lambda: sitk.ReadImage(str(paths[1])),
                "nibabel": lambda: np.asarray(nibabel.load(paths[1], mmap=False).dataobj),
                "nibabel float32": lambda: nibabel.load(paths[1], mmap=False).get_fdata(dtype=np.float32),
            },
            "ct.nii.gz": {
                "SimpleITK": lambda: sitk.ReadImage(str(paths[2])),
                "nibabel": lambda: np.asarray(nibabel.load(paths[2]).dataobj),
                "nibabel float32": lambda: nibabel.load(paths[2]).get_fdata(dtype=np.float32),
            },
        }
        for cold in [False, True] if hasattr(os, "posix_fadvise") else [False]:
            print("from the disk" if cold else "from the cache")
            bench = subprocess.run(
                ["cargo", "bench", "-q", "-p", "synthfm-image", "--bench", "read", "--"]
                + ["--cold"] * cold + [str(path) for path in paths],
                cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True,
            )
            ours = [json.loads(line) for line in bench.stdout.splitlines() if line.startswith("{")]
            for path, line in zip(paths, ours, strict=True):
                alone = line["bytes_alone_s"]
                share = alone / line["read_s"]
                print(f"{path.name:<10} synthfm {line['read_s']:.3f} s; bytes alone {alone:.3f} s ({share:.0%})")
                for peer, run in peers[path.name].items():
                    print(f"{'':<10} {peer} {median_s(run, path, cold):.3f} s")


main()
