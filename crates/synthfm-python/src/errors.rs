//! Errors of the library as Python's exceptions, which `synthfm/_errors.py` defines.

use pyo3::PyErr;
use pyo3::prelude::*;
use synthfm_image::one_line;

mod kinds {
    pyo3::import_exception!(synthfm._errors, DeviceError);
    pyo3::import_exception!(synthfm._errors, FileError);
    pyo3::import_exception!(synthfm._errors, FormatError);
    pyo3::import_exception!(synthfm._errors, LimitError);
    pyo3::import_exception!(synthfm._errors, MissingFileError);
    pyo3::import_exception!(synthfm._errors, ModelError);
    pyo3::import_exception!(synthfm._errors, SynthfmError);
    pyo3::import_exception!(synthfm._errors, UsageError);
}

/// The kinds of exceptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Device,
    File,
    Format,
    Limit,
    Missing,
    Model,
    Usage,
    Other,
}

impl Kind {
    fn with(self, message: String) -> PyErr {
        match self {
            Self::Device => kinds::DeviceError::new_err(message),
            Self::File => kinds::FileError::new_err(message),
            Self::Format => kinds::FormatError::new_err(message),
            Self::Limit => kinds::LimitError::new_err(message),
            Self::Missing => kinds::MissingFileError::new_err(message),
            Self::Model => kinds::ModelError::new_err(message),
            Self::Usage => kinds::UsageError::new_err(message),
            Self::Other => kinds::SynthfmError::new_err(message),
        }
    }

    fn of_io(error: &std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::NotFound {
            Self::Missing
        } else {
            Self::File
        }
    }

    fn of_image(error: &synthfm_image::Error) -> Self {
        use synthfm_image::Error as E;
        match error {
            E::Parameter(_) | E::Shape { .. } => Self::Usage,
            E::Format { .. } | E::Unsupported { .. } => Self::Format,
            E::Limit { .. } => Self::Limit,
            E::Io { source, .. } => Self::of_io(source),
            _ => Self::Other,
        }
    }

    fn of_ops(error: &synthfm_sam::ops::Error) -> Self {
        use synthfm_sam::ops::Error as E;
        match error {
            E::UnknownDevice { .. } | E::DeviceUnavailable { .. } | E::NoBf16 | E::NoF16 => {
                Self::Device
            }
            E::UnknownPrecision { .. } => Self::Usage,
            _ => Self::Other,
        }
    }

    fn of_sam(error: &synthfm_sam::Error) -> Self {
        use synthfm_sam::Error as E;
        match error {
            E::Image(error) => Self::of_image(error),
            E::Io { source, .. } => Self::of_io(source),
            E::ImageMemory { .. } | E::OutOfMemory { .. } => Self::Limit,
            E::Ops(error) => Self::of_ops(error),
            E::EmptyImage { .. }
            | E::NoImage
            | E::EmptyPrompt
            | E::PointOutside { .. }
            | E::BadBox { .. }
            | E::BadMaskPrompt { .. }
            | E::EarlierSize { .. }
            | E::NoAlternatives => Self::Usage,
            E::Weights { .. } | E::Keys { .. } | E::Config { .. } => Self::Model,
            _ => Self::Other,
        }
    }

    /// The kind of the first cause that has one.
    fn of(error: &anyhow::Error) -> Self {
        let kind = error.chain().find_map(|cause| {
            if cause.is::<synthfm::UsageError>() || cause.is::<synthfm_synth::Error>() {
                return Some(Self::Usage);
            }
            let image = cause.downcast_ref().map(Self::of_image);
            let sam = || cause.downcast_ref().map(Self::of_sam);
            let io = || cause.downcast_ref().map(Self::of_io);
            let ops = || cause.downcast_ref().map(Self::of_ops);
            image.or_else(sam).or_else(ops).or_else(io)
        });
        kind.unwrap_or(Self::Other)
    }
}

/// An error as the exception of its kind.
pub(crate) fn exception(error: &anyhow::Error) -> PyErr {
    Kind::of(error).with(one_line(error.as_ref()))
}

/// An error about a model as the exception of its kind.
pub(crate) fn model_exception(error: &anyhow::Error) -> PyErr {
    let kind = match Kind::of(error) {
        Kind::Other | Kind::Format | Kind::Missing => Kind::Model,
        kind => kind,
    };
    kind.with(one_line(error.as_ref()))
}

/// The exception for arguments that cannot be used.
pub(crate) fn usage(message: impl Into<String>) -> PyErr {
    Kind::Usage.with(message.into())
}

/// The exception for an interruption of the library itself.
pub(crate) fn broken(message: impl Into<String>) -> PyErr {
    Kind::Other.with(message.into())
}

/// Results whose errors become exceptions.
pub(crate) trait OrRaise<T> {
    /// The value, or the exception of the error's kind.
    fn or_raise(self) -> PyResult<T>;
}

impl<T, E: Into<anyhow::Error>> OrRaise<T> for Result<T, E> {
    fn or_raise(self) -> PyResult<T> {
        self.map_err(|error| exception(&error.into()))
    }
}
