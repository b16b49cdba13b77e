//! How well a predicted mask agrees with the truth, in two and three dimensions.
//!
//! Overlap counts pixels; distances are between borders, in millimetres, as MONAI defines them
//! (HD95 is the larger of the two directed percentiles). If both masks are empty nothing is
//! defined. If one is, Dice, `IoU` and NSD are 0 and every distance is the diagonal of the image, so
//! that a missed structure costs more than any found one.

mod elements;
mod marching_cubes;
mod surface;

pub use elements::SurfaceElements;
pub use surface::SurfaceDistances;

use crate::crop::{crop, union_box};
use crate::{Error, LabelVolume, Mask, MaskStack, Result, Size};

/// A prediction and the truth on the same grid, cut to the box around both.
///
/// ```
/// use synthfm_image::{Mask, MaskPair, Size};
///
/// let size = Size::new(1, 4);
/// let truth = Mask::new(size, vec![true, true, true, true])?;
/// let prediction = Mask::new(size, vec![true, true, false, false])?;
/// let pair = MaskPair::new(&prediction, &truth, [1.0, 0.5])?;
/// assert_eq!(pair.dice(), Some(4.0 / 6.0));
/// assert_eq!(pair.scores(1.0).map(|scores| scores.hd_mm), Some(1.0));
/// # Ok::<(), synthfm_image::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct MaskPair {
    prediction: Vec<bool>,
    truth: Vec<bool>,
    grid: Grid,
    diagonal_mm: f64,
}

/// Shape and spacing, ordered `[plane, row, column]`; images have one plane.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Grid {
    shape: [usize; 3],
    spacing_mm: [f64; 3],
    axes: Axes,
}

/// Which axes have neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Axes {
    Two,
    Three,
}

/// All scores of one structure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    /// Dice similarity coefficient, 0 to 1.
    pub dice: f64,
    /// Intersection over union, 0 to 1.
    pub iou: f64,
    /// Hausdorff distance.
    pub hd_mm: f64,
    /// Hausdorff distance at the 95th percentile.
    pub hd95_mm: f64,
    /// Average symmetric surface distance.
    pub assd_mm: f64,
    /// Normalised surface Dice at the tolerance that was asked for, 0 to 1.
    pub nsd: f64,
}

impl MaskPair {
    /// Two masks of one image whose rows and columns are `spacing_mm` apart.
    pub fn new(prediction: &Mask, truth: &Mask, spacing_mm: [f64; 2]) -> Result<Self> {
        if prediction.size() != truth.size() {
            return Err(Error::Parameter(format!(
                "masks to compare differ in size: {} and {}",
                prediction.size(),
                truth.size()
            )));
        }
        let Size { height, width } = truth.size();
        let grid = Grid {
            shape: [1, height, width],
            spacing_mm: [1.0, spacing_mm[0], spacing_mm[1]],
            axes: Axes::Two,
        };
        Self::cut(prediction.data(), truth.data(), grid)
    }

    /// The voxels that carry `label` in two volumes of one grid.
    pub fn of_label(prediction: &LabelVolume, truth: &LabelVolume, label: u16) -> Result<Self> {
        let (a, b) = (prediction.geometry(), truth.geometry());
        if a.shape() != b.shape() {
            return Err(Error::Parameter(format!(
                "volumes to compare differ in shape: {:?} and {:?}",
                a.shape(),
                b.shape()
            )));
        }
        let reversed = |[i, j, k]: [f64; 3]| [k, j, i];
        let [ni, nj, nk] = b.shape();
        let grid = Grid {
            shape: [nk, nj, ni],
            spacing_mm: reversed(b.spacing_mm()),
            axes: Axes::Three,
        };
        let mask = |volume: &LabelVolume| -> Vec<bool> {
            volume.data().iter().map(|&v| v == label).collect()
        };
        Self::cut(&mask(prediction), &mask(truth), grid)
    }

    /// Two structures of one volume.
    ///
    /// # Errors
    /// Where they differ in the number of slices, their size, or their spacing.
    pub fn of_stacks(prediction: &MaskStack, truth: &MaskStack) -> Result<Self> {
        let sides = |stack: &MaskStack| (stack.slices().len(), stack.size(), stack.spacing_mm());
        let ((count, size, spacing_mm), other) = (sides(truth), sides(prediction));
        if (count, size, spacing_mm) != other {
            return Err(Error::Parameter(format!(
                "structures to compare differ: {} slices of {}, {:?} mm apart, and {count} of {size}, {spacing_mm:?} mm apart",
                other.0, other.1, other.2
            )));
        }
        let grid = Grid {
            shape: [count, size.height, size.width],
            spacing_mm,
            axes: Axes::Three,
        };
        let joined = |stack: &MaskStack| -> Vec<bool> {
            let slices = stack.slices().iter();
            slices
                .flat_map(|mask| mask.data().iter().copied())
                .collect()
        };
        Self::cut(&joined(prediction), &joined(truth), grid)
    }

    fn cut(prediction: &[bool], truth: &[bool], full: Grid) -> Result<Self> {
        if full.spacing_mm.iter().any(|&s| !(s.is_finite() && s > 0.0)) {
            return Err(Error::Parameter(format!(
                "spacing must be positive, got {:?} mm",
                full.spacing_mm
            )));
        }
        let sides = full.shape.iter().zip(full.spacing_mm);
        let used = sides.skip(usize::from(full.axes == Axes::Two));
        let diagonal_mm = used
            .map(|(&n, s)| (n as f64 * s).powi(2))
            .sum::<f64>()
            .sqrt();
        let (start, end) = union_box(prediction, truth, full.shape);
        let cut = |mask: &[bool]| crop(mask, full.shape, start, end);
        Ok(Self {
            prediction: cut(prediction),
            truth: cut(truth),
            grid: Grid {
                shape: [0, 1, 2].map(|axis| end[axis] - start[axis]),
                ..full
            },
            diagonal_mm,
        })
    }

    fn counts(&self) -> (usize, usize, usize) {
        let count = |mask: &[bool]| mask.iter().filter(|&&v| v).count();
        let both = self.prediction.iter().zip(&self.truth);
        let common = both.filter(|&(&a, &b)| a && b).count();
        (common, count(&self.prediction), count(&self.truth))
    }

    /// 2 |P ∩ T| / (|P| + |T|); `None` if both are empty.
    pub fn dice(&self) -> Option<f64> {
        let (common, prediction, truth) = self.counts();
        let total = prediction + truth;
        (total > 0).then(|| 2.0 * common as f64 / total as f64)
    }

    /// |P ∩ T| / |P ∪ T|; `None` if both are empty.
    pub fn iou(&self) -> Option<f64> {
        let (common, prediction, truth) = self.counts();
        let union = prediction + truth - common;
        (union > 0).then(|| common as f64 / union as f64)
    }

    /// Distances between the borders; `None` if both are empty.
    pub fn surface_distances(&self) -> Option<SurfaceDistances> {
        SurfaceDistances::new(self)
    }

    /// The borders as elements of length or area; `None` if both are empty.
    pub fn surface_elements(&self) -> Option<SurfaceElements> {
        SurfaceElements::new(self)
    }

    /// Length of the prediction's border over that of the truth's, with the elements of [`Self::surface_elements`]; in
    /// volumes the areas. `None` where the truth is empty.
    pub fn contour_ratio(&self) -> Option<f64> {
        let [prediction, truth] = elements::border_sizes(self);
        (truth > 0.0).then(|| prediction / truth)
    }

    /// Every score, NSD at `tolerance_mm`; `None` if both masks are empty.
    pub fn scores(&self, tolerance_mm: f64) -> Option<Scores> {
        let surface = self.surface_distances()?;
        Some(Scores {
            dice: self.dice()?,
            iou: self.iou()?,
            hd_mm: surface.hd_mm(),
            hd95_mm: surface.hd95_mm(),
            assd_mm: surface.assd_mm(),
            nsd: surface.nsd(tolerance_mm),
        })
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "hand-computed values are exact")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{arbitrary_mask, mask_of_text};
    use crate::{Plane, VolumeGeometry};

    #[test]
    fn hand_computed_overlap_and_distances() {
        let truth = mask_of_text(&["......", ".####.", "......"]);
        let prediction = mask_of_text(&["......", ".##...", "......"]);
        let pair = MaskPair::new(&prediction, &truth, [3.0, 0.5]).unwrap();
        let scores = pair.scores(0.5).unwrap();
        assert_eq!(scores.dice, 4.0 / 6.0);
        assert_eq!(scores.iou, 0.5);
        // Truth to prediction: 0, 0, 0.5, 1; prediction to truth: 0, 0.
        assert_eq!(scores.hd_mm, 1.0);
        assert!((scores.hd95_mm - 0.925).abs() < 1e-12);
        assert_eq!(scores.assd_mm, 0.25);
        assert_eq!(scores.nsd, 5.0 / 6.0);
    }

    #[test]
    fn empty_masks() {
        let size = Size::new(30, 80);
        let empty = Mask::zeros(size);
        let mut dot = Mask::zeros(size);
        dot.data_mut()[100] = true;
        let spacing = [1.0, 0.5];
        let neither = MaskPair::new(&empty, &empty, spacing).unwrap();
        assert!(neither.scores(1.0).is_none() && neither.dice().is_none());
        assert!(neither.surface_elements().is_none());
        for (a, b) in [(&empty, &dot), (&dot, &empty)] {
            let pair = MaskPair::new(a, b, spacing).unwrap();
            let scores = pair.scores(1e9).unwrap();
            assert_eq!((scores.dice, scores.iou, scores.nsd), (0.0, 0.0, 0.0));
            let distances = [scores.hd_mm, scores.hd95_mm, scores.assd_mm];
            assert_eq!(distances, [50.0; 3]);
            assert_eq!(pair.surface_elements().unwrap().nsd(1e9), 0.0);
        }
        let nothing = Mask::zeros(Size::new(0, 4));
        assert!(
            MaskPair::new(&nothing, &nothing, spacing)
                .unwrap()
                .iou()
                .is_none()
        );
    }

    #[test]
    fn mismatches_are_refused() {
        let (a, b) = (Mask::zeros(Size::new(2, 3)), Mask::zeros(Size::new(3, 2)));
        assert!(MaskPair::new(&a, &b, [1.0; 2]).is_err());
        assert!(MaskPair::new(&a, &a, [0.0, 1.0]).is_err());
        let volume =
            |shape| LabelVolume::zeros(VolumeGeometry::with_spacing(shape, [1.0; 3]).unwrap());
        assert!(MaskPair::of_label(&volume([2, 3, 4]), &volume([4, 3, 2]), 1).is_err());
    }

    #[test]
    fn stacks_are_compared_as_their_volumes() {
        let geometry = VolumeGeometry::with_spacing([5, 4, 3], [0.5, 1.0, 3.0]).unwrap();
        let volume = |step: usize| {
            let values = (0..60).map(|v| u16::from(v * step % 7 < 3)).collect();
            LabelVolume::new(geometry.clone(), values).unwrap()
        };
        let (a, b) = (volume(3), volume(5));
        let stack = |of: &LabelVolume, plane| MaskStack::of_labels(of, plane, |value| value == 1);
        let whole = MaskPair::of_label(&a, &b, 1).unwrap().scores(1.0);
        assert!(whole.is_some_and(|scores| scores.hd_mm > 0.5));
        for plane in [Plane::Axial, Plane::Sagittal] {
            let (a, b) = (stack(&a, plane), stack(&b, plane));
            let pair = MaskPair::of_stacks(&a, &b).unwrap().scores(1.0);
            let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{plane}: {a} {b}");
            let (pair, whole) = (pair.unwrap(), whole.unwrap());
            assert_eq!((pair.dice, pair.iou), (whole.dice, whole.iou));
            close(pair.hd_mm, whole.hd_mm);
            close(pair.assd_mm, whole.assd_mm);
            close(pair.nsd, whole.nsd);
        }
        let (axial, sagittal) = (stack(&a, Plane::Axial), stack(&a, Plane::Sagittal));
        let error = MaskPair::of_stacks(&axial, &sagittal).unwrap_err();
        assert!(error.to_string().contains("differ"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn symmetric_and_perfect_on_itself(
            (a, b) in (2usize..14, 2usize..14).prop_flat_map(|(h, w)| {
                (arbitrary_mask(h..h + 1, w..w + 1), arbitrary_mask(h..h + 1, w..w + 1))
            }),
            spacing in [0.3f64..3.0, 0.3f64..3.0],
        ) {
            let forth = MaskPair::new(&a, &b, spacing).unwrap().scores(1.0);
            let back = MaskPair::new(&b, &a, spacing).unwrap().scores(1.0);
            match (forth, back) {
                (None, None) => prop_assert!(a.area() + b.area() == 0),
                (Some(forth), Some(back)) => {
                    prop_assert_eq!((forth.dice, forth.iou), (back.dice, back.iou));
                    prop_assert_eq!((forth.hd_mm, forth.hd95_mm), (back.hd_mm, back.hd95_mm));
                    prop_assert!((forth.assd_mm - back.assd_mm).abs() < 1e-12);
                    prop_assert_eq!(forth.nsd, back.nsd);
                    prop_assert!(forth.hd95_mm <= forth.hd_mm && forth.iou <= forth.dice);
                }
                _ => prop_assert!(false, "defined in one direction only"),
            }
            if let Some(own) = MaskPair::new(&a, &a, spacing).unwrap().scores(0.0) {
                prop_assert_eq!((own.dice, own.iou, own.nsd, own.hd_mm), (1.0, 1.0, 1.0, 0.0));
            }
        }

        #[test]
        fn a_volume_of_one_slice_overlaps_like_its_image(mask in arbitrary_mask(1..9, 1..9)) {
            let Size { height, width } = mask.size();
            let geometry = VolumeGeometry::with_spacing([width, height, 1], [1.0; 3]).unwrap();
            let labels = mask.data().iter().map(|&v| if v { 7 } else { 3 }).collect();
            let volume = LabelVolume::new(geometry, labels).unwrap();
            let pair = MaskPair::of_label(&volume, &volume, 7).unwrap();
            prop_assert_eq!(pair.dice().is_some(), mask.area() > 0);
            prop_assert_eq!(pair.counts(), (mask.area(), mask.area(), mask.area()));
        }
    }
}
