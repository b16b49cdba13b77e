// Inputs of the test of many cases: volumes of every orientation, and a DICOM series of the fixtures.

import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const SIZE = [20, 16, 12];

/** NIfTI's rows (towards right, front and head) of voxels of 1 × 1.5 × 2 mm, with what the page must say of the axial plane. */
export const ORIENTATIONS = {
  ras: {
    rows: [
      [1, 0, 0, -10],
      [0, 1.5, 0, -12],
      [0, 0, 2, -5],
    ],
    // The view is radiological: the patient's right on the left.
    letters: ["R", "L", "A", "P"],
  },
  lps: {
    rows: [
      [-1, 0, 0, 10],
      [0, -1.5, 0, 12],
      [0, 0, 2, -5],
    ],
    letters: ["R", "L", "A", "P"],
  },
  // Turned by 30 degrees around the axis to the head.
  oblique: {
    rows: [
      [-0.8660254, 0.75, 0, 10],
      [-0.5, -1.2990381, 0, 12],
      [0, 0, 2, -5],
    ],
    letters: ["RA", "LP", "AL", "PR"],
  },
};

/** A ball in noise, on a grid of an orientation; `greys` are the values inside and around. */
function nifti(rows, seed, greys = [200, 50]) {
  const [nx, ny, nz] = SIZE;
  const bytes = Buffer.alloc(352 + 2 * nx * ny * nz);
  bytes.writeInt32LE(348, 0);
  [3, nx, ny, nz, 1, 1, 1, 1].forEach((v, n) => bytes.writeInt16LE(v, 40 + 2 * n));
  bytes.writeInt16LE(4, 70);
  bytes.writeInt16LE(16, 72);
  [1, 1, 1.5, 2, 0, 0, 0, 0].forEach((v, n) => bytes.writeFloatLE(v, 76 + 4 * n));
  bytes.writeFloatLE(352, 108);
  bytes.writeInt16LE(1, 254);
  rows.flat().forEach((v, n) => bytes.writeFloatLE(v, 280 + 4 * n));
  bytes.write("n+1\0", 344, "latin1");
  let state = seed;
  let at = 352;
  for (let z = 0; z < nz; z += 1)
    for (let y = 0; y < ny; y += 1)
      for (let x = 0; x < nx; x += 1) {
        state = (Math.imul(state, 1103515245) + 12345) >>> 0;
        const inside = Math.hypot(x - 10, y - 8, z - 6) < 5;
        bytes.writeInt16LE(greys[inside ? 0 : 1] + ((state >>> 16) % 20), at);
        at += 2;
      }
  return bytes;
}

/** The grid's size. */
export const size = SIZE;

export function orientedVolume(name, seed = 3) {
  return nifti(ORIENTATIONS[name].rows, seed);
}

/** A ball of soft tissue in air, in Hounsfield units. */
export function hounsfieldVolume(seed = 3) {
  return nifti(ORIENTATIONS.lps.rows, seed, [30, -1010]);
}

/** A folder with a volume of each orientation and a DICOM series. */
export function makeCases(root, repository) {
  mkdirSync(join(root, "scans"), { recursive: true });
  for (const name of Object.keys(ORIENTATIONS)) writeFileSync(join(root, "scans", `${name}_0000.nii`), orientedVolume(name));
  const fixtures = join(repository, "crates/synthfm-image/tests/fixtures/formats");
  cpSync(join(fixtures, "dicom_axial"), join(root, "series"), { recursive: true });
}
