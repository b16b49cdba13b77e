//! The coordinates that clicks and boxes are given in, and the pixels of the picture that they mean.

use std::ops::RangeInclusive;
use std::str::FromStr;

use anyhow::Result;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use synthfm_image::{BoxXyxy, ImageFile, Plane, Point2, Size, VolumeGeometry};

use crate::cli::numbers;
use crate::input::Place;
use crate::output::usage;

/// Coordinates of clicks and boxes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Frame {
    /// Indices of the file's own array, from 0: in a volume i,j,k, or the two of them that span the slice; in a picture
    /// column,row
    #[default]
    Voxel,
    /// Pixels of the slice as the annotator and `info --slice` show it: x to the right, y down
    Display,
    /// Millimetres to the patient's left, back and head (DICOM): x,y,z
    Lps,
    /// Millimetres to the patient's right, front and head (NIfTI): x,y,z
    Ras,
}

impl Frame {
    /// The name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Voxel => "voxel",
            Self::Display => "display",
            Self::Lps => "lps",
            Self::Ras => "ras",
        }
    }

    const fn is_mm(self) -> bool {
        matches!(self, Self::Lps | Self::Ras)
    }
}

/// Coordinates as they were given: two within a slice, or three in space.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Position {
    InPlane([f64; 2]),
    InSpace([f64; 3]),
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Vec::<f64>::deserialize(deserializer)?[..] {
            [x, y] => Ok(Self::InPlane([x, y])),
            [x, y, z] => Ok(Self::InSpace([x, y, z])),
            ref other => Err(serde::de::Error::custom(format!(
                "points: x,y or x,y,z expected, got {} numbers",
                other.len()
            ))),
        }
    }
}

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.split(',').count() == 3 {
            return numbers(text, "x,y,z").map(Self::InSpace);
        }
        numbers(text, "x,y or x,y,z").map(Self::InPlane)
    }
}

/// A number without hundreds of digits.
fn short(v: f64) -> String {
    if v.abs() < 1e9 {
        v.to_string()
    } else {
        format!("{v:e}")
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let numbers: &[f64] = match self {
            Self::InPlane(numbers) => numbers,
            Self::InSpace(numbers) => numbers,
        };
        let all: Vec<String> = numbers.iter().map(|&v| short(v)).collect();
        write!(f, "({})", all.join(", "))
    }
}

/// Two opposite corners.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Corners(pub(crate) [Position; 2]);

impl FromStr for Corners {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.split(',').count() == 6 {
            let [a, b, c, d, e, f] = numbers(text, "x0,y0,z0,x1,y1,z1")?;
            return Ok(Self([
                Position::InSpace([a, b, c]),
                Position::InSpace([d, e, f]),
            ]));
        }
        numbers(text, "x0,y0,x1,y1").map(Self::in_plane)
    }
}

impl Corners {
    pub(crate) const fn in_plane([x0, y0, x1, y1]: [f64; 4]) -> Self {
        Self([Position::InPlane([x0, y0]), Position::InPlane([x1, y1])])
    }

    /// The numbers of both corners.
    pub(crate) fn numbers(&self) -> Vec<f64> {
        let of = |position: &Position| match position {
            Position::InPlane(numbers) => numbers.to_vec(),
            Position::InSpace(numbers) => numbers.to_vec(),
        };
        self.0.iter().flat_map(of).collect()
    }
}

impl<'de> Deserialize<'de> for Corners {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Vec::<f64>::deserialize(deserializer)?[..] {
            [a, b, c, d] => Ok(Self::in_plane([a, b, c, d])),
            [a, b, c, d, e, f] => Ok(Self([
                Position::InSpace([a, b, c]),
                Position::InSpace([d, e, f]),
            ])),
            ref other => Err(serde::de::Error::custom(format!(
                "box: 4 numbers, or 6 in space, expected, got {}",
                other.len()
            ))),
        }
    }
}

/// A point of the picture that is segmented, with where it lies in the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spot {
    /// On the picture as it is seen.
    pub(crate) pixel: Point2,
    /// Array indices in a volume.
    voxel: Option<[f64; 3]>,
    lps_mm: Option<[f64; 3]>,
}

impl Spot {
    /// In every frame that the file has, for records.
    pub(crate) fn record(&self) -> Value {
        let Point2 { x, y } = self.pixel;
        let voxel = self.voxel.map_or_else(|| json!([x, y]), |v| json!(v));
        let ras = self.lps_mm.map(|[x, y, z]| [0.0 - x, 0.0 - y, z]);
        json!({ "voxel": voxel, "display": [x, y], "lps": self.lps_mm, "ras": ras })
    }
}

/// The slice that positions in space lie on; `None` where none of them says.
pub(crate) fn slice_of(
    content: &ImageFile,
    plane: Plane,
    frame: Frame,
    positions: &[Position],
) -> Result<Option<usize>> {
    let ImageFile::Volume(volume) = content else {
        return Ok(None);
    };
    let geometry = volume.geometry();
    let mut found: Option<(usize, Position)> = None;
    for &position in positions {
        let Position::InSpace(numbers) = position else {
            if frame.is_mm() {
                return Err(in_space_expected(position, frame));
            }
            continue;
        };
        let (_, slice) = in_volume(geometry, plane, frame, numbers)?;
        let count = geometry.slice_count(plane);
        let nearest = (slice + 0.5).floor();
        if !(nearest >= 0.0 && nearest < count as f64) {
            return Err(usage(format!(
                "the point {position} ({}) lies on {plane} slice {}, and the volume has slices 0 to {}",
                frame.name(),
                short(nearest),
                count.saturating_sub(1)
            )));
        }
        let nearest = nearest as usize;
        match found {
            Some((slice, first)) if slice != nearest => {
                return Err(usage(format!(
                    "the points {first} and {position} ({}) lie on {plane} slices {slice} and {nearest}: one slice is segmented at a time",
                    frame.name()
                )));
            }
            _ => found = Some((nearest, position)),
        }
    }
    Ok(found.map(|(slice, _)| slice))
}

/// A box in space whose corners lie on several slices: those slices, and its corners as [`Frame::Display`] has them on each
/// of them. `None` for a box on one slice.
pub(crate) fn box_in_space(
    content: &ImageFile,
    plane: Plane,
    frame: Frame,
    corners: Corners,
) -> Result<Option<(RangeInclusive<usize>, Corners)>> {
    let (ImageFile::Volume(volume), [Position::InSpace(a), Position::InSpace(b)]) =
        (content, corners.0)
    else {
        return Ok(None);
    };
    let slice = |corner| slice_of(content, plane, frame, &[corner]);
    let (Some(first), Some(second)) = (slice(corners.0[0])?, slice(corners.0[1])?) else {
        return Ok(None);
    };
    if first == second {
        return Ok(None);
    }
    let pixel = |numbers| in_volume(volume.geometry(), plane, frame, numbers);
    let ((p, _), (q, _)) = (pixel(a)?, pixel(b)?);
    let flat = [p.x.min(q.x), p.y.min(q.y), p.x.max(q.x), p.y.max(q.y)];
    let slices = first.min(second)..=first.max(second);
    Ok(Some((slices, Corners::in_plane(flat))))
}

fn in_space_expected(position: Position, frame: Frame) -> anyhow::Error {
    let frame = frame.name();
    usage(format!(
        "{position} ({frame}): x,y,z in millimetres expected"
    ))
}

/// Where a point in space is seen, and on which slice.
fn in_volume(
    geometry: &VolumeGeometry,
    plane: Plane,
    frame: Frame,
    [a, b, c]: [f64; 3],
) -> Result<(Point2, f64)> {
    let voxel = match frame {
        Frame::Voxel => [a, b, c],
        Frame::Display => return Ok((Point2::new(a, b), c)),
        Frame::Lps | Frame::Ras => {
            if !geometry.states_place() {
                return Err(usage(format!(
                    "--frame {}: the file does not say where the patient is; give array indices (voxel)",
                    frame.name()
                )));
            }
            let lps = match frame {
                Frame::Ras => [-a, -b, c],
                _ => [a, b, c],
            };
            geometry.voxel_of_patient(lps)
        }
    };
    Ok(geometry.pixel_of_voxel(plane, voxel))
}

/// The point of the picture at `place` of `size` that a position means; outside of it is an error that says what was
/// expected.
pub(crate) fn spot(place: &Place, size: Size, frame: Frame, position: Position) -> Result<Spot> {
    let spot = locate(place, frame, position)?;
    if size.contains(spot.pixel) {
        return Ok(spot);
    }
    Err(usage(format!(
        "point {position} lies outside {}",
        bounds(place, size, frame)
    )))
}

/// The box of the picture that two corners mean; it may reach beyond the picture.
pub(crate) fn region(
    place: &Place,
    frame: Frame,
    corners: Corners,
) -> Result<(BoxXyxy, [Spot; 2])> {
    let [a, b] = corners.0;
    let spots = [locate(place, frame, a)?, locate(place, frame, b)?];
    let [p, q] = spots.map(|spot| spot.pixel);
    // In the picture's own frame a box whose corners are exchanged stays one, so that it is refused.
    let (min, max) = if frame == Frame::Display || matches!(place, Place::Picture) {
        (p, q)
    } else {
        (
            Point2::new(p.x.min(q.x), p.y.min(q.y)),
            Point2::new(p.x.max(q.x), p.y.max(q.y)),
        )
    };
    Ok((BoxXyxy { min, max }, spots))
}

fn locate(place: &Place, frame: Frame, position: Position) -> Result<Spot> {
    let Place::Slice {
        geometry,
        plane,
        index,
    } = place
    else {
        return match position {
            Position::InPlane([x, y]) if !frame.is_mm() => Ok(Spot {
                pixel: Point2::new(x, y),
                voxel: None,
                lps_mm: None,
            }),
            Position::InPlane(_) | Position::InSpace(_) => Err(usage(format!(
                "{position} ({}): the input is a picture, whose points are x,y in pixels",
                frame.name()
            ))),
        };
    };
    let pixel = match (position, frame) {
        (Position::InPlane([x, y]), Frame::Display) => Point2::new(x, y),
        (Position::InPlane([a, b]), Frame::Voxel) => {
            let [first, second] = geometry.in_plane_axes(*plane);
            let mut voxel = [*index as f64; 3];
            (voxel[first], voxel[second]) = (a, b);
            geometry.pixel_of_voxel(*plane, voxel).0
        }
        (Position::InPlane(_), Frame::Lps | Frame::Ras) => {
            return Err(in_space_expected(position, frame));
        }
        (Position::InSpace(numbers), _) => {
            let (pixel, slice) = in_volume(geometry, *plane, frame, numbers)?;
            let nearest = (slice + 0.5).floor();
            if nearest as i64 != *index as i64 {
                return Err(usage(format!(
                    "{position} ({}) lies on {plane} slice {nearest}, and slice {index} is segmented",
                    frame.name()
                )));
            }
            pixel
        }
    };
    let voxel = geometry.voxel_of_pixel(*plane, *index, pixel);
    let lps_mm = geometry
        .states_place()
        .then(|| geometry.patient_of_voxel(voxel));
    Ok(Spot {
        pixel,
        voxel: Some(voxel),
        lps_mm,
    })
}

/// The range of coordinates in a frame, as a text for messages.
fn bounds(place: &Place, size: Size, frame: Frame) -> String {
    let last = |length: usize| length.saturating_sub(1);
    match (place, frame) {
        (
            Place::Slice {
                geometry, plane, ..
            },
            Frame::Voxel,
        ) => {
            let shape = geometry.shape();
            let axis =
                |axis: usize| format!("{} from 0 to {}", ["i", "j", "k"][axis], last(shape[axis]));
            let [first, second] = geometry.in_plane_axes(*plane);
            let [i, j, k] = shape;
            format!(
                "the volume of {i} x {j} x {k} voxels: {}, {}",
                axis(first),
                axis(second)
            )
        }
        (_, Frame::Lps | Frame::Ras) => "the volume".to_owned(),
        _ => format!(
            "the image of {size}: x from 0 to {}, y from 0 to {}",
            last(size.width),
            last(size.height)
        ),
    }
}

#[cfg(test)]
mod tests {
    use synthfm_image::Volume;

    use super::*;

    /// 4 x 5 x 6 voxels of 2 x 3 x 4 mm whose array runs to the right, front and head (RAS), from an origin.
    fn ras() -> VolumeGeometry {
        let affine = [
            [-2.0, 0.0, 0.0, 10.0],
            [0.0, -3.0, 0.0, 20.0],
            [0.0, 0.0, 4.0, -30.0],
        ];
        VolumeGeometry::new([4, 5, 6], affine).unwrap()
    }

    fn place(plane: Plane, index: usize) -> Place {
        Place::Slice {
            geometry: Box::new(ras()),
            plane,
            index,
        }
    }

    #[test]
    fn one_voxel_has_one_pixel_in_every_frame() {
        // Voxel (1, 3, 2): displayed with the patient's right on the left and the front up.
        let axial = place(Plane::Axial, 2);
        let size = Size::new(5, 4);
        for (frame, text) in [
            (Frame::Voxel, "1,3"),
            (Frame::Voxel, "1,3,2"),
            (Frame::Display, "2,1"),
            (Frame::Display, "2,1,2"),
            (Frame::Lps, "8,11,-22"),
            (Frame::Ras, "-8,-11,-22"),
        ] {
            let position = text.parse().unwrap();
            let found = spot(&axial, size, frame, position).unwrap();
            assert_eq!(found.pixel, Point2::new(2.0, 1.0), "{frame:?} {text}");
            assert_eq!(
                found.record(),
                json!({ "voxel": [1.0, 3.0, 2.0], "display": [2.0, 1.0], "lps": [8.0, 11.0, -22.0], "ras": [-8.0, -11.0, -22.0] })
            );
        }
        // In a coronal slice j is fixed, and points are i,k.
        let coronal = place(Plane::Coronal, 3);
        let found = spot(
            &coronal,
            Size::new(6, 4),
            Frame::Voxel,
            "1,2".parse().unwrap(),
        )
        .unwrap();
        assert_eq!(found.voxel, Some([1.0, 3.0, 2.0]));
        let sagittal = place(Plane::Sagittal, 1);
        let found = spot(
            &sagittal,
            Size::new(6, 5),
            Frame::Voxel,
            "3,2".parse().unwrap(),
        )
        .unwrap();
        assert_eq!(found.voxel, Some([1.0, 3.0, 2.0]));
    }

    #[test]
    fn positions_in_space_choose_their_slice() {
        let volume = Volume::new(ras(), vec![0.0; 120]).unwrap();
        let content = ImageFile::Volume(volume);
        let slice = |frame, texts: &[&str]| {
            let positions: Vec<Position> = texts.iter().map(|t| t.parse().unwrap()).collect();
            slice_of(&content, Plane::Axial, frame, &positions).map_err(|e| e.to_string())
        };
        assert_eq!(slice(Frame::Voxel, &["1,3"]), Ok(None));
        assert_eq!(
            slice(Frame::Voxel, &["1,3,4", "0,0", "2,2,4.4"]),
            Ok(Some(4))
        );
        assert_eq!(slice(Frame::Ras, &["-8,-11,-22"]), Ok(Some(2)));
        for (frame, texts, word) in [
            (Frame::Ras, &["27,31"][..], "x,y,z in millimetres expected"),
            (Frame::Voxel, &["1,3,4", "1,3,5"][..], "slices 4 and 5"),
            (Frame::Voxel, &["1,3,6"], "slices 0 to 5"),
            (Frame::Lps, &["8,11,-50"], "slices 0 to 5"),
        ] {
            let error = slice(frame, texts).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn boxes_keep_their_corners_apart_in_flipped_files() {
        let corners: Corners = "0,1,2,3".parse().unwrap();
        let (found, _) = region(&place(Plane::Axial, 2), Frame::Voxel, corners).unwrap();
        assert_eq!(
            (found.min, found.max),
            (Point2::new(1.0, 1.0), Point2::new(3.0, 3.0))
        );
        let in_space: Corners = "0,1,2,2,3,2".parse().unwrap();
        assert_eq!(
            region(&place(Plane::Axial, 2), Frame::Voxel, in_space)
                .unwrap()
                .0,
            found
        );
        assert_eq!(in_space.numbers().len(), 6);
        assert!("1,2,3".parse::<Corners>().is_err());
    }

    #[test]
    fn what_a_frame_cannot_mean_is_said() {
        let axial = place(Plane::Axial, 2);
        let (size, error) = (Size::new(5, 4), |frame, text: &str| {
            let found = spot(&axial, Size::new(5, 4), frame, text.parse().unwrap());
            found.unwrap_err().to_string()
        });
        for (frame, text, word) in [
            (Frame::Voxel, "4,3", "i from 0 to 3, j from 0 to 4"),
            (Frame::Display, "4,3", "x from 0 to 3, y from 0 to 4"),
            (Frame::Voxel, "1,3,4", "slice 4, and slice 2"),
            (Frame::Lps, "1,3", "x,y,z in millimetres"),
            (Frame::Voxel, "1e308,3", "1e308"),
        ] {
            let error = error(frame, text);
            assert!(error.contains(word), "{error}");
        }
        for text in ["1,2,3", "1,2"] {
            let position = text.parse().unwrap();
            let found = spot(&Place::Picture, size, Frame::Lps, position);
            assert!(found.unwrap_err().to_string().contains("a picture"));
        }
        let unknown = Place::Slice {
            geometry: Box::new(ras().without_place()),
            plane: Plane::Axial,
            index: 2,
        };
        let found = spot(&unknown, size, Frame::Ras, "1,2,3".parse().unwrap());
        assert!(found.unwrap_err().to_string().contains("array indices"));
    }
}
