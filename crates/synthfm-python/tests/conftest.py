"""What the tests of the Python module share.

Run by tools/python_test, or with the wheel installed: python -m pytest crates/synthfm-python/tests
SYNTHFM_PROGRAM names the program that answers are compared with; by default it is the wheel's console script.
"""

import json
import os
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest

import synthfm

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "Dataset001_Example"
FIXTURES = Path(__file__).resolve().parents[2] / "synthfm-image" / "tests" / "fixtures"
CONSOLE_SCRIPT = Path(sysconfig.get_path("scripts")) / "synthfm"


def run(program, *arguments, folder=None):
    """Runs a program that must succeed; its standard output."""
    done = subprocess.run([program, *map(str, arguments)], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def program():
    """Runs the program and returns what --json prints."""
    name = os.environ.get("SYNTHFM_PROGRAM", CONSOLE_SCRIPT)
    return lambda *arguments: json.loads(run(name, *arguments, "--json", "--quiet"))


@pytest.fixture(scope="session")
def predictor():
    return synthfm.Predictor()


@pytest.fixture
def kidney():
    return EXAMPLES / "imagesTs" / "kidney_0000.png"


@pytest.fixture
def volume(tmp_path):
    """A file of 60 x 44 x 5 voxels of 0.5 x 0.75 x 3 mm with a disc on every slice, and its array."""
    i, j, k = np.mgrid[:60, :44, :5]
    disc = (i - 29) ** 2 + (j - 19) ** 2 < 10**2
    values = np.where(disc, 180, 60) + (7 * i + 11 * j + 3 * k) % 9
    path = tmp_path / "volume.nii.gz"
    affine = np.diag([-0.5, -0.75, 3, 1.0])
    affine[:3, 3] = [10, 20, -30]
    synthfm.write(values, path, affine=affine)
    return path, values.astype(np.float32), affine
