//! Reads an image or labels and writes what was understood, so that other programs can compare it with what they read.
//!
//! `convert (image|labels) IN VALUES [OUT...]` writes the values to VALUES (32-bit floats or 16-bit labels, little-endian,
//! first axis fastest) and prints a line of JSON with their shape and place. Labels are also written to each OUT, in the
//! format of its name. `tools/format_round_trips.py` uses it.

#![expect(clippy::print_stdout, reason = "the result")]

use std::error::Error;
use std::path::Path;
use std::time::SystemTime;

use synthfm_image::{
    FileFormat, ImageFile, LabelFile, OpenOptions, Picture, ReadOptions, ScanInfo, VolumeGeometry,
    WriteOptions, open_scan, read_segmentation, write_segmentation,
};

type Outcome = Result<(), Box<dyn Error>>;

fn report(shape: &[usize], geometry: Option<&VolumeGeometry>, warnings: &[String]) {
    let line = serde_json::json!({
        "shape": shape,
        "patient_from_voxel": geometry.map(VolumeGeometry::patient_from_voxel),
        "warnings": warnings,
    });
    println!("{line}");
}

fn image(path: &Path, values: &Path) -> Outcome {
    let scan = open_scan(path, &OpenOptions::default())?;
    let warnings = &scan.info.warnings;
    let bytes: Vec<u8> = match &scan.content {
        ImageFile::Volume(volume) => {
            let geometry = volume.geometry();
            report(&geometry.shape(), Some(geometry), warnings);
            volume.data().iter().flat_map(|v| v.to_le_bytes()).collect()
        }
        ImageFile::Picture(Picture::Grey(image)) => {
            report(&[image.size().width, image.size().height], None, warnings);
            image.data().iter().flat_map(|v| v.to_le_bytes()).collect()
        }
        ImageFile::Picture(Picture::Rgb(image)) => {
            let size = image.size();
            report(&[3, size.width, size.height], None, warnings);
            let values = image.data().iter().map(|&v| f32::from(v));
            values.flat_map(f32::to_le_bytes).collect()
        }
    };
    Ok(std::fs::write(values, bytes)?)
}

fn labels(path: &Path, values: &Path, outs: &[String]) -> Outcome {
    let (segmentation, warnings) = read_segmentation(path, &ReadOptions::default())?;
    let data = match &segmentation.labels {
        LabelFile::Volume(volume) => {
            let geometry = volume.geometry();
            report(&geometry.shape(), Some(geometry), &warnings);
            volume.data()
        }
        LabelFile::Map(map) => {
            report(&[map.size().width, map.size().height], None, &warnings);
            map.data()
        }
    };
    let bytes: Vec<u8> = data.iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(values, bytes)?;
    let source = ScanInfo::of_format(FileFormat::Nifti1);
    let options = WriteOptions::new(SystemTime::UNIX_EPOCH);
    for out in outs {
        write_segmentation(Path::new(out), &segmentation, &source, &options)?;
    }
    Ok(())
}

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [kind, path, values] if kind == "image" => image(Path::new(path), Path::new(values)),
        [kind, path, values, outs @ ..] if kind == "labels" => {
            labels(Path::new(path), Path::new(values), outs)
        }
        _ => Err("usage: convert (image|labels) IN VALUES [OUT...]".into()),
    }
}
