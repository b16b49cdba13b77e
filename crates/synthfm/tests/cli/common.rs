//! Running the program, and small inputs.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};

use serde_json::Value;
use synthfm_image::{
    GreyDepth, Image, LabelFile, LabelMap, LabelVolume, Mask, Plane, ReadOptions, Size,
    VolumeGeometry, read_labels, write_grey_png, write_label_nifti,
};

/// Rows and columns of the test picture.
pub(crate) const SIZE: Size = Size::new(40, 60);
/// Voxels of the test volume along i, j, k.
pub(crate) const SHAPE: [usize; 3] = [60, 40, 5];

/// What a run of the program left.
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The program in a folder; models are not looked for outside it, and it is no task of a batch job.
pub(crate) fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_synthfm"));
    command
        .current_dir(folder)
        .args(args)
        .env_remove("SYNTHFM_MODELS");
    for name in ["ID", "COUNT", "MIN", "STEP"] {
        command.env_remove(format!("SLURM_ARRAY_TASK_{name}"));
    }
    command
}

/// Runs the program in a folder.
pub(crate) fn synthfm(folder: &Path, args: &[&str]) -> Finished {
    finish(&mut command(folder, args))
}

/// `generate` with small pictures.
pub(crate) fn small<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let small = ["generate", "--size", "128x160", "--seed=5"];
    [small.as_slice(), more].concat()
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command) -> Finished {
    let output = command.output().unwrap();
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Sends what Ctrl-C sends.
#[cfg(unix)]
pub(crate) fn interrupt(child: &Child) {
    let status = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

impl Finished {
    /// Checks for success.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "standard error: {}", self.stderr);
        self
    }

    /// Checks the exit code and that standard error says each part.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "standard error: {}", self.stderr);
        assert!(self.stderr.contains("error: "), "{}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        for part in parts {
            assert!(
                self.stderr.contains(part),
                "{part:?} expected in: {}",
                self.stderr
            );
        }
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

/// A bright disc on dark ground.
fn disc(size: Size) -> Image {
    let pixel = |at: usize| {
        let (row, col) = (at / size.width, at % size.width);
        let inside = (row as f32 - 20.0).hypot(col as f32 - 30.0) < 12.0;
        if inside { 0.8 } else { 0.2 }
    };
    Image::new(size, (0..size.area()).map(pixel).collect()).unwrap()
}

/// Writes the test picture as an 8-bit PNG.
pub(crate) fn picture(path: &Path) {
    write_grey_png(path, &disc(SIZE), 0.0..=1.0, GreyDepth::Eight).unwrap();
}

/// Writes a volume whose axial slices are the test picture, with anisotropic, flipped and offset voxels.
pub(crate) fn volume(path: &Path) {
    let affine = [
        [-0.8, 0.0, 0.0, 11.0],
        [0.0, 0.5, 0.0, -7.0],
        [0.0, 0.0, 3.0, 100.0],
    ];
    let geometry = VolumeGeometry::new(SHAPE, affine).unwrap();
    let slice: Vec<u16> = disc(SIZE)
        .data()
        .iter()
        .map(|v| (1000.0 * v) as u16)
        .collect();
    let labels = LabelVolume::new(geometry, slice.repeat(SHAPE[2])).unwrap();
    write_label_nifti(path, &labels).unwrap();
}

/// Reads a mask picture; its values are 0 and 255.
pub(crate) fn mask(path: &Path) -> Mask {
    let labels = label_map(path);
    assert!(labels.data().iter().all(|&v| v == 0 || v == 255));
    labels.mask_of(255)
}

/// Reads a label picture.
pub(crate) fn label_map(path: &Path) -> LabelMap {
    match read_labels(path, &ReadOptions::default()).unwrap() {
        LabelFile::Map(labels) => labels,
        LabelFile::Volume(_) => panic!("{}: a picture expected", path.display()),
    }
}

/// Reads a label volume.
pub(crate) fn label_volume(path: &Path) -> LabelVolume {
    match read_labels(path, &ReadOptions::default()).unwrap() {
        LabelFile::Volume(labels) => labels,
        LabelFile::Map(_) => panic!("{}: a volume expected", path.display()),
    }
}

/// Pixels of a slice that are not background.
pub(crate) fn slice_area(labels: &LabelVolume, plane: Plane, index: usize) -> usize {
    labels
        .slice(plane, index)
        .unwrap()
        .data()
        .iter()
        .filter(|&&v| v != 0)
        .count()
}

/// Every file below a folder, with its bytes, in order of its path.
pub(crate) fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path
                    .strip_prefix(folder)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                found.push((name, fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// The names of [`files`].
pub(crate) fn names(folder: &Path) -> Vec<String> {
    files(folder).into_iter().map(|(name, _)| name).collect()
}

/// The smallest recipe, with a path that holds wherever the tests run.
pub(crate) fn tiny_config() -> String {
    format!("{}/../../configs/tiny.toml", env!("CARGO_MANIFEST_DIR"))
}
