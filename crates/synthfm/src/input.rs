//! From a file or DICOM series to the 8-bit picture that a model sees, and from a mask back to a file of the same grid.
//!
//! Which intensities are shown is decided by [`Presentation`], as in evaluation and the annotator.

use std::path::Path;

use anyhow::{Context, Result, bail};
use synthfm_image::{
    ImageFile, LabelFile, LabelMap, LabelVolume, Mask, MaskFormat, OpenOptions, Picture, Plane,
    Presentation, ReadOptions, RgbImage, Scan, ScanInfo, Segment, Segmentation, Volume,
    VolumeGeometry, Window, WindowChoice, WriteOptions, check_source, open_scan, read_labels,
    write_segmentation,
};

use crate::cli::ViewArgs;
use crate::output::usage;

/// Value of a structure in the label maps that are written.
const LABEL: u16 = 1;

/// A window in numbers: one by name, or width and level.
pub(crate) fn parse_range(text: &str) -> Result<Window, String> {
    match text.parse()? {
        WindowChoice::Range(window) => Ok(window),
        WindowChoice::Own | WindowChoice::Percentiles => {
            Err("a window's name, or width,level expected".to_owned())
        }
    }
}

/// Which part of a file is shown, and how.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) slice: Option<usize>,
    pub(crate) plane: Plane,
    pub(crate) window: Option<WindowChoice>,
    pub(crate) open: OpenOptions,
}

impl View {
    /// Whether both show the same pixels of a file in the same way.
    pub(crate) fn shows_as(&self, other: &Self) -> bool {
        (self.slice, self.plane) == (other.slice, other.plane) && self.window == other.window
    }
}

impl From<&ViewArgs> for View {
    fn from(args: &ViewArgs) -> Self {
        Self {
            slice: args.slice,
            plane: args.axis.into(),
            window: args.window.clone(),
            open: args.open.options(),
        }
    }
}

/// Where the picture lies in its file.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// The picture is the whole file.
    Picture,
    /// A slice of a volume.
    Slice {
        geometry: Box<VolumeGeometry>,
        plane: Plane,
        index: usize,
    },
}

/// The 8-bit picture that a model sees of a file, with its place in the file.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(crate) rgb: RgbImage,
    pub(crate) place: Place,
    /// Intensities shown as black and white; `None` if they were taken as they are.
    pub(crate) window: Option<[f32; 2]>,
    /// Where the window comes from.
    pub(crate) window_source: Option<String>,
    /// Facts about the file beside its pixel values.
    pub(crate) info: ScanInfo,
}

/// Reads a picture, or one slice of a volume.
pub(crate) fn read(path: &Path, view: &View) -> Result<Input> {
    of_scan(path, &open_scan(path, &view.open)?, view)
}

/// Shows an opened file, or one slice of it, as a model sees it.
pub(crate) fn of_scan(path: &Path, scan: &Scan, view: &View) -> Result<Input> {
    match &scan.content {
        ImageFile::Picture(picture) => of_picture(path, picture, scan.info.clone(), view),
        ImageFile::Volume(volume) => of_volume(path, volume, scan.info.clone(), view),
    }
}

fn of_picture(path: &Path, picture: &Picture, mut info: ScanInfo, view: &View) -> Result<Input> {
    if view.slice.is_some() {
        return Err(usage(format!(
            "a slice is chosen, and {} is a picture",
            path.display()
        )));
    }
    let (rgb, shown) = match (picture, &view.window) {
        (Picture::Rgb(_), Some(_)) => {
            let path = path.display();
            return Err(usage(format!(
                "a window is for intensities, and {path} is a colour picture"
            )));
        }
        (Picture::Rgb(_), None) => (picture.shown(&info)?, None),
        (Picture::Grey(image), choice) => {
            let shown = Presentation::of_picture(image, &info, choice.as_ref());
            let shown = shown.map_err(|error| no_window(path, &error))?;
            if choice.is_some() && info.windows.is_empty() && image.is_8_bit() {
                info.warnings.push(
                    "a window was asked for, and the picture has 8 bits: without one it is shown as it is"
                        .to_owned(),
                );
            }
            (shown.apply(image)?, Some(shown))
        }
    };
    Ok(Input::new(rgb, Place::Picture, shown, info))
}

/// Only the file's own window can be missing.
pub(crate) fn no_window(path: &Path, error: &synthfm_image::Error) -> anyhow::Error {
    usage(format!("window own: {}: {error}", path.display()))
}

fn of_volume(path: &Path, volume: &Volume, info: ScanInfo, view: &View) -> Result<Input> {
    let (geometry, plane) = (volume.geometry(), view.plane);
    let count = geometry.slice_count(plane);
    let index = match view.slice {
        Some(index) => index,
        None if count == 1 => 0,
        None => {
            let path = path.display();
            return Err(usage(format!(
                "{path} is a volume of {count} {plane} slices: choose one with --slice (0 to {})",
                count.saturating_sub(1)
            )));
        }
    };
    if index >= count {
        return Err(usage(format!(
            "{}: {plane} slice {index} does not exist: there are {count}, counted from 0",
            path.display()
        )));
    }
    let slice = volume
        .slice(plane, index)
        .with_context(|| path.display().to_string())?;
    let shown = Presentation::of_slice(volume, (plane, index), &info, view.window.as_ref());
    let shown = shown.map_err(|error| no_window(path, &error))?;
    let rgb = shown.apply(&slice.image)?;
    let place = Place::Slice {
        geometry: Box::new(geometry.clone()),
        plane,
        index,
    };
    Ok(Input::new(rgb, place, Some(shown), info))
}

impl Place {
    /// The usual format of a mask.
    const fn format(&self) -> MaskFormat {
        match self {
            Self::Picture => MaskFormat::Png,
            Self::Slice { .. } => MaskFormat::Nifti,
        }
    }

    /// Slice and plane, for records.
    pub(crate) fn slice(&self) -> Option<(usize, String)> {
        match self {
            Self::Picture => None,
            Self::Slice { plane, index, .. } => Some((*index, plane.to_string())),
        }
    }

    /// Reads a mask and brings it onto the grid of the input: everything but 0 is inside. How a volume was brought there
    /// is written to standard error.
    pub(crate) fn read_mask(&self, path: &Path, input: &RgbImage) -> Result<Mask> {
        let labels = match (self, read_labels(path, &ReadOptions::default())?) {
            (_, LabelFile::Map(labels)) => labels,
            (
                Self::Slice {
                    geometry,
                    plane,
                    index,
                },
                LabelFile::Volume(labels),
            ) => {
                let placed = labels.on_grid(geometry);
                let (labels, note) = placed.with_context(|| path.display().to_string())?;
                if let Some(note) = note {
                    synthfm_image::tell(&format!("note: {}: {note}", path.display()));
                }
                labels.slice(*plane, *index)?
            }
            (_, LabelFile::Volume(labels)) => {
                let shape = labels.geometry().shape();
                bail!(
                    "{}: a volume of {shape:?} does not lie on the grid of the input",
                    path.display()
                );
            }
        };
        inside(path, &labels, input)
    }
}

impl Input {
    fn new(rgb: RgbImage, place: Place, shown: Option<Presentation>, info: ScanInfo) -> Self {
        let (window, window_source) = shown
            .and_then(|Presentation { window, source, .. }| Some((window?, source?)))
            .map(|(window, source)| ([window.low, window.high], source))
            .unzip();
        Self {
            rgb,
            place,
            window,
            window_source,
            info,
        }
    }

    /// Says which window was taken where the values, and nobody else, decided.
    pub(crate) fn window_note(&self) -> Option<String> {
        let source = self.window_source.as_ref()?;
        let [low, high] = self.window?;
        source.contains("Hounsfield").then(|| {
            format!("shown from {low} to {high}: the window {source}; --window takes another")
        })
    }

    /// The ending of a mask file of this format, by default of the usual one.
    pub(crate) fn ending(&self, format: Option<MaskFormat>) -> &'static str {
        format.unwrap_or_else(|| self.place.format()).ending()
    }

    /// Refuses names and formats that do not fit the input, before any work is done.
    pub(crate) fn check_output(&self, path: &Path, format: Option<MaskFormat>) -> Result<()> {
        let options = WriteOptions {
            format,
            ..WriteOptions::default()
        };
        let checked = options
            .format_of(path)
            .and_then(|format| check_source(path, format, &self.info));
        checked.map_err(|error| usage(error.to_string()))
    }

    /// Writes a mask on the grid of the input; a slice's mask is a volume that is empty elsewhere. Returns what the
    /// format could not keep.
    pub(crate) fn write_mask(
        &self,
        path: &Path,
        mask: &Mask,
        name: &str,
        format: Option<MaskFormat>,
    ) -> Result<Vec<String>> {
        let (labels, slice) = match &self.place {
            Place::Picture => {
                let data = mask.data().iter().map(|&inside| u16::from(inside) * LABEL);
                let map = LabelMap::new(mask.size(), data.collect())?;
                (LabelFile::Map(map), None)
            }
            Place::Slice {
                geometry,
                plane,
                index,
            } => {
                let mut labels = LabelVolume::zeros((**geometry).clone());
                labels.insert_slice(*plane, *index, mask, LABEL)?;
                (LabelFile::Volume(labels), Some((*plane, *index)))
            }
        };
        let segmentation = Segmentation {
            labels,
            segments: vec![Segment::new(LABEL, name)],
        };
        let options = WriteOptions {
            format,
            slice,
            ..WriteOptions::default()
        };
        Ok(write_segmentation(
            path,
            &segmentation,
            &self.info,
            &options,
        )?)
    }
}

/// The mask that labels are, which must lie on the grid of the input and hold something.
fn inside(path: &Path, labels: &LabelMap, input: &RgbImage) -> Result<Mask> {
    let (size, expected) = (labels.size(), input.size());
    if size != expected {
        bail!(
            "{}: the mask has {size} pixels, the input {expected}",
            path.display()
        );
    }
    let mask = Mask::new(size, labels.data().iter().map(|&v| v != 0).collect())?;
    if mask.area() == 0 {
        bail!(
            "{}: the mask is empty here: no pixel of it is set",
            path.display()
        );
    }
    Ok(mask)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use synthfm_eval::dataset::{Dataset, Layout};
    use synthfm_image::{LabelMap, write_label_nifti, write_label_png};

    use super::*;

    /// The picture that evaluation shows of a file that is the only case of a data set.
    fn evaluated(file: &Path) -> RgbImage {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["images", "masks"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        let name = file
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        fs::copy(file, folder.path().join("images").join(&name)).expect("a copy");
        let stem = name.split('.').next().expect("a stem");
        let scan = open_scan(file, &OpenOptions::default()).expect("an image");
        match &scan.content {
            ImageFile::Picture(picture) => {
                let mut labels = vec![0; picture.size().area()];
                labels[0] = 1;
                let map = LabelMap::new(picture.size(), labels).expect("a label map");
                let path = folder.path().join("masks").join(format!("{stem}.png"));
                write_label_png(&path, &map).expect("a label file");
            }
            ImageFile::Volume(volume) => {
                let mut labels = vec![0; volume.data().len()];
                labels[0] = 1;
                let grid = volume.geometry().clone();
                let volume = LabelVolume::new(grid, labels).expect("a label volume");
                let path = folder.path().join("masks").join(format!("{stem}.nii"));
                write_label_nifti(&path, &volume).expect("a label file");
            }
        }
        let dataset = Dataset::open_as(folder.path(), Layout::Folders).expect("a data set");
        let loaded = dataset.load(&dataset.cases[0]).expect("a case");
        loaded.views[0].image.clone()
    }

    #[test]
    fn prediction_and_evaluation_see_the_same() {
        let fixtures =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../synthfm-image/tests/fixtures/formats");
        for name in [
            "f32.tif",
            "u16.tif",
            "u8_lzw.tif",
            "cr_monochrome1.dcm",
            "nifti2_oblique.nii.gz",
        ] {
            let file = fixtures.join(name);
            let scan = open_scan(&file, &OpenOptions::default()).expect(name);
            let slice = matches!(scan.content, ImageFile::Volume(_)).then_some(0);
            let view = View {
                slice,
                plane: Plane::Axial,
                window: None,
                open: OpenOptions::default(),
            };
            let predicted = read(&file, &view).expect(name).rgb;
            assert!(predicted == evaluated(&file), "{name}");
        }
    }
}
