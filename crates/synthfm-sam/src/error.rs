//! What can go wrong with configurations, weights, prompts and devices.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use synthfm_image::{Point2, Size};

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong in this crate, grouped by who must act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A device or precision is not known, or not there.
    #[error(transparent)]
    Ops(#[from] synthfm_ops::Error),
    /// A file could not be written.
    #[error(transparent)]
    Image(#[from] synthfm_image::Error),
    /// A configuration is not JSON of the expected form, or a field has an impossible value.
    #[error("model configuration: {field}: {reason}")]
    Config {
        /// The field at fault.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },

    /// An image is larger than the memory that answers may take.
    #[error(
        "an image of {size} takes {bytes} bytes of memory, more than the limit of {limit}: use a smaller image or part \
         of it, or a higher limit"
    )]
    ImageMemory {
        /// The image's size.
        size: synthfm_image::Size,
        /// What answers about it take.
        bytes: u64,
        /// What they may take.
        limit: u64,
    },

    /// The system does not have the memory for an image.
    #[error("an image of {size} takes {bytes} bytes of memory, which the system does not have")]
    OutOfMemory {
        /// The image's size.
        size: synthfm_image::Size,
        /// What answers about it take.
        bytes: u64,
    },

    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },

    /// A file does not hold what it should.
    #[error("{}: {reason}", path.display())]
    Weights {
        /// What is wrong.
        reason: String,
        /// The file.
        path: PathBuf,
    },

    /// A model whose encoder the Python code of SAM, SAM 2 and MobileSAM, and tools that go by it, do not have.
    #[error(
        "the code of SAM, SAM 2 and MobileSAM, by which other programs go, has no such encoder: only vit_b, vit_l, \
         vit_h, vit_t, SAM 2 and other sizes of these can be exported; `models convert` writes any model"
    )]
    NotPublished,

    /// A SAM 2 was to be exported to ONNX.
    #[error(
        "SAM 2 is not exported to ONNX: tools differ in the form that they expect of it; `--format pth` and `--format \
         safetensors` write files for SAM 2's own code"
    )]
    Sam2Onnx,

    /// The keys of a weights file are not those of its model.
    #[error("{}: the weights do not fit the model: {differences}", path.display())]
    Keys {
        /// Every key at fault.
        differences: KeyDifferences,
        /// The file.
        path: PathBuf,
    },

    /// A stored image embedding is damaged, or of another image, preparation, precision or encoder.
    #[error("{}: this embedding cannot be used: {reason}; embed the image again", path.display())]
    Embedding {
        /// What does not fit.
        reason: String,
        /// The file.
        path: PathBuf,
    },

    /// An image has no pixels.
    #[error("the image is empty: {size}")]
    EmptyImage {
        /// Its size.
        size: Size,
    },

    /// A prompt was given before an image.
    #[error("no image is set: call set_image before predict")]
    NoImage,

    /// A prompt holds neither a point, nor a box, nor a mask.
    #[error("the prompt is empty: give at least one point, a box or a mask")]
    EmptyPrompt,

    /// A click lies outside the image.
    #[error("point ({}, {}) lies outside the image of {size}", point.x, point.y)]
    PointOutside {
        /// The click.
        point: Point2,
        /// The image's size.
        size: Size,
    },

    /// A box has no area, is not finite or lies outside the image.
    #[error(
        "box ({}, {}) to ({}, {}): {reason} (image of {size})",
        corners[0].x, corners[0].y, corners[1].x, corners[1].y
    )]
    BadBox {
        /// Its corners.
        corners: [Point2; 2],
        /// What is wrong with it.
        reason: &'static str,
        /// The image's size.
        size: Size,
    },

    /// A mask prompt is not of the model's low resolution, or not finite.
    #[error(
        "the mask prompt must hold {expected} finite logits ({side} x {side}), got {found} values"
    )]
    BadMaskPrompt {
        /// Values needed.
        expected: usize,
        /// Side of the low-resolution logits.
        side: usize,
        /// Values given.
        found: usize,
    },

    /// An earlier mask is not of the image's size.
    #[error("the earlier mask is of {found}, the image of {size}")]
    EarlierSize {
        /// The mask's size.
        found: Size,
        /// The image's size.
        size: Size,
    },

    /// Alternatives were asked of a model that was trained for one mask per prompt.
    #[error(
        "this model was trained for one mask per prompt and has no alternatives to choose from: ask without multimask"
    )]
    NoAlternatives,

    /// Views are not described as they should be.
    #[error("views: {part:?}: {expected}")]
    UnknownViews {
        /// What is not understood.
        part: String,
        /// What is expected in its place.
        expected: String,
    },

    /// Weights cannot be averaged.
    #[error("mean of weights: {reason}")]
    Mean {
        /// What does not fit.
        reason: String,
    },

    /// Text that does not say how structures are carried through a volume.
    #[error("carry: {part:?}: {expected}")]
    UnknownCarry {
        /// What is not understood.
        part: String,
        /// What is expected in its place.
        expected: String,
    },
}

impl Error {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn weights(path: &Path, reason: impl Into<String>) -> Self {
        Self::Weights {
            reason: reason.into(),
            path: path.to_owned(),
        }
    }
}

/// How the keys of a weights file differ from those of a model, each list sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct KeyDifferences {
    /// In the model, not in the file.
    pub missing: Vec<String>,
    /// In the file, not in the model.
    pub unexpected: Vec<String>,
    /// In both, with different shapes.
    pub misshapen: Vec<Misshapen>,
}

/// A tensor whose shape is not the model's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Misshapen {
    /// Its key.
    pub key: String,
    /// The model's shape.
    pub expected: Vec<usize>,
    /// The file's shape.
    pub found: Vec<usize>,
}

impl KeyDifferences {
    /// Whether the keys fit.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshapen.is_empty()
    }
}

impl fmt::Display for KeyDifferences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let misshapen = self.misshapen.iter().map(|m| {
            let Misshapen {
                key,
                expected,
                found,
            } = m;
            format!("{key} (expected {expected:?}, found {found:?})")
        });
        let misshapen: Vec<String> = misshapen.collect();
        let lists = [
            ("missing", &self.missing),
            ("unexpected", &self.unexpected),
            ("misshapen", &misshapen),
        ];
        let parts: Vec<String> = lists
            .iter()
            .filter(|(_, keys)| !keys.is_empty())
            .map(|(what, keys)| format!("{} {what}: {}", keys.len(), keys.join(", ")))
            .collect();
        f.write_str(&parts.join("; "))
    }
}
