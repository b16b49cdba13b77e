//! `segment_volume`: a structure through the slices of a volume.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use synthfm::api::{self, VolumePrompts};
use synthfm_image::{ImageFile, LabelVolume, VolumeGeometry};

use crate::arrays::{inside, numbers, volume_of};
use crate::errors::{OrRaise, usage};
use crate::prompts::labelled;
use crate::scan::{Look, Source, volume_of_array};
use crate::work::interruptible;

/// A structure through a volume.
#[pyclass(frozen, module = "synthfm")]
pub(crate) struct VolumeSegment {
    /// bool `[i, j, k]`.
    #[pyo3(get)]
    mask: Py<PyAny>,
    /// A dictionary for each slice with an answer: `slice`, `from`, `score`, `area_px`.
    #[pyo3(get)]
    slices: Py<PyList>,
}

#[pymethods]
impl VolumeSegment {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let shape = self.mask.bind(py).getattr("shape")?.repr()?;
        let slices = self.slices.bind(py).len();
        Ok(format!("VolumeSegment(mask={shape}, {slices} slices)"))
    }
}

/// A volume: a path, a scan, or an array `[i, j, k]`.
pub(crate) fn source(image: &Bound<'_, PyAny>, series: Option<String>) -> PyResult<Source> {
    match Source::of(image, series) {
        Some(source) => Ok(source),
        None => Ok(Source::of_content(ImageFile::Volume(volume_of_array(
            image,
        )?))),
    }
}

/// The prompts on a volume. A mask is `[i, j, k]`.
pub(crate) fn prompts(
    points: Option<&Bound<'_, PyAny>>,
    labels: Option<&Bound<'_, PyAny>>,
    region: Option<&Bound<'_, PyAny>>,
    mask: Option<&Bound<'_, PyAny>>,
    frame: &str,
) -> PyResult<(VolumePrompts, Option<Mask>)> {
    let prompts = VolumePrompts {
        points: labelled(points, labels, &[2, 3])?,
        box_: region
            .map(|region| numbers(region).map(|found| found.1))
            .transpose()?,
        mask: None,
        frame: frame.to_owned(),
    };
    let mask = match mask {
        None => None,
        Some(mask) => match inside(mask)? {
            (shape, values) if shape.len() == 3 => Some((shape, values)),
            (shape, _) => {
                return Err(usage(format!(
                    "mask: an array [i, j, k] expected, got {shape:?}"
                )));
            }
        },
    };
    Ok((prompts, mask))
}

/// Shape and values of a rough mask.
type Mask = (Vec<usize>, Vec<bool>);

/// Segments, and hears Ctrl-C between slices.
pub(crate) fn segment(
    py: Python<'_>,
    predictor: synthfm_sam::Predictor,
    source: Source,
    look: Look,
    (mut prompts, mask): (VolumePrompts, Option<Mask>),
) -> PyResult<VolumeSegment> {
    let found = interruptible(py, move |stop| -> anyhow::Result<_> {
        let (scan, path) = source.open()?;
        if let (Some(mask), ImageFile::Volume(volume)) = (mask, &scan.content) {
            prompts.mask = Some(on_grid(volume.geometry(), mask)?);
        }
        let mut predictor = predictor;
        api::segment_volume(&mut predictor, (&scan, &path), &look, &prompts, stop)
    })?;
    let answer = found.or_raise()?;
    let slices = PyList::empty(py);
    for (slice, from, score, area) in answer.slices {
        let entry = PyDict::new(py);
        entry.set_item("slice", slice)?;
        entry.set_item("from", from)?;
        entry.set_item("score", score)?;
        entry.set_item("area_px", area)?;
        slices.append(entry)?;
    }
    let shape = answer.labels.geometry().shape();
    let mask: Vec<bool> = answer.labels.data().iter().map(|&v| v != 0).collect();
    Ok(VolumeSegment {
        mask: volume_of(py, shape, mask)?.unbind(),
        slices: slices.unbind(),
    })
}

fn on_grid(geometry: &VolumeGeometry, (shape, values): Mask) -> synthfm_image::Result<LabelVolume> {
    if geometry.shape() != *shape {
        return Err(synthfm_image::Error::Parameter(format!(
            "mask: the shape {:?} of the image expected, got {shape:?}",
            geometry.shape()
        )));
    }
    let labels = values.into_iter().map(u16::from).collect();
    LabelVolume::new(geometry.clone(), labels)
}
