//! Files that are damaged, or not what their names say: an error that names them, and nothing written.

use std::fs;
use std::path::Path;

use crate::common::{names, picture, synthfm, volume};

/// Bytes without meaning, the same in every run.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    let next = |state: &mut u32| {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (*state >> 24) as u8
    };
    (0..length).map(|_| next(&mut state)).collect()
}

/// Writes damaged files and returns their names.
fn damaged(folder: &Path) -> Vec<String> {
    picture(&folder.join("good.png"));
    volume(&folder.join("good.nii.gz"));
    volume(&folder.join("good.nii"));
    let half = |name: &str| {
        let bytes = fs::read(folder.join(name)).unwrap();
        bytes[..bytes.len() / 2].to_vec()
    };
    let npy = b"\x93NUMPY\x01\x00\x46\x00{'descr': '<f4', 'fortran_order': False, 'shape': (99999, 99999), }      \n";
    let files: [(&str, Vec<u8>); 9] = [
        ("half.png", half("good.png")),
        ("half.nii.gz", half("good.nii.gz")),
        ("half.nii", half("good.nii")),
        ("noise.png", noise(4000)),
        (
            "noise.nii.gz",
            [b"\x1f\x8b\x08\x00".to_vec(), noise(4000)].concat(),
        ),
        (
            "noise.nii",
            [348i32.to_le_bytes().to_vec(), noise(4000)].concat(),
        ),
        ("empty.png", Vec::new()),
        ("huge.npy", npy.to_vec()),
        ("text.png", b"hello".to_vec()),
    ];
    for name in ["good.png", "good.nii.gz", "good.nii"] {
        fs::remove_file(folder.join(name)).unwrap();
    }
    fs::create_dir(folder.join("folder.png")).unwrap();
    let mut all: Vec<String> = vec!["missing.png".into(), "folder.png".into()];
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
        all.push(name.into());
    }
    all
}

#[test]
fn damaged_images_are_named_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let damaged = damaged(folder.path());
    let before = names(folder.path());
    for name in &damaged {
        let predict = ["predict", name, "--point=1,1", "--slice=0", "-o=m.png"];
        synthfm(folder.path(), &predict).fails(1, &[name]);
        synthfm(folder.path(), &["embed", name, "-o=e.safetensors"]).fails(1, &[name]);
        synthfm(folder.path(), &["info", name]).fails(1, &[name]);
    }
    assert_eq!(names(folder.path()), before);
}

#[test]
fn damaged_mask_prompts_and_reports_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let damaged = damaged(folder.path());
    picture(&folder.path().join("a.png"));
    let before = names(folder.path());
    for name in damaged.iter().take(4) {
        let args = ["predict", "a.png", "--mask-prompt", name, "-o=m.png"];
        synthfm(folder.path(), &args).fails(1, &[name]);
    }
    assert_eq!(names(folder.path()), before);
    for (name, text) in [
        ("s.json", "{\"lines\": 3}"),
        ("t.json", "{"),
        ("u.json", "{\"recipe\": {}}"),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
        synthfm(folder.path(), &["info", name]).fails(1, &[name]);
    }
}
