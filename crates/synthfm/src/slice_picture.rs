//! `synthfm info --out`: a picture, or a slice of a volume, as the program shows it, with the coordinates of its pixels.
//!
//! Below and on the left stand array indices of the file, above and on the right pixels of the picture: the two frames
//! that `predict --frame` calls voxel and display.

use std::path::Path;

use synthfm_image::{Point2, RgbImage, Size, draw};

use crate::input::{Input, Place};

/// Shorter side of the enlarged picture that is aimed at.
const SIDE_PX: usize = 480;
/// Enlargement of small pictures, at most.
const MAX_SCALE: usize = 8;
/// Room for ticks and numbers on every side.
const MARGIN_PX: usize = 48;
/// Least distance between ticks.
const TICK_GAP_PX: usize = 52;
const TICK_PX: usize = 5;
/// Height and advance of a letter.
const LETTER_PX: [usize; 2] = [8, 6];
const GROUND: draw::Colour = [250, 250, 250];
const INK: draw::Colour = [30, 30, 30];
const SIDE_INK: draw::Colour = [255, 200, 0];

/// The numbers along one side of the picture.
struct Axis {
    name: String,
    /// Pixels along it.
    length: usize,
    /// Whether its numbers run against the pixels.
    flipped: bool,
}

impl Axis {
    fn plain(name: &str, length: usize) -> Self {
        Self {
            name: name.to_owned(),
            length,
            flipped: false,
        }
    }

    /// The numbers to write, with their pixels.
    fn ticks(&self, scale: usize) -> Vec<(usize, usize)> {
        let steps = [1, 2, 5]
            .iter()
            .cycle()
            .zip((0..7).flat_map(|power| [power; 3]))
            .map(|(&step, power)| step * 10usize.pow(power));
        let mut steps = steps.skip_while(|step| step * scale < TICK_GAP_PX);
        let step = steps.next().unwrap_or(self.length.max(1));
        let place = |number: usize| {
            if self.flipped {
                self.length - 1 - number
            } else {
                number
            }
        };
        (0..self.length)
            .step_by(step)
            .map(|number| (number, place(number)))
            .collect()
    }
}

/// The picture of what a model sees, with ticks on its sides.
pub(crate) fn draw_axes(input: &Input, path: &Path) -> RgbImage {
    let size = input.rgb.size();
    let shorter = size.height.min(size.width).max(1);
    let scale = (SIDE_PX / shorter).clamp(1, MAX_SCALE);
    let inner = Size::new(size.height * scale, size.width * scale);
    let outer = Size::new(inner.height + 2 * MARGIN_PX, inner.width + 2 * MARGIN_PX);
    let mut sheet = RgbImage::zeros(outer);
    for pixel in sheet.data_mut().as_chunks_mut::<3>().0 {
        *pixel = GROUND;
    }
    for row in 0..inner.height {
        for col in 0..inner.width {
            let from = 3 * size.index(row / scale, col / scale);
            let to = 3 * outer.index(row + MARGIN_PX, col + MARGIN_PX);
            let pixel: [u8; 3] = input.rgb.data()[from..from + 3]
                .try_into()
                .unwrap_or(GROUND);
            sheet.data_mut()[to..to + 3].copy_from_slice(&pixel);
        }
    }
    let [columns, rows] = voxel_axes(&input.place, size);
    let frame = Frame { scale, inner };
    frame.horizontal(&mut sheet, &columns, true);
    frame.vertical(&mut sheet, &rows, true);
    if matches!(input.place, Place::Slice { .. }) {
        frame.horizontal(&mut sheet, &Axis::plain("x, display", size.width), false);
        frame.vertical(&mut sheet, &Axis::plain("y", size.height), false);
    }
    frame.sides(&mut sheet, &input.place);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let slice = match &input.place {
        Place::Picture => String::new(),
        Place::Slice {
            geometry,
            plane,
            index,
        } => {
            let axis = letter(geometry.slice_axis(*plane));
            format!("  {plane} slice {index} ({axis} = {index})")
        }
    };
    draw::text(&mut sheet, (4, MARGIN_PX), &format!("{name}{slice}"), INK);
    sheet
}

const fn letter(axis: usize) -> &'static str {
    ["i", "j", "k"][axis]
}

/// The array axes along the columns and the rows.
fn voxel_axes(place: &Place, size: Size) -> [Axis; 2] {
    let Place::Slice {
        geometry,
        plane,
        index,
    } = place
    else {
        return [
            Axis::plain("column", size.width),
            Axis::plain("row", size.height),
        ];
    };
    // Where the first pixel and its neighbours lie tells which axis runs along which side, and which way.
    let voxel = |x: f64, y: f64| geometry.voxel_of_pixel(*plane, *index, Point2::new(x, y));
    let origin = voxel(0.0, 0.0);
    [
        (voxel(1.0, 0.0), size.width),
        (voxel(0.0, 1.0), size.height),
    ]
    .map(|(next, length)| {
        let moved = (0..3).find(|&axis| (next[axis] - origin[axis]).abs() > 0.5);
        let axis = moved.unwrap_or(0);
        Axis {
            name: format!("{}, voxel", letter(axis)),
            length,
            flipped: next[axis] < origin[axis],
        }
    })
}

/// Where the picture lies on the sheet.
struct Frame {
    scale: usize,
    inner: Size,
}

impl Frame {
    fn horizontal(&self, sheet: &mut RgbImage, axis: &Axis, below: bool) {
        let edge = if below {
            MARGIN_PX + self.inner.height
        } else {
            MARGIN_PX - TICK_PX
        };
        for (number, place) in axis.ticks(self.scale) {
            let col = MARGIN_PX + place * self.scale + self.scale / 2;
            for row in edge..edge + TICK_PX {
                paint(sheet, row, col);
            }
            let text = number.to_string();
            let left = col.saturating_sub(text.len() * LETTER_PX[1] / 2);
            let row = if below {
                edge + TICK_PX + 2
            } else {
                edge - LETTER_PX[0] - 2
            };
            draw::text(sheet, (row, left), &text, INK);
        }
        let left =
            MARGIN_PX + (self.inner.width / 2).saturating_sub(axis.name.len() * LETTER_PX[1] / 2);
        let row = if below {
            edge + TICK_PX + LETTER_PX[0] + 8
        } else {
            edge - 2 * LETTER_PX[0] - 6
        };
        draw::text(sheet, (row, left), &axis.name, INK);
    }

    fn vertical(&self, sheet: &mut RgbImage, axis: &Axis, left: bool) {
        let edge = if left {
            MARGIN_PX - TICK_PX
        } else {
            MARGIN_PX + self.inner.width
        };
        for (number, place) in axis.ticks(self.scale) {
            let row = MARGIN_PX + place * self.scale + self.scale / 2;
            for col in edge..edge + TICK_PX {
                paint(sheet, row, col);
            }
            let text = number.to_string();
            let col = if left {
                edge.saturating_sub(text.len() * LETTER_PX[1] + 2)
            } else {
                edge + TICK_PX + 3
            };
            draw::text(
                sheet,
                (row.saturating_sub(LETTER_PX[0] / 2), col),
                &text,
                INK,
            );
        }
        // The name stands at the lower corner, for letters do not turn.
        let row = MARGIN_PX + self.inner.height + TICK_PX + 8;
        let col = if left { 2 } else { edge + 8 };
        draw::text(sheet, (row, col), &axis.name, INK);
    }

    /// The sides of the patient, where the file tells them.
    fn sides(&self, sheet: &mut RgbImage, place: &Place) {
        let Place::Slice {
            geometry, plane, ..
        } = place
        else {
            return;
        };
        if !geometry.states_place() {
            return;
        }
        let [left, right, top, bottom] = synthfm_serve::edge_letters(geometry, *plane);
        let [height, width] = [self.inner.height, self.inner.width];
        let (middle_row, middle_col) = (MARGIN_PX + height / 2, MARGIN_PX + width / 2);
        for (at, side) in [
            ((middle_row, MARGIN_PX + 4), left),
            (
                (
                    middle_row,
                    MARGIN_PX + width.saturating_sub(4 + right.len() * LETTER_PX[1]),
                ),
                right,
            ),
            ((MARGIN_PX + 4, middle_col), top),
            ((MARGIN_PX + height.saturating_sub(12), middle_col), bottom),
        ] {
            draw::text(sheet, at, &side, SIDE_INK);
        }
    }
}

fn paint(sheet: &mut RgbImage, row: usize, col: usize) {
    let size = sheet.size();
    if row < size.height && col < size.width {
        let at = 3 * size.index(row, col);
        sheet.data_mut()[at..at + 3].copy_from_slice(&INK);
    }
}

#[cfg(test)]
mod tests {
    use synthfm_image::{FileFormat, Plane, ScanInfo, VolumeGeometry};

    use super::*;

    fn input(place: Place, size: Size) -> Input {
        Input {
            rgb: RgbImage::zeros(size),
            place,
            window: None,
            window_source: None,
            info: ScanInfo::of_format(FileFormat::Nifti1),
        }
    }

    #[test]
    fn numbers_stand_at_their_voxels() {
        // RAS: columns of the picture run against i, rows against j.
        let affine = [
            [-1.0, 0.0, 0.0, 0.0],
            [0.0, -1.0, 0.0, 0.0],
            [0.0, 0.0, 1.0, 0.0],
        ];
        let geometry = VolumeGeometry::new([30, 20, 4], affine).unwrap();
        let place = |plane| Place::Slice {
            geometry: Box::new(geometry.clone()),
            plane,
            index: 1,
        };
        let [columns, rows] = voxel_axes(&place(Plane::Axial), Size::new(20, 30));
        assert_eq!((columns.name.as_str(), columns.flipped), ("i, voxel", true));
        assert_eq!((rows.name.as_str(), rows.flipped), ("j, voxel", true));
        assert_eq!(columns.ticks(8), [(0, 29), (10, 19), (20, 9)]);
        let [columns, rows] = voxel_axes(&place(Plane::Sagittal), Size::new(4, 20));
        assert_eq!((columns.name.as_str(), columns.flipped), ("j, voxel", true));
        assert_eq!((rows.name.as_str(), rows.flipped), ("k, voxel", true));
        let sheet = draw_axes(
            &input(place(Plane::Axial), Size::new(20, 30)),
            Path::new("a.nii"),
        );
        assert_eq!(sheet.size(), Size::new(20 * 8 + 96, 30 * 8 + 96));
        // The tick of i = 0 stands below the last column.
        let at = 3 * sheet.size().index(48 + 160, 48 + 29 * 8 + 4);
        assert_eq!(sheet.data()[at..at + 3], INK);
    }

    #[test]
    fn oblique_sides_have_all_their_letters() {
        // Turned by 30 degrees around the axis to the head: the left edge is R and A.
        let (cos, sin) = (30f64.to_radians().cos(), 0.5);
        let affine = [
            [cos, -sin, 0.0, 0.0],
            [sin, cos, 0.0, 0.0],
            [0.0, 0.0, 1.0, 0.0],
        ];
        let place = |affine| Place::Slice {
            geometry: Box::new(VolumeGeometry::new([30, 20, 4], affine).unwrap()),
            plane: Plane::Axial,
            index: 1,
        };
        let straight = [
            [1.0, 0.0, 0.0, 0.0],
            [0.0, 1.0, 0.0, 0.0],
            [0.0, 0.0, 1.0, 0.0],
        ];
        // Ink where a second letter stands at the left edge.
        let second = |affine| {
            let sheet = draw_axes(&input(place(affine), Size::new(20, 30)), Path::new("a.nii"));
            let size = sheet.size();
            let first = MARGIN_PX + 4 + LETTER_PX[1];
            let row = MARGIN_PX + 20 * 8 / 2;
            let all = (row..row + LETTER_PX[0])
                .flat_map(|row| (first..first + LETTER_PX[1]).map(move |col| size.index(row, col)));
            all.filter(|at| sheet.data()[3 * at..3 * at + 3] == SIDE_INK)
                .count()
        };
        assert_eq!(second(straight), 0);
        assert!(second(affine) > 3);
    }

    #[test]
    fn ticks_have_room_at_every_size() {
        for (length, scale) in [(1, 8), (3, 8), (128, 3), (512, 1), (4096, 1), (65_000, 1)] {
            let ticks = Axis::plain("a", length).ticks(scale);
            assert_eq!(ticks[0], (0, 0));
            assert!(
                ticks
                    .windows(2)
                    .all(|pair| (pair[1].1 - pair[0].1) * scale >= TICK_GAP_PX)
            );
        }
    }
}
