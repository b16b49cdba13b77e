//! Images, masks, label maps and volumes; their geometry, their files, and segmentation metrics.
//!
//! No tensors and no randomness. Arrays are row-major `[row, col]`; `(x, y)` exists only inside
//! [`Point2`], in pixels, x to the right, y down, with the origin at the centre of the top-left
//! pixel. Patient coordinates are LPS millimetres.

mod components;
mod contour;
mod crop;
mod distance;
pub mod draw;
mod error;
mod geometry;
mod hash;
mod io;
mod measure;
mod metrics;
mod morphology;
mod percentiles;
mod postprocess;
mod quantile;
mod raster;
mod rle;
mod room;
mod run_lengths;
mod scan;
mod segmentation;
#[cfg(test)]
mod testing;
mod view;
mod volume;

pub use components::{Components, Connectivity, connected_components, largest_component};
pub use distance::{Outside, deepest_pixel, distance_to, distance_transform};
pub use error::{Error, Result};
pub use geometry::{BoxXyxy, Point2, Size};
pub use hash::hex;
pub use io::{
    GreyDepth, ImageFile, LabelFile, OpenOptions, Orientation, Picture, ReadOptions, SeriesSummary,
    avoid_device_name, check_source, create_folder, encode_grey_png, encode_label_nifti_gz,
    encode_label_png, encode_mask_png, encode_rgb_png, escaped, is_dicom_file, is_special,
    list_series, one_line, open_scan, open_segmentation, picture_orientation, printable,
    read_image, read_labels, read_segmentation, reading_until, remove_leftovers, sync_folder, tell,
    volume_count, write_atomically, write_atomically_unsynced, write_grey_png, write_json,
    write_label_nifti, write_label_png, write_mask_png, write_rgb_png, write_segmentation,
};
pub use measure::{PowerSpectrum, StructureProperties, boundary_visibility};
pub use metrics::{MaskPair, Scores, SurfaceDistances, SurfaceElements};
pub use morphology::{dilate, erode, outline};
pub use postprocess::{fill_holes, keep_clicked_components};
pub use quantile::quantile;
pub use raster::{Image, LabelMap, Mask, RgbImage};
pub use rle::{compressed_rle, mask_of_rle, mask_of_runs};
pub use room::check_room;
pub use run_lengths::{check_run_lengths, run_lengths, run_values};
pub use scan::{DicomSeries, FileFormat, Scan, ScanInfo, UltrasoundRegion, Window};
pub use segmentation::{MaskFormat, Segment, Segmentation, WriteOptions};
pub use view::{Presentation, WindowChoice};
pub use volume::{LabelVolume, MaskStack, Plane, Slice, Volume, VolumeGeometry};
