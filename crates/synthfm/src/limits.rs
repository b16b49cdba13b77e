//! Flags of verbs that open images: which series, and how much memory a file may ask for.

use clap::Args;
use synthfm_image::{OpenOptions, ReadOptions};

use crate::bytes::parse_some_bytes;

/// What to open, and how much of it.
#[derive(Debug, Clone, Args)]
pub(crate) struct OpenArgs {
    /// Of a folder of DICOM files: the number that `synthfm info FOLDER` gives an image, or its Series Instance UID
    /// [default: the image with most slices]. Of a NIfTI, NRRD or TIFF file with several volumes: which one, from 1
    #[arg(long, value_name = "N|UID")]
    pub(crate) series: Option<String>,
    /// Most memory for the values of a file, and most bytes of a file, such as 512MiB or 8G
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = parse_some_bytes)]
    pub(crate) max_memory: u64,
}

impl OpenArgs {
    /// The options as the library takes them.
    pub(crate) fn options(&self) -> OpenOptions {
        OpenOptions {
            read: ReadOptions {
                max_bytes: self.max_memory,
            },
            series: self.series.clone(),
            ..OpenOptions::default()
        }
    }
}
