//! Cutting arrays to what matters.
//!
//! Structures are small against their images, and distances near them do not depend on the rest.
//! Arrays are `[plane, row, column]`, the last axis contiguous.

/// First and one past the last index of the foreground of either mask, per axis; empty at the
/// origin if there is none.
pub(crate) fn union_box(a: &[bool], b: &[bool], shape: [usize; 3]) -> ([usize; 3], [usize; 3]) {
    let (mut start, mut end) = (shape, [0; 3]);
    let [_, rows, cols] = shape;
    let lines = a.chunks_exact(cols.max(1)).zip(b.chunks_exact(cols.max(1)));
    for (line, (a, b)) in lines.enumerate() {
        let set = |&(&a, &b): &(&bool, &bool)| a || b;
        let mut pixels = a.iter().zip(b);
        let Some(first) = pixels.clone().position(|pair| set(&pair)) else {
            continue;
        };
        let last = pixels.rposition(|pair| set(&pair)).unwrap_or(first);
        let at = [
            (line / rows, line / rows),
            (line % rows, line % rows),
            (first, last),
        ];
        for (axis, (low, high)) in at.into_iter().enumerate() {
            start[axis] = start[axis].min(low);
            end[axis] = end[axis].max(high + 1);
        }
    }
    (if end == [0; 3] { [0; 3] } else { start }, end)
}

/// The values from `start` up to, not including, `end`.
pub(crate) fn crop(
    mask: &[bool],
    shape: [usize; 3],
    start: [usize; 3],
    end: [usize; 3],
) -> Vec<bool> {
    let mut cut = Vec::new();
    for plane in start[0]..end[0] {
        for row in start[1]..end[1] {
            let line = (plane * shape[1] + row) * shape[2];
            cut.extend_from_slice(&mask[line + start[2]..line + end[2]]);
        }
    }
    cut
}
