//! `Predictor`: an image once, then masks many times, with the names and shapes of `segment_anything.SamPredictor`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use numpy::{PyArray1, PyArray2, PyArray3};
use pyo3::prelude::*;
use synthfm::api;
use synthfm_image::{RgbImage, Size};
use synthfm_sam::{MaskOutput, Prediction, Prompts};

use crate::arrays::{borrowed_pixels, picture, rows_of, stack_of, vector};
use crate::errors::{OrRaise, model_exception, usage};
use crate::prompts::{of_picture, with_logits, with_mask};
use crate::scan::{Source, look};
use crate::volume::{self, VolumeSegment};
use crate::work::{check_process, interruptible};

/// The picture that is set, and the model with its embedding.
#[derive(Clone)]
struct State {
    predictor: synthfm_sam::Predictor,
    picture: Option<Arc<RgbImage>>,
}

/// A model and the image that it is asked about, with the names and shapes of `segment_anything.SamPredictor`.
///
/// `model` is a file, a folder or a name (by default the built-in model); `device` is `auto`, `cpu`, or in builds for GPUs
/// `vulkan[:i]` or `metal`; `precision` is `f32`, `bf16`, `f16` or `auto`; `cache` is a folder that keeps embeddings.
///
/// Points are (x, y) in pixels of the image: x to the right, y down, (0, 0) at the centre of the top-left pixel.
#[pyclass(frozen, module = "synthfm")]
pub(crate) struct Predictor {
    /// `embedded`, or the name of the model's file or folder.
    #[pyo3(get)]
    model: String,
    /// SHA-256 of the weights.
    #[pyo3(get)]
    sha256: String,
    /// The device, for people.
    #[pyo3(get)]
    device: String,
    state: Mutex<State>,
}

/// One structure.
#[pyclass(frozen, module = "synthfm")]
pub(crate) struct Segment {
    /// bool `[H, W]`.
    #[pyo3(get)]
    mask: Py<PyArray2<bool>>,
    /// The model's own estimate of the mask's `IoU`.
    #[pyo3(get)]
    score: f32,
    /// The crop that answered: left, top, width, height in pixels; `None` for the whole image.
    #[pyo3(get)]
    crop: Option<(usize, usize, usize, usize)>,
    /// float32 `[m, m]`, as `predict` takes them for `mask_input`.
    #[pyo3(get)]
    logits: Py<PyArray2<f32>>,
}

/// Masks, scores and logits of [`Predictor::predict`].
type Masks<'py> = (
    Bound<'py, PyAny>,
    Bound<'py, PyArray1<f32>>,
    Bound<'py, PyArray3<f32>>,
);

impl Predictor {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The model with the image; clones share the weights.
    fn current(&self) -> synthfm_sam::Predictor {
        self.state().predictor.clone()
    }

    fn size(&self) -> Option<Size> {
        self.state().picture.as_ref().map(|picture| picture.size())
    }
}

#[pymethods]
impl Predictor {
    #[new]
    #[pyo3(signature = (model=None, device="auto", *, precision="f32", cache=None))]
    fn new(
        py: Python<'_>,
        model: Option<PathBuf>,
        device: &str,
        precision: &str,
        cache: Option<PathBuf>,
    ) -> PyResult<Self> {
        let device = device.parse::<synthfm_sam::DeviceChoice>().or_raise()?;
        let precision = precision
            .parse::<synthfm_sam::PrecisionChoice>()
            .or_raise()?;
        let opened = interruptible(py, move |_| {
            let name = model.as_ref().map(|path| path.to_string_lossy());
            api::Model::open(name.as_deref(), device, precision, cache)
        })?;
        let opened = opened.map_err(|error| model_exception(&error))?;
        Ok(Self {
            model: opened.name,
            sha256: opened.sha256,
            device: opened.device,
            state: Mutex::new(State {
                predictor: opened.predictor,
                picture: None,
            }),
        })
    }

    /// Encode an image; prompts refer to it from here on.
    ///
    /// `image` is an array `[H, W, 3]` of uint8 (`image_format` says RGB or BGR), an array `[H, W]` of intensities, a path
    /// of any format that `read` takes, or what `read` gave. Of a volume, `slice` (from 0) and `axis` (axial, coronal,
    /// sagittal) choose the slice, shown as radiologists see it. Intensities other than 8-bit ones pass through `window`: a
    /// name such as `abdomen`, or (width, level); by default as the program chooses.
    #[pyo3(signature = (image, image_format="RGB", *, slice=None, axis="axial", window=None, series=None))]
    #[expect(clippy::too_many_arguments, reason = "named arguments of Python")]
    fn set_image(
        &self,
        py: Python<'_>,
        image: &Bound<'_, PyAny>,
        image_format: &str,
        slice: Option<usize>,
        axis: &str,
        window: Option<&Bound<'_, PyAny>>,
        series: Option<String>,
    ) -> PyResult<()> {
        let bgr = match image_format {
            "RGB" => false,
            "BGR" => true,
            other => {
                return Err(usage(format!(
                    "image_format: RGB or BGR expected, got {other}"
                )));
            }
        };
        let look = look(slice, axis, window)?;
        let source = match Source::of(image, series) {
            Some(source) => source,
            None => Source::of_picture(picture(image, bgr)?),
        };
        let predictor = self.current();
        let found = interruptible(py, move |_| -> anyhow::Result<State> {
            let (scan, path) = source.open()?;
            let picture = api::picture(&scan, &path, &look)?;
            let mut predictor = predictor;
            predictor.set_image(&picture)?;
            Ok(State {
                predictor,
                picture: Some(Arc::new(picture)),
            })
        })?;
        *self.state() = found.or_raise()?;
        Ok(())
    }

    /// Forget the image.
    fn reset_image(&self, py: Python<'_>) {
        let found = py.detach(|| self.current().without_image());
        *self.state() = State {
            predictor: found,
            picture: None,
        };
    }

    /// Masks of one structure, as `SamPredictor.predict` gives them: masks bool `[C, H, W]`, the model's own estimates of their
    /// IoU float32 `[C]`, and low-resolution logits float32 `[C, m, m]` for `mask_input`.
    ///
    /// `point_coords` `[N, 2]`, `point_labels` `[N]` (1 on the structure, 0 beside it), `box` `[4]` (x0, y0, x1, y1),
    /// `mask_input` `[1, m, m]`. C is 3 with `multimask_output`, else 1; a model without alternatives gives 1 in any case.
    /// With `return_logits` the masks are logits, float32.
    #[pyo3(signature = (point_coords=None, point_labels=None, r#box=None, mask_input=None, multimask_output=true, return_logits=false))]
    #[expect(clippy::too_many_arguments, reason = "SamPredictor's arguments")]
    fn predict<'py>(
        &self,
        py: Python<'py>,
        point_coords: Option<&Bound<'py, PyAny>>,
        point_labels: Option<&Bound<'py, PyAny>>,
        r#box: Option<&Bound<'py, PyAny>>,
        mask_input: Option<&Bound<'py, PyAny>>,
        multimask_output: bool,
        return_logits: bool,
    ) -> PyResult<Masks<'py>> {
        check_process()?;
        if point_coords.is_some() && point_labels.is_none() {
            return Err(usage("point_labels must be given with point_coords"));
        }
        let prompts = of_picture(point_coords, point_labels, r#box)?;
        let prompts = with_logits(prompts, mask_input)?;
        let predictor = self.current();
        let answer = py.detach(|| {
            let alternatives = predictor.sam().config().has_alternatives();
            let output = if multimask_output && alternatives {
                MaskOutput::Multi
            } else {
                MaskOutput::Single
            };
            let prediction = predictor.predict(&prompts, output)?;
            let masks = masks(&predictor, &prediction, &prompts, return_logits);
            Ok::<_, synthfm_sam::Error>((prediction, masks))
        });
        py.check_signals()?;
        let (prediction, masks) = answer.or_raise()?;
        let count = prediction.masks.len();
        let size = self.size().unwrap_or(Size::new(0, 0));
        let shape = [count, size.height, size.width];
        let masks = match masks {
            Masked::Bools(values) => stack_of(py, shape, values)?.into_any(),
            Masked::Logits(values) => stack_of(py, shape, values)?.into_any(),
        };
        let side = predictor.sam().config().low_res_side();
        let scores = prediction.masks.iter().map(|mask| mask.iou).collect();
        let logits = prediction.masks.into_iter();
        let logits: Vec<f32> = logits.flat_map(|mask| mask.low_res_logits).collect();
        let logits = stack_of(py, [count, side, side], logits)?;
        Ok((masks, vector(py, scores), logits))
    }

    /// The structure that prompts mean: the answer of the program's `predict`, bit for bit.
    ///
    /// `points` `[N, 2]`; `labels` `[N]`, 1 on the structure (the default) or 0 beside it; `box` (x0, y0, x1, y1); `mask`
    /// `[H, W]`, an earlier answer or a rough mask to correct. Differs from `predict` in that our own model looks again at
    /// crops of the image.
    #[pyo3(signature = (points=None, labels=None, r#box=None, mask=None, *, multimask=false))]
    fn segment(
        &self,
        py: Python<'_>,
        points: Option<&Bound<'_, PyAny>>,
        labels: Option<&Bound<'_, PyAny>>,
        r#box: Option<&Bound<'_, PyAny>>,
        mask: Option<&Bound<'_, PyAny>>,
        multimask: bool,
    ) -> PyResult<Segment> {
        check_process()?;
        let prompts = with_mask(of_picture(points, labels, r#box)?, mask)?;
        let predictor = self.current();
        let output = if multimask {
            MaskOutput::Multi
        } else {
            MaskOutput::Single
        };
        let answer = py.detach(|| predictor.answer(&prompts, output));
        py.check_signals()?;
        let answer = answer.or_raise()?;
        let side = predictor.sam().config().low_res_side();
        let size = answer.mask.size();
        Ok(Segment {
            mask: rows_of(py, size, answer.mask.into_data())?.unbind(),
            score: answer.iou,
            crop: answer
                .window
                .map(|w| (w.left, w.top, w.size.width, w.size.height)),
            logits: rows_of(py, Size::new(side, side), answer.low_res_logits)?.unbind(),
        })
    }

    /// A whole structure in a volume: from the slices with prompts to all others, as the program's `predict --volume`.
    ///
    /// `image` is a path, what `read` gave, or an array `[i, j, k]`. `points` `[N, 3]` in `frame`: array indices (`voxel`),
    /// `display`, or millimetres (`lps`, `ras`); or `[N, 2]` on `slice`. `box` has 6 numbers, or 4 on `slice`. `mask`
    /// `[i, j, k]` is a rough mask. The image that is set stays as it is.
    #[pyo3(signature = (image, points=None, labels=None, r#box=None, mask=None, *, frame="voxel", slice=None, axis="axial", window=None, series=None))]
    #[expect(clippy::too_many_arguments, reason = "named arguments of Python")]
    fn segment_volume(
        &self,
        py: Python<'_>,
        image: &Bound<'_, PyAny>,
        points: Option<&Bound<'_, PyAny>>,
        labels: Option<&Bound<'_, PyAny>>,
        r#box: Option<&Bound<'_, PyAny>>,
        mask: Option<&Bound<'_, PyAny>>,
        frame: &str,
        slice: Option<usize>,
        axis: &str,
        window: Option<&Bound<'_, PyAny>>,
        series: Option<String>,
    ) -> PyResult<VolumeSegment> {
        let look = look(slice, axis, window)?;
        let source = volume::source(image, series)?;
        let prompts = volume::prompts(points, labels, r#box, mask, frame)?;
        volume::segment(py, self.current(), source, look, prompts)
    }

    /// The 8-bit picture that the model sees, uint8 `[H, W, 3]`, read-only; `None` without an image.
    #[getter]
    #[expect(unsafe_code, reason = "an array of the picture without a copy")]
    fn image<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let picture = slf.get().state().picture.clone();
        let Some(picture) = picture else {
            return Ok(None);
        };
        let keeper = Bound::new(slf.py(), Keeper(Arc::clone(&picture)))?;
        // SAFETY: the keeper holds the picture, which nobody changes.
        unsafe { borrowed_pixels(keeper.into_any(), &picture) }.map(Some)
    }

    /// Whether an image is set.
    #[getter]
    fn is_image_set(&self) -> bool {
        self.state().picture.is_some()
    }

    /// Rows and columns of the image; `None` without one.
    #[getter]
    fn original_size(&self) -> Option<(usize, usize)> {
        self.size().map(|size| (size.height, size.width))
    }

    /// Side of the model's input in pixels.
    #[getter]
    fn image_size(&self) -> usize {
        self.state().predictor.sam().config().image_size
    }

    /// Whether the model gives three masks for an ambiguous prompt.
    #[getter]
    fn has_alternatives(&self) -> bool {
        self.state().predictor.sam().config().has_alternatives()
    }

    fn __repr__(&self) -> String {
        format!(
            "Predictor(model={:?}, device={:?})",
            self.model, self.device
        )
    }
}

#[pymethods]
impl Segment {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let shape = self.mask.bind(py).getattr("shape")?.repr()?;
        Ok(format!("Segment(mask={shape}, score={:.3})", self.score))
    }
}

/// Holds a picture as long as an array shows it.
#[pyclass(frozen)]
struct Keeper(#[expect(dead_code, reason = "kept alive")] Arc<RgbImage>);

/// What `predict` returns for each mask.
enum Masked {
    Bools(Vec<bool>),
    Logits(Vec<f32>),
}

/// The masks of a prediction one after another, as [`synthfm_sam::Predictor::mask`] makes them, or their logits.
fn masks(
    predictor: &synthfm_sam::Predictor,
    prediction: &Prediction,
    prompts: &Prompts,
    return_logits: bool,
) -> Masked {
    let all = prediction.masks.iter();
    if return_logits {
        return Masked::Logits(all.flat_map(|mask| mask.logits.data()).copied().collect());
    }
    let all = all.map(|mask| predictor.mask(mask, prompts).into_data());
    Masked::Bools(all.collect::<Vec<_>>().concat())
}
