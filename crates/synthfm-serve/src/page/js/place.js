// Where a pixel lies: in the file's array and in the patient. `info` describes a plane, `details` the case.

import { number } from "./texts.js";

const LETTERS = [
  ["L", "R"],
  ["P", "A"],
  ["S", "I"],
];

/** Array indices i, j, k of a pixel of a slice. */
export function voxelOf(info, index, [x, y]) {
  const [column, row, slice] = info.voxel_steps;
  return info.first_voxel.map((v, axis) => v + x * column[axis] + y * row[axis] + index * slice[axis]);
}

/** Millimetres to the left, back and head of array indices; null where the file does not say. */
export function patientOf(details, voxel) {
  const rows = details.patient_from_voxel;
  return rows?.map((row) => row[3] + row[0] * voxel[0] + row[1] * voxel[1] + row[2] * voxel[2]) ?? null;
}

/** Millimetres as radiologists write them: by the letter of the side. */
export function inWords(position) {
  return position.map((value, axis) => inLetters(value, axis)).join(" ");
}

function inLetters(value, axis) {
  const rounded = Math.round(value * 10) / 10;
  return `${LETTERS[axis][rounded < 0 ? 1 : 0]} ${number(Math.abs(rounded), 1)}`;
}

/** Where a slice lies along the patient's axis across it, such as `S 34.5 mm`; null where the file does not say. */
export function sliceInMm(details, info, index) {
  const middle = [(info.width - 1) / 2, (info.height - 1) / 2];
  const position = patientOf(details, voxelOf(info, index, middle));
  if (!position) return null;
  const axis = { sagittal: 0, coronal: 1, axial: 2 }[info.name];
  return `${inLetters(position[axis], axis)} mm`;
}

/** The length of a line between two pixels in the plane's unit. */
export function lengthOf(info, [ax, ay], [bx, by]) {
  const [rows, columns] = info.spacing_mm;
  return Math.hypot((bx - ax) * columns, (by - ay) * rows);
}

/** Whether a pixel is one of a plane's slices. */
export function contains({ width, height }, [x, y]) {
  return x >= -0.5 && y >= -0.5 && x < width - 0.5 && y < height - 0.5;
}
