//! `read` and `write`: images of every format as arrays, and masks on their grid.

use std::path::PathBuf;
use std::sync::Arc;

use numpy::PyArray2;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use synthfm::api;
use synthfm_image::{
    FileFormat, Image, ImageFile, LabelFile, LabelMap, LabelVolume, Mask, MaskFormat, OpenOptions,
    Picture, Plane, ReadOptions, ScanInfo, Segment, Segmentation, Size, Volume, VolumeGeometry,
    Window, WindowChoice, WriteOptions, open_scan, write_segmentation,
};

use crate::arrays::{
    any_array, borrowed_pixels, borrowed_rows, borrowed_volume, floats, labels, matrix, numbers,
};
use crate::errors::{OrRaise, usage};
use crate::work::interruptible;

/// Names errors about arrays, which have no path.
const ARRAY: &str = "the array";

/// Which part of an image is shown, and how.
pub(crate) type Look = api::Shown;

/// An image with what is known about it. Unpacks into `array, affine, spacing, modality`.
#[pyclass(frozen, module = "synthfm")]
pub(crate) struct Scan {
    scan: Arc<synthfm_image::Scan>,
    path: PathBuf,
}

/// Where an image comes from.
pub(crate) enum Source {
    /// A file or folder that is still to be opened.
    Path(PathBuf, OpenOptions),
    /// What was read, with the name for errors.
    Read(Arc<synthfm_image::Scan>, PathBuf),
}

impl Source {
    /// A path or a [`Scan`]; `None` for anything else.
    pub(crate) fn of(image: &Bound<'_, PyAny>, series: Option<String>) -> Option<Self> {
        if let Ok(scan) = image.cast::<Scan>() {
            let scan = scan.get();
            return Some(Self::Read(Arc::clone(&scan.scan), scan.path.clone()));
        }
        let Ok(path) = image.extract::<PathBuf>() else {
            return None;
        };
        let options = OpenOptions {
            series,
            ..OpenOptions::default()
        };
        Some(Self::Path(path, options))
    }

    /// An image from an array; a file of NumPy's would be shown alike.
    pub(crate) fn of_content(content: ImageFile) -> Self {
        let info = ScanInfo::of_format(FileFormat::Npy);
        let scan = synthfm_image::Scan { content, info };
        Self::Read(Arc::new(scan), PathBuf::from(ARRAY))
    }

    /// A picture from an array.
    pub(crate) fn of_picture(picture: Picture) -> Self {
        Self::of_content(ImageFile::Picture(picture))
    }

    /// The image, with its name for errors.
    pub(crate) fn open(self) -> anyhow::Result<(Arc<synthfm_image::Scan>, PathBuf)> {
        match self {
            Self::Path(path, options) => Ok((Arc::new(open_scan(&path, &options)?), path)),
            Self::Read(scan, path) => Ok((scan, path)),
        }
    }
}

/// Read an image, a volume or a DICOM series: DICOM, NIfTI, NRRD, `MetaImage`, TIFF, PNG, JPEG, BMP, NPY, NPZ.
///
/// `series` chooses one of several: the number that `synthfm info FOLDER` gives an image, or a Series Instance UID; of a file
/// with several volumes its number from 1. `max_memory` in bytes limits the values and the file (2 GiB).
#[pyfunction]
#[pyo3(signature = (path, *, series=None, max_memory=None))]
pub(crate) fn read(
    py: Python<'_>,
    path: PathBuf,
    series: Option<String>,
    max_memory: Option<u64>,
) -> PyResult<Scan> {
    let limits = ReadOptions::default();
    let options = OpenOptions {
        read: ReadOptions {
            max_bytes: max_memory.unwrap_or(limits.max_bytes),
        },
        series,
        ..OpenOptions::default()
    };
    let (scan, path) = interruptible(py, move |_| {
        let scan = open_scan(&path, &options);
        scan.map(|scan| (Arc::new(scan), path))
    })?
    .or_raise()?;
    Ok(Scan { scan, path })
}

#[pymethods]
impl Scan {
    /// The values, read-only and without a copy: float32 `[i, j, k]` of a volume, as nibabel orders them, float32 `[H, W]` or
    /// uint8 `[H, W, 3]` of a picture.
    #[getter]
    #[expect(unsafe_code, reason = "an array of the values without a copy")]
    fn array<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let owner = slf.clone().into_any();
        // SAFETY: the object is frozen and holds the values, which nobody changes.
        unsafe {
            match &slf.get().scan.content {
                ImageFile::Picture(Picture::Grey(image)) => {
                    borrowed_rows(owner, image.size(), image.data())
                }
                ImageFile::Picture(Picture::Rgb(image)) => borrowed_pixels(owner, image),
                ImageFile::Volume(volume) => {
                    borrowed_volume(owner, volume.geometry().shape(), volume.data())
                }
            }
        }
    }

    /// From array indices to millimetres to the patient's right, front and head (RAS), float64 `[4, 4]`.
    #[getter]
    fn affine<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let rows = match &self.scan.content {
            ImageFile::Volume(volume) => api::ras_affine(volume.geometry()),
            ImageFile::Picture(_) => {
                let [row, column] = self.scan.info.pixel_spacing_mm.unwrap_or([1.0; 2]);
                let mut rows = [[0.0; 4]; 4];
                for (axis, spacing) in [row, column, 1.0, 1.0].into_iter().enumerate() {
                    rows[axis][axis] = spacing;
                }
                rows
            }
        };
        matrix(py, rows)
    }

    /// Millimetres between neighbours along each axis of the array; `None` for pictures that do not say.
    #[getter]
    fn spacing<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let spacing = match &self.scan.content {
            ImageFile::Volume(volume) => Some(volume.geometry().spacing_mm().to_vec()),
            ImageFile::Picture(_) => self.scan.info.pixel_spacing_mm.map(|s| s.to_vec()),
        };
        spacing.map(|s| PyTuple::new(py, s)).transpose()
    }

    /// DICOM's word for the kind of image, such as CT, MR or US; `None` where it is not known.
    #[getter]
    fn modality(&self) -> Option<String> {
        self.scan.info.modality.clone()
    }

    /// Name of the file's format.
    #[getter]
    fn format(&self) -> &'static str {
        self.scan.info.format.name()
    }

    /// What one should know about the image: uneven slices, a series chosen among several.
    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.scan.info.warnings.clone()
    }

    /// Where it was read from.
    #[getter]
    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    fn __iter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let parts = ["array", "affine", "spacing", "modality"].map(|name| slf.getattr(name));
        let parts: PyResult<Vec<_>> = parts.into_iter().collect();
        Ok(PyTuple::new(slf.py(), parts?)?.try_iter()?.into_any())
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let shape = Self::array(slf)?.getattr("shape")?.repr()?.to_string();
        let own = slf.get();
        Ok(format!(
            "Scan({:?}, shape={shape}, format={:?})",
            own.path.display().to_string(),
            own.format()
        ))
    }
}

/// The plane of this name.
fn plane(axis: &str) -> PyResult<Plane> {
    match axis {
        "axial" => Ok(Plane::Axial),
        "coronal" => Ok(Plane::Coronal),
        "sagittal" => Ok(Plane::Sagittal),
        other => Err(usage(format!(
            "axis: axial, coronal or sagittal expected, got {other}"
        ))),
    }
}

/// Slice, plane and window of Python's arguments. A window is a name or a pair: width and level.
pub(crate) fn look(
    slice: Option<usize>,
    axis: &str,
    window: Option<&Bound<'_, PyAny>>,
) -> PyResult<Look> {
    Ok(Look {
        slice,
        plane: plane(axis)?,
        window: window.map(window_of).transpose()?,
    })
}

/// A window by its name, or width and level.
fn window_of(value: &Bound<'_, PyAny>) -> PyResult<WindowChoice> {
    if let Ok(name) = value.extract::<String>() {
        return name
            .parse()
            .map_err(|error| usage(format!("window: {error}")));
    }
    let (width, level): (f64, f64) = value
        .extract()
        .map_err(|_| usage("window: a name, or (width, level) expected"))?;
    Ok(WindowChoice::Range(
        Window::of_width_level(width, level).or_raise()?,
    ))
}

/// A grid of this shape, from an affine in RAS millimetres or from spacings; without both, 1 mm.
fn grid(
    shape: [usize; 3],
    affine: Option<&Bound<'_, PyAny>>,
    spacing: Option<&Bound<'_, PyAny>>,
) -> PyResult<VolumeGeometry> {
    if let Some(affine) = affine {
        let (found, values) = numbers(affine)?;
        if found != [4, 4] {
            return Err(usage(format!(
                "affine: an array [4, 4] expected, got {found:?}"
            )));
        }
        let row = |r: usize, sign: f64| [0, 1, 2, 3].map(|c| 0.0 + sign * values[4 * r + c]);
        let lps = [row(0, -1.0), row(1, -1.0), row(2, 1.0)];
        return VolumeGeometry::new(shape, lps).or_raise();
    }
    let spacing = match spacing {
        Some(spacing) => numbers(spacing)?.1,
        None => vec![1.0; 3],
    };
    let Ok(spacing) = <[f64; 3]>::try_from(spacing) else {
        return Err(usage("spacing: 3 numbers expected"));
    };
    VolumeGeometry::with_spacing(shape, spacing).or_raise()
}

/// A volume from an array `[i, j, k]`.
pub(crate) fn volume_of_array(image: &Bound<'_, PyAny>) -> PyResult<Volume> {
    let reversed = any_array(image)?.as_any().getattr("T")?;
    // C order of the reversed axes is the order of volumes.
    let (shape, values) = floats(&reversed)?;
    let [nk, nj, ni] = shape[..] else {
        return Err(usage(format!(
            "a volume [i, j, k] expected, got {} axes",
            shape.len()
        )));
    };
    let geometry = VolumeGeometry::with_spacing([ni, nj, nk], [1.0; 3]).or_raise()?;
    Volume::new(geometry.without_place(), values).or_raise()
}

/// Write a mask or labels in the format of the path's ending: .png, .tif, .nii.gz, .seg.nrrd, .mha, .dcm (DICOM-SEG),
/// .rtstruct.dcm, .coco.json. Returns what the format could not keep.
///
/// `mask` has the shape of the image `like` (what `read` gave, or a path); bool, or whole numbers from 0 to 65535. With
/// `slice` and `axis` it is one slice `[H, W]` as `Predictor` shows it, of a volume that is empty elsewhere. Without `like`,
/// `affine` (RAS, millimetres) or `spacing` place a volume. `names` maps labels to names.
#[pyfunction]
#[pyo3(signature = (mask, path, like=None, *, affine=None, spacing=None, slice=None, axis="axial", names=None, format=None))]
#[expect(clippy::too_many_arguments, reason = "named arguments of Python")]
pub(crate) fn write(
    py: Python<'_>,
    mask: &Bound<'_, PyAny>,
    path: PathBuf,
    like: Option<&Bound<'_, PyAny>>,
    affine: Option<&Bound<'_, PyAny>>,
    spacing: Option<&Bound<'_, PyAny>>,
    slice: Option<usize>,
    axis: &str,
    names: Option<std::collections::BTreeMap<u16, String>>,
    format: Option<&str>,
) -> PyResult<Vec<String>> {
    let format = match format {
        None => None,
        Some(name) => Some(MaskFormat::of_name(name).ok_or_else(|| {
            let names: Vec<&str> = MaskFormat::ALL.iter().map(|(_, name, _)| *name).collect();
            usage(format!("format: one of {} expected", names.join(", ")))
        })?),
    };
    let like = match like {
        None => None,
        Some(like) => Some(
            Source::of(like, None)
                .ok_or_else(|| usage("like: an image of synthfm.read, or a path, expected"))?,
        ),
    };
    let place = slice.map(|slice| plane(axis).map(|plane| (plane, slice)));
    let place = place.transpose()?;
    let (shape, values) = labels(mask)?;
    let grid = match (&like, &shape[..]) {
        (None, &[ni, nj, nk]) => Some(grid([ni, nj, nk], affine, spacing)?),
        _ => None,
    };
    let segments = names.unwrap_or_default();
    if segments.contains_key(&0) {
        return Err(usage("names: 0 is the background, which has no name"));
    }
    let segments = segments
        .into_iter()
        .map(|(label, name)| Segment::new(label, name));
    let segments: Vec<Segment> = segments.collect();
    let work = move || -> anyhow::Result<Vec<String>> {
        let (source, _) = match like {
            Some(like) => like.open()?,
            None => Source::of_picture(Picture::Grey(Image::zeros(Size::new(0, 0)))).open()?,
        };
        let labels = placed(&source.content, grid, (&shape, values), place)?;
        let segmentation = Segmentation { labels, segments };
        let options = WriteOptions {
            format,
            slice: place,
            ..WriteOptions::default()
        };
        Ok(write_segmentation(
            &path,
            &segmentation,
            &source.info,
            &options,
        )?)
    };
    py.detach(work).or_raise()
}

/// Labels on the grid of an image, or on `grid`; those of one slice are empty elsewhere.
fn placed(
    content: &ImageFile,
    grid: Option<VolumeGeometry>,
    (shape, values): (&[usize], Vec<u16>),
    slice: Option<(Plane, usize)>,
) -> anyhow::Result<LabelFile> {
    let bad = |expected: String| {
        synthfm_image::Error::Parameter(format!("mask: {expected} expected, got {shape:?}"))
    };
    let labels = match (content, shape, slice) {
        (_, &[_, _, _], None) if grid.is_some() => {
            let grid = grid.ok_or_else(|| bad("a grid".to_owned()))?;
            LabelFile::Volume(LabelVolume::new(grid, values)?)
        }
        (ImageFile::Volume(volume), &[ni, nj, nk], None) => {
            let geometry = volume.geometry();
            if geometry.shape() != [ni, nj, nk] {
                return Err(bad(format!("the shape {:?} of the image", geometry.shape())).into());
            }
            LabelFile::Volume(LabelVolume::new(geometry.clone(), values)?)
        }
        (ImageFile::Volume(volume), &[height, width], Some((plane, index))) => {
            let geometry = volume.geometry();
            let map = LabelMap::new(Size::new(height, width), values)?;
            if map.size() != geometry.slice_size(plane) {
                let size = geometry.slice_size(plane);
                return Err(bad(format!("a slice of {size}")).into());
            }
            let mut all = LabelVolume::zeros(geometry.clone());
            for label in map.labels() {
                let mask: Mask = map.mask_of(label);
                all.insert_slice(plane, index, &mask, label)?;
            }
            LabelFile::Volume(all)
        }
        (ImageFile::Picture(picture), &[height, width], None) => {
            let size = picture.size();
            if size.area() > 0 && size != Size::new(height, width) {
                return Err(bad(format!("the size {size} of the image")).into());
            }
            LabelFile::Map(LabelMap::new(Size::new(height, width), values)?)
        }
        (ImageFile::Volume(_), ..) => {
            return Err(bad("a volume like the image, or [H, W] with slice".to_owned()).into());
        }
        (ImageFile::Picture(_), ..) => return Err(bad("[H, W] without slice".to_owned()).into()),
    };
    Ok(labels)
}
