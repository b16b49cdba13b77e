//! From a person's interactions in a viewer to prompts on slices.
//!
//! The model knows clicks and a box on a slice. A scribble becomes clicks along it, as on our own page; a lasso becomes the
//! box around it, a click at its deepest pixel, and a border that the answer stays within. A lasso around what is not the
//! object takes its inside away. What the model has no word for is refused.

use std::sync::Arc;

use synthfm_image::{
    BoxXyxy, Mask, Outside, Point2, Size, deepest_pixel, dilate, distance_transform, fill_holes,
};

use super::object::Object;
use super::scan::{Range3, Scan, place};
use crate::annotation::Place;
use crate::error::{ApiError, ApiResult};

/// Clicks on a slice.
const MAX_POINTS: usize = 128;
/// Clicks along a scribble on a slice.
const SCRIBBLE_POINTS: usize = 6;
/// Slices that one scribble or lasso may cross.
const MAX_SLICES: usize = 32;
/// A lasso's answer may leave it by this share of its depth, for it is drawn by hand.
const LASSO_MARGIN: f32 = 0.15;
/// Pixels by which it may leave it in any case.
const LEAST_MARGIN: f32 = 2.0;

/// A mask over a part of the image.
#[derive(Debug)]
pub(super) struct Region {
    pub(super) range: Range3,
    /// In the order of the array.
    pub(super) inside: Vec<bool>,
}

/// One prompt.
#[derive(Debug)]
pub(super) enum Interaction {
    /// A voxel of the object, or of what is not the object.
    Point { at: [i64; 3], include: bool },
    /// A box of one slice around the object.
    Box { range: [[i64; 2]; 3], include: bool },
    /// A line along the object, or along what is not the object.
    Scribble { drawn: Region, include: bool },
    /// The outline of the object, filled, or of what is not the object.
    Lasso { drawn: Region, include: bool },
}

impl Interaction {
    /// Adds the prompts to an object, whose slices then wait for an answer.
    pub(super) fn add(&self, scan: &Scan, object: &mut Object) -> ApiResult<()> {
        match self {
            Self::Point { at, include } => {
                let (place, point) = scan.pixel(scan.check(*at)?, scan.across());
                add_points(object, place, &[(point, *include)])
            }
            Self::Box { range, include } => add_box(scan, object, *range, *include),
            Self::Scribble { drawn, include } => {
                for (place, mask) in drawn.slices(scan)? {
                    let points: Vec<_> = along(&mask).map(|point| (point, *include)).collect();
                    add_points(object, place, &points)?;
                }
                Ok(())
            }
            Self::Lasso { drawn, include } => {
                for (place, mask) in drawn.slices(scan)? {
                    let mask = enclosed(&mask);
                    if *include {
                        add_lasso(object, place, &mask)?;
                    } else {
                        remove(object, place, mask);
                    }
                }
                Ok(())
            }
        }
    }
}

fn add_points(object: &mut Object, place: Place, points: &[(Point2, bool)]) -> ApiResult<()> {
    if object.prompts(place).points.len() + points.len() > MAX_POINTS {
        return Err(ApiError::bad(format!(
            "at most {MAX_POINTS} points on a slice are taken"
        )));
    }
    object.say(place, |prompts| {
        prompts.points.extend_from_slice(points);
        // What a click includes, no lasso excludes any more.
        let contradicted = |border: &Option<Arc<Mask>>, value: bool| {
            border.as_ref().is_some_and(|border| {
                let at = |point: &Point2| point.row_col(border.size());
                let mut included = points.iter().filter(|(_, include)| *include);
                included.any(|(point, _)| at(point).is_some_and(|(r, c)| border.at(r, c) == value))
            })
        };
        if contradicted(&prompts.within, false) {
            prompts.within = None;
        }
        if contradicted(&prompts.removed, true) {
            prompts.removed = None;
        }
    });
    Ok(())
}

/// A box takes the place of what was said about its slice before.
fn add_box(scan: &Scan, object: &mut Object, range: [[i64; 2]; 3], include: bool) -> ApiResult<()> {
    if !include {
        return Err(ApiError::bad(
            "the model knows no boxes around what is not the object; use a point, scribble or lasso",
        ));
    }
    if range.iter().any(|[from, to]| from >= to) {
        return Err(ApiError::bad(format!("the box {range:?} is empty")));
    }
    let shape = scan.shape();
    let mut clipped: Range3 = [[0; 2]; 3];
    for axis in 0..3 {
        let inside = |bound: i64| usize::try_from(bound).unwrap_or(0).min(shape[axis]);
        clipped[axis] = range[axis].map(inside);
        if clipped[axis][0] >= clipped[axis][1] {
            return Err(ApiError::bad(format!(
                "the box {range:?} lies outside of the image {shape:?}"
            )));
        }
    }
    let flat = |axis: &usize| range[*axis][1] - range[*axis][0] == 1;
    let axis = axis_across(scan, flat).ok_or_else(|| {
        ApiError::bad(format!(
            "the box {range:?} is three-dimensional; the model knows boxes of one slice"
        ))
    })?;
    let (place, first) = scan.pixel(clipped.map(|[from, _]| from), axis);
    let (_, last) = scan.pixel(clipped.map(|[_, to]| to - 1), axis);
    object.say(place, |prompts| {
        *prompts = super::object::SlicePrompts {
            box_: Some(between(first, last)),
            removed: prompts.removed.take(),
            ..Default::default()
        };
    });
    Ok(())
}

/// The box between two pixels.
fn between(a: Point2, b: Point2) -> BoxXyxy {
    BoxXyxy {
        min: Point2::new(a.x.min(b.x), a.y.min(b.y)),
        max: Point2::new(a.x.max(b.x), a.y.max(b.y)),
    }
}

/// The axis that is flat: that of the slices where several are.
fn axis_across(scan: &Scan, flat: impl Fn(&usize) -> bool) -> Option<usize> {
    let across = scan.across();
    [across, 0, 1, 2].into_iter().find(flat)
}

/// The inside of a lasso: some viewers send its contour, others its inside.
fn enclosed(drawn: &Mask) -> Mask {
    fill_holes(drawn, usize::MAX, &[])
}

/// A lasso takes the place of what was said about its slice before.
fn add_lasso(object: &mut Object, place: Place, mask: &Mask) -> ApiResult<()> {
    let deepest = deepest_pixel(mask).zip(mask.bounding_box());
    let ((row, col), box_) = deepest.ok_or_else(|| ApiError::bad("the lasso is empty"))?;
    let depths = distance_transform(mask, Outside::Background);
    let depth = depths.into_iter().fold(0.0, f32::max);
    let within = dilate(mask, (LASSO_MARGIN * depth).max(LEAST_MARGIN));
    object.say(place, |prompts| {
        *prompts = super::object::SlicePrompts {
            points: vec![(Point2::from_row_col(row, col), true)],
            box_: Some(box_),
            within: Some(Arc::new(within)),
            ..Default::default()
        };
    });
    Ok(())
}

fn remove(object: &mut Object, place: Place, mut mask: Mask) {
    object.say(place, |prompts| {
        if let Some(before) = &prompts.removed {
            let both = mask.data_mut().iter_mut().zip(before.data());
            both.for_each(|(inside, before)| *inside |= before);
        }
        prompts.removed = Some(Arc::new(mask));
    });
}

impl Region {
    /// The slices that it is drawn on, whole, with the masks on them.
    fn slices(&self, scan: &Scan) -> ApiResult<Vec<(Place, Mask)>> {
        let Some(drawn) = self.drawn() else {
            return Err(ApiError::bad("nothing is drawn"));
        };
        let flat = |axis: &usize| drawn[*axis][1] - drawn[*axis][0] == 1;
        let axis = axis_across(scan, flat).unwrap_or(scan.across());
        let [first, end] = drawn[axis];
        if end - first > MAX_SLICES {
            return Err(ApiError::bad(format!(
                "it crosses {} slices; at most {MAX_SLICES} are taken",
                end - first
            )));
        }
        let sizes = |index| {
            let place = place(axis, index);
            let size = scan.study.grid().slice_size(place.plane.into());
            (place, Mask::zeros(size))
        };
        let mut slices: Vec<(Place, Mask)> = (first..end).map(sizes).collect();
        for at in self.voxels() {
            let (_, point) = scan.pixel(at, axis);
            let mask = &mut slices[at[axis] - first].1;
            let size = mask.size();
            if let Some((row, col)) = point.row_col(size) {
                mask.data_mut()[size.index(row, col)] = true;
            }
        }
        slices.retain(|(_, mask)| mask.area() > 0);
        Ok(slices)
    }

    /// The voxels that are drawn.
    fn voxels(&self) -> impl Iterator<Item = [usize; 3]> {
        let starts = self.range.map(|[from, _]| from);
        let [_, height, width] = self.range.map(|[from, to]| to - from);
        let inside = self.inside.iter().enumerate();
        inside.filter(|(_, inside)| **inside).map(move |(at, _)| {
            let place = [at / (height * width), at / width % height, at % width];
            [0, 1, 2].map(|axis| starts[axis] + place[axis])
        })
    }

    /// The range of the voxels that are drawn.
    fn drawn(&self) -> Option<Range3> {
        let mut range: Option<Range3> = None;
        for at in self.voxels() {
            super::object::widen(&mut range, at);
        }
        range
    }
}

/// Clicks along a scribble: its deepest pixel, then again and again the pixel that is farthest from those before, among
/// those at least half as deep.
fn along(mask: &Mask) -> impl Iterator<Item = Point2> + use<> {
    let Size { width, .. } = mask.size();
    let depths = distance_transform(mask, Outside::Background);
    let deepest = depths.iter().copied().fold(0.0, f32::max);
    let place = |(at, depth): (usize, &f32)| {
        (*depth > 0.0 && *depth >= 0.5 * deepest).then(|| (at / width, at % width))
    };
    let middle: Vec<(usize, usize)> = depths.iter().enumerate().filter_map(place).collect();
    let mut chosen: Vec<(usize, usize)> = deepest_pixel(mask).into_iter().collect();
    let mut distance = vec![f64::INFINITY; middle.len()];
    while let Some(&(row, col)) = chosen.last() {
        for (least, &(r, c)) in distance.iter_mut().zip(&middle) {
            let found = (row as f64 - r as f64).hypot(col as f64 - c as f64);
            *least = least.min(found);
        }
        let farthest = (0..middle.len()).max_by(|&a, &b| distance[a].total_cmp(&distance[b]));
        match farthest.filter(|&at| distance[at] >= 2.0) {
            Some(at) if chosen.len() < SCRIBBLE_POINTS => chosen.push(middle[at]),
            _ => break,
        }
    }
    chosen
        .into_iter()
        .map(|(row, col)| Point2::from_row_col(row, col))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(size: Size, pixels: &[(usize, usize)]) -> Mask {
        let mut mask = Mask::zeros(size);
        for &(row, col) in pixels {
            mask.data_mut()[size.index(row, col)] = true;
        }
        mask
    }

    #[test]
    fn clicks_follow_a_scribble_from_end_to_end() {
        let size = Size::new(5, 40);
        let pixels: Vec<_> = (3..33).map(|col| (2, col)).collect();
        let points: Vec<Point2> = along(&line(size, &pixels)).collect();
        assert_eq!(points.len(), SCRIBBLE_POINTS);
        let cols: Vec<f64> = points.iter().map(|point| point.x).collect();
        assert!(cols.contains(&3.0) && cols.contains(&32.0), "{cols:?}");
        assert!(points.iter().all(|point| (point.y - 2.0).abs() < 1e-9));
        let mut sorted = cols.clone();
        sorted.sort_by(f64::total_cmp);
        let gaps = sorted.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.fold(0.0, f64::max) < 12.0, "{cols:?}");
        // A dab is one click.
        assert_eq!(along(&line(size, &[(1, 1), (1, 2)])).count(), 1);
    }

    #[test]
    fn a_contour_says_what_its_inside_says() {
        let size = Size::new(9, 11);
        let inside: Vec<_> = (2..7)
            .flat_map(|row| (3..9).map(move |col| (row, col)))
            .collect();
        let contour: Vec<_> = inside
            .iter()
            .copied()
            .filter(|&(row, col)| row == 2 || row == 6 || col == 3 || col == 8)
            .collect();
        let filled = line(size, &inside);
        assert_eq!(enclosed(&line(size, &contour)), filled);
        assert_eq!(enclosed(&filled), filled);
    }

    #[test]
    fn regions_know_their_voxels() {
        let mut inside = vec![false; 2 * 3 * 4];
        inside[(3 + 2) * 4 + 1] = true;
        inside[1] = true;
        let region = Region {
            range: [[5, 7], [10, 13], [20, 24]],
            inside,
        };
        let voxels: Vec<_> = region.voxels().collect();
        assert_eq!(voxels, [[5, 10, 21], [6, 12, 21]]);
        assert_eq!(region.drawn(), Some([[5, 7], [10, 13], [21, 22]]));
    }
}
