// Where the planes of a volume lie to one another. `info` describes a plane: name, slices, height, along.

/** Counts along left, back and up, from a pixel of a slice; views are radiological. */
export function toPatient(info, index, [x, y]) {
  const plane = info.name;
  const along = "LPS".includes(info.along) ? index : info.slices - 1 - index;
  const up = info.height - 1 - y;
  if (plane === "axial") return { l: x, p: y, s: along };
  if (plane === "coronal") return { l: x, p: along, s: up };
  return { l: along, p: x, s: up };
}

/** The slice and the pixel of a plane at such counts. */
export function fromPatient(info, { l, p, s }) {
  const plane = info.name;
  const [across, point] = {
    axial: [s, [l, p]],
    coronal: [p, [l, info.height - 1 - s]],
    sagittal: [l, [p, info.height - 1 - s]],
  }[plane];
  return { index: "LPS".includes(info.along) ? across : info.slices - 1 - across, point };
}
