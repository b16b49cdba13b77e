// Inputs of the tests: the example pictures and a volume that is written here.

import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { deflateSync, crc32 } from "node:zlib";

/** Columns, rows, slices and their spacing; the axes point left, back and up. */
export const VOLUME = { size: [96, 80, 20], spacing: [0.8, 1.0, 3.0], centre: [44, 36, 10], radii: [24, 16, 8] };

/** A folder with pictures, their labels, and a volume with an ellipsoid in noise. */
export function makeFolder(root, repository) {
  const example = join(repository, "examples", "Dataset001_Example");
  cpSync(example, join(root, "pictures"), { recursive: true });
  mkdirSync(join(root, "volumes"));
  writeFileSync(join(root, "volumes", "ellipsoid.nii"), nifti());
}

function inside(x, y, z) {
  const { centre, radii } = VOLUME;
  return [x, y, z].reduce((sum, v, axis) => sum + ((v - centre[axis]) / radii[axis]) ** 2, 0) <= 1;
}

/** NIfTI-1, 16 bits. */
function nifti() {
  const [nx, ny, nz] = VOLUME.size;
  const bytes = Buffer.alloc(352 + 2 * nx * ny * nz);
  bytes.writeInt32LE(348, 0);
  [3, nx, ny, nz, 1, 1, 1, 1].forEach((v, n) => bytes.writeInt16LE(v, 40 + 2 * n));
  bytes.writeInt16LE(4, 70);
  bytes.writeInt16LE(16, 72);
  [1, ...VOLUME.spacing, 0, 0, 0, 0].forEach((v, n) => bytes.writeFloatLE(v, 76 + 4 * n));
  bytes.writeFloatLE(352, 108);
  bytes.writeInt16LE(1, 254);
  // NIfTI's axes point right, forward and up.
  const rows = [
    [-0.8, 0, 0, 0],
    [0, -1, 0, 0],
    [0, 0, 3, 0],
  ];
  rows.flat().forEach((v, n) => bytes.writeFloatLE(v, 280 + 4 * n));
  bytes.write("n+1\0", 344, "latin1");
  let seed = 7;
  const noise = () => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 16) / 65536 - 0.5;
  };
  let at = 352;
  for (let z = 0; z < nz; z += 1)
    for (let y = 0; y < ny; y += 1)
      for (let x = 0; x < nx; x += 1) {
        bytes.writeInt16LE(Math.round((inside(x, y, z) ? 160 : 40) + 30 * noise()), at);
        at += 2;
      }
  return bytes;
}

/** An 8-bit grey PNG of a disc: for uploads and for timing. */
export function discPng(side) {
  const raw = Buffer.alloc(side * (side + 1));
  for (let y = 0; y < side; y += 1)
    for (let x = 0; x < side; x += 1) {
      const far = Math.hypot(x - side * 0.45, y - side * 0.55);
      raw[y * (side + 1) + 1 + x] = far < side * 0.22 ? 180 : 60 + ((x * 7 + y * 13) % 23);
    }
  const chunk = (kind, data) => {
    const body = Buffer.concat([Buffer.from(kind, "latin1"), data]);
    const framed = Buffer.alloc(body.length + 8);
    framed.writeUInt32BE(data.length, 0);
    body.copy(framed, 4);
    framed.writeUInt32BE(crc32(body), body.length + 4);
    return framed;
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(side, 0);
  header.writeUInt32BE(side, 4);
  header[8] = 8;
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(raw)),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}
