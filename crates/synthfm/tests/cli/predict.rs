//! `synthfm predict` and `synthfm embed` with single prompts.

use std::fs;
use std::path::Path;

use serde_json::Value;
use synthfm_image::{
    GreyDepth, Image, ImageFile, Plane, ReadOptions, Size, read_image, write_grey_png,
};

use crate::common::{
    SHAPE, SIZE, finish, label_volume, mask, names, picture, slice_area, synthfm, volume,
};

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    picture(&folder.path().join("a.png"));
    volume(&folder.path().join("v.nii.gz"));
    folder
}

#[test]
fn a_picture_gives_mask_record_and_overlay() {
    let folder = folder();
    let run = synthfm(
        folder.path(),
        &[
            "predict",
            "a.png",
            "--point=30,20",
            "--negative",
            "2,3",
            "-o",
            "out/m.png",
            "--overlay=out/o.png",
            "--json",
        ],
    );
    let result = run.ok().json();
    let mask = mask(&folder.path().join("out/m.png"));
    assert_eq!(
        (mask.size(), &result["area_px"]),
        (SIZE, &mask.area().into())
    );
    assert!((0.0..=1.5).contains(&result["iou"].as_f64().unwrap().abs()));
    let record: Value =
        serde_json::from_slice(&fs::read(folder.path().join("out/m.json")).unwrap()).unwrap();
    assert_eq!(record, result);
    assert_eq!(
        record["points"],
        serde_json::json!([[30.0, 20.0], [2.0, 3.0]])
    );
    assert_eq!(record["point_labels"], serde_json::json!([1, 0]));
    let overlay = read_image(&folder.path().join("out/o.png"), &ReadOptions::default()).unwrap();
    assert!(matches!(overlay, ImageFile::Picture(picture) if picture.size() == SIZE));
    assert_eq!(
        names(&folder.path().join("out")),
        ["m.json", "m.png", "o.png"]
    );
}

/// A small file of 49 million pixels: what an answer takes is held against the limit, and a system that has no memory for it
/// is an error.
#[cfg(target_os = "linux")]
#[test]
fn pictures_whose_answers_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let black = Image::zeros(Size::new(7000, 7000));
    let path = folder.path().join("large.png");
    write_grey_png(&path, &black, 0.0..=1.0, GreyDepth::Eight).unwrap();
    let line = [
        "predict",
        "large.png",
        "--point=5,5",
        "-o=m.png",
        "--threads=1",
    ];
    let limited = [&line[..], &["--max-memory=512MB"]].concat();
    let told = [
        "7000x7000 (height x width) takes 980000000 bytes",
        "512000000",
    ];
    synthfm(folder.path(), &limited).fails(1, &told);
    let shell = "ulimit -v 1300000; exec \"$0\" \"$@\"";
    let mut command = std::process::Command::new("sh");
    command.current_dir(folder.path()).args(["-c", shell]);
    command.arg(env!("CARGO_BIN_EXE_synthfm")).args(line);
    finish(&mut command).fails(1, &["which the system does not have"]);
    assert_eq!(names(folder.path()), ["large.png"]);
}

/// Where files may not be that large, the mask is an error, and nothing is left.
#[cfg(unix)]
#[test]
fn a_limit_on_file_sizes_is_an_error() {
    let folder = folder();
    let mut command = std::process::Command::new("sh");
    let shell = "ulimit -f 1; exec \"$0\" \"$@\"";
    command.current_dir(folder.path()).args(["-c", shell]);
    let line = [
        "predict",
        "v.nii.gz",
        "--slice=2",
        "--frame=voxel",
        "--point=30,20",
        "-o=m.nii",
    ];
    command.arg(env!("CARGO_BIN_EXE_synthfm")).args(line);
    finish(&mut command).fails(1, &["File too large"]);
    assert_eq!(names(folder.path()), ["a.png", "v.nii.gz"]);
}

#[test]
fn a_slice_comes_back_on_the_grid_of_its_volume() {
    let folder = folder();
    for (axis, plane, index) in [
        ("axial", Plane::Axial, 3),
        ("coronal", Plane::Coronal, 20),
        ("sagittal", Plane::Sagittal, 7),
    ] {
        let slice = index.to_string();
        let args = [
            "predict",
            "v.nii.gz",
            "--point=2,1",
            "--box=0,0,30,4",
            "-o=m.nii.gz",
            "--json",
            "--axis",
            axis,
        ];
        let run = synthfm(
            folder.path(),
            &[args.as_slice(), &["--slice", &slice, "--window=500,400"]].concat(),
        );
        let result = run.ok().json();
        assert_eq!(
            (&result["axis"], &result["slice"]),
            (&axis.into(), &index.into())
        );
        assert_eq!(result["window"], serde_json::json!([150.0, 650.0]));
        let (labels, input) = (
            label_volume(&folder.path().join("m.nii.gz")),
            label_volume(&folder.path().join("v.nii.gz")),
        );
        assert_eq!(
            labels.geometry().patient_from_voxel(),
            input.geometry().patient_from_voxel()
        );
        assert_eq!(labels.geometry().shape(), SHAPE);
        let area = labels.data().iter().filter(|&&v| v != 0).count();
        assert_eq!(
            (area, slice_area(&labels, plane, index)),
            (result["area_px"].as_u64().unwrap() as usize, area)
        );
    }
}

#[test]
fn one_place_has_coordinates_in_every_frame() {
    let folder = folder();
    let affine = label_volume(&folder.path().join("v.nii.gz"));
    let [x, y, z] = affine.geometry().patient_of_voxel([28.0, 20.0, 2.0]);
    let ras = format!("--point={},{},{z}", -x, -y);
    let lps = format!("--point={x},{y},{z}");
    // The array runs to the patient's right, which the display shows on the left.
    let lines: [&[&str]; 6] = [
        &["--slice=2", "--point=28,20"],
        &["--point=28,20,2"],
        &["--frame=display", "--slice=2", "--point=31,20"],
        &["--frame=lps", &lps],
        &["--frame=ras", &ras],
        &["--slice=2", "--point=28,20,2.2"],
    ];
    let mut found = Vec::new();
    for line in lines {
        let args = [&["predict", "v.nii.gz", "-o=m.nii.gz", "--json"], line].concat();
        let record = synthfm(folder.path(), &args).ok().json();
        assert_eq!(record["slice"], 2, "{line:?}");
        let place = &record["positions"]["points"][0];
        for (name, expected) in [
            ("voxel", [28.0, 20.0, 2.0]),
            ("lps", [x, y, z]),
            ("ras", [-x, -y, z]),
        ] {
            for (axis, expected) in expected.iter().enumerate() {
                let got = place[name][axis].as_f64().unwrap();
                assert!((got - expected).abs() < 1e-6, "{line:?} {name}: {place}");
            }
        }
        assert_eq!(place["display"][1], 20.0);
        found.push(label_volume(&folder.path().join("m.nii.gz")));
    }
    assert!(found.iter().all(|labels| *labels == found[0]));
    // The other side of the picture is another place.
    let args = [
        "predict",
        "v.nii.gz",
        "-o=m.nii.gz",
        "--slice=2",
        "--point=5,20",
    ];
    synthfm(folder.path(), &args).ok();
    assert!(label_volume(&folder.path().join("m.nii.gz")) != found[0]);
    // Boxes likewise, whichever corner comes first in the array.
    let boxed = |line: &[&str]| {
        let args = [&["predict", "v.nii.gz", "-o=m.nii.gz"], line].concat();
        synthfm(folder.path(), &args).ok();
        label_volume(&folder.path().join("m.nii.gz"))
    };
    let shown = boxed(&["--frame=display", "--slice=1", "--box=16,7,43,33"]);
    assert!(boxed(&["--slice=1", "--box=16,7,43,33"]) == shown);
    assert!(boxed(&["--box=43,7,1,16,33,1"]) == shown);
    for (line, code, part) in [
        (
            &["--point=28,20,2", "--slice=1"][..],
            2,
            "slice 1 is segmented",
        ),
        (&["--point=28,20,2", "--point=28,20,3"], 2, "slices 2 and 3"),
        (&["--point=28,20,9"], 2, "slices 0 to 4"),
        (&["--slice=1", "--point=60,20"], 2, "i from 0 to 59"),
        (
            &["--frame=ras", "--slice=1", "--point=1,1"],
            2,
            "millimetres",
        ),
    ] {
        let args = [&["predict", "v.nii.gz", "-o=n.nii"], line].concat();
        synthfm(folder.path(), &args).fails(code, &[part]);
    }
}

#[test]
fn info_draws_what_a_model_sees() {
    let folder = folder();
    let args = [
        "info",
        "v.nii.gz",
        "--slice=2",
        "--axis=coronal",
        "--out=s.png",
        "--json",
    ];
    let facts = synthfm(folder.path(), &args).ok().json();
    assert_eq!(facts["out"], "s.png");
    let drawn = read_image(&folder.path().join("s.png"), &ReadOptions::default()).unwrap();
    let ImageFile::Picture(drawn) = drawn else {
        panic!("a picture expected")
    };
    // 5 rows and 60 columns, eight times as large, and a margin of 48 pixels.
    assert_eq!(
        drawn.size(),
        synthfm_image::Size::new(5 * 8 + 96, 60 * 8 + 96)
    );
    synthfm(folder.path(), &["info", "a.png", "--out=a.axes.png"]).ok();
    synthfm(folder.path(), &["info", "a.png", "--out=a.png"]).fails(2, &["a.png"]);
    synthfm(folder.path(), &["info", "v.nii.gz", "--out=t.png"]).fails(2, &["--slice"]);
    synthfm(folder.path(), &["info", "--out=t.png"]).fails(2, &["PATH"]);
}

#[test]
fn what_makes_an_answer_doubtful_is_said() {
    let folder = folder();
    let empty = synthfm_image::LabelMap::zeros(SIZE);
    synthfm_image::write_label_png(&folder.path().join("none.png"), &empty).unwrap();
    let args = ["predict", "a.png", "--mask-prompt=none.png", "-o=m.png"];
    synthfm(folder.path(), &args).fails(1, &["none.png", "empty"]);
    let args = [
        "predict",
        "a.png",
        "--point=30,20",
        "--window=400,40",
        "-o=m.png",
        "--json",
    ];
    let run = synthfm(folder.path(), &args).ok();
    assert!(
        run.stderr.contains("the picture has 8 bits"),
        "{}",
        run.stderr
    );
    let warnings = &run.json()["warnings"];
    assert!(warnings[0].as_str().unwrap().contains("8 bits"));
}

#[test]
fn an_embedding_answers_as_its_image() {
    let folder = folder();
    let embed = synthfm(folder.path(), &["embed", "a.png", "-o", "e.safetensors"]);
    assert!(embed.ok().stdout.contains("encoded in"));
    let predict = |out: &str, more: &[&str]| {
        let args = [
            "predict",
            "a.png",
            "--point=30,20",
            "--box=18,8,42,32",
            "-o",
            out,
        ];
        synthfm(folder.path(), &[args.as_slice(), more].concat()).ok();
        mask(&folder.path().join(out))
    };
    assert_eq!(
        predict("m1.png", &[]),
        predict("m2.png", &["--embedding=e.safetensors"])
    );
    let args = [
        "predict",
        "v.nii.gz",
        "--axis=coronal",
        "--slice=2",
        "--point=1,1",
        "-o=m.nii",
        "--embedding=e.safetensors",
    ];
    synthfm(folder.path(), &args).fails(1, &["e.safetensors", "image size", "40x60"]);
    let damaged = fs::read(folder.path().join("e.safetensors")).unwrap();
    fs::write(
        folder.path().join("d.safetensors"),
        &damaged[..damaged.len() / 2],
    )
    .unwrap();
    let args = [
        "predict",
        "a.png",
        "--point=1,1",
        "-o=m.png",
        "--embedding=d.safetensors",
    ];
    synthfm(folder.path(), &args).fails(1, &["d.safetensors"]);
}

#[test]
fn a_rough_mask_is_a_prompt() {
    let folder = folder();
    synthfm(
        folder.path(),
        &["predict", "a.png", "--point=30,20", "-o=m.png"],
    )
    .ok();
    synthfm(
        folder.path(),
        &["predict", "a.png", "--mask-prompt=m.png", "-o=n.png"],
    )
    .ok();
    assert_eq!(mask(&folder.path().join("n.png")).size(), SIZE);
    synthfm(
        folder.path(),
        &[
            "predict",
            "v.nii.gz",
            "--slice=1",
            "--mask-prompt=m.png",
            "-o=m.nii",
        ],
    )
    .ok();
    let args = [
        "predict",
        "v.nii.gz",
        "--slice=1",
        "--axis=coronal",
        "--mask-prompt=m.png",
        "-o=n.nii",
    ];
    synthfm(folder.path(), &args).fails(1, &["m.png", "40x60"]);
    synthfm(
        folder.path(),
        &["predict", "a.png", "--mask-prompt=v.nii.gz", "-o=n.png"],
    )
    .fails(1, &["v.nii.gz"]);
    assert!(!folder.path().join("n.nii").exists());
}

#[test]
fn alternatives_of_a_model_without_them_are_refused() {
    let folder = folder();
    let args = [
        "predict",
        "a.png",
        "--point=30,20",
        "-o=m.png",
        "--multimask",
    ];
    synthfm(folder.path(), &args).fails(1, &["--multimask", "no alternatives"]);
    assert!(!folder.path().join("m.png").exists());
}

/// Flags after `predict`, exit code, what the message says.
const WRONG: [(&[&str], i32, &str); 18] = [
    (
        &["a.png", "-o=m.png", "--point=60,20"],
        2,
        "point (60, 20) lies outside the image of 40x60",
    ),
    (
        &["a.png", "-o=m.png", "--point", "-7,20"],
        2,
        "point (-7, 20)",
    ),
    (
        &["a.png", "-o=m.png", "--point=1,1", "--negative=1,40"],
        2,
        "point (1, 40)",
    ),
    (
        &["a.png", "-o=m.png", "--box=50,10,20,30"],
        1,
        "box (50, 10)",
    ),
    (
        &["a.png", "-o=m.png", "--box=500,10,600,30"],
        1,
        "outside the image",
    ),
    (&["a.png", "-o=m.png"], 2, "--point"),
    (&["a.png", "-o=m.png", "--negative=1,1"], 2, "--point"),
    (
        &["a.png", "-o=m.png", "--point=1"],
        2,
        "x,y or x,y,z expected",
    ),
    (&["a.png", "-o=m.jpg", "--point=1,1"], 2, ".png"),
    (
        &["a.png", "-o=m.png", "--point=1,1", "--slice=1"],
        2,
        "a slice is chosen",
    ),
    (&["v.nii.gz", "-o=m.nii", "--point=1,1"], 2, "0 to 4"),
    (
        &["v.nii.gz", "-o=m.dcm", "--slice=1", "--point=1,1"],
        2,
        ".nii",
    ),
    (
        &["v.nii.gz", "-o=m.nii", "--slice=5", "--point=1,1"],
        2,
        "slice 5",
    ),
    (
        &["v.nii.gz", "-o=m.nii", "--point=99,1,2"],
        2,
        "i from 0 to 59",
    ),
    (
        &["v.nii.gz", "-o=m.nii", "--point=1,1,9"],
        2,
        "slices 0 to 4",
    ),
    (
        &["v.nii.gz", "-o=m.nii", "--frame=ras", "--point=27,31"],
        2,
        "x,y,z in millimetres expected",
    ),
    (
        &["a.png", "-o=m.png", "--point=1,1", "--window=belly"],
        2,
        "abdomen",
    ),
    (
        &["a.png", "-o=m.png", "--point=1,1", "--device=cuda"],
        1,
        "cuda",
    ),
];

#[test]
fn wrong_prompts_are_named() {
    let folder = folder();
    for (args, code, part) in WRONG {
        synthfm(folder.path(), &[["predict"].as_slice(), args].concat()).fails(code, &[part]);
    }
    assert_eq!(names(folder.path()), ["a.png", "v.nii.gz"]);
}

#[test]
fn outputs_that_cannot_be_written_leave_nothing() {
    let folder = folder();
    fs::create_dir(folder.path().join("taken.png")).unwrap();
    for args in [
        ["-o=a.png/m.png", "-q"],
        ["-o=taken.png", "-q"],
        ["-o=m.png", "--overlay=a.png/o.png"],
    ] {
        let args = [["predict", "a.png", "--point=30,20"].as_slice(), &args].concat();
        synthfm(folder.path(), &args).fails(1, &[".png"]);
    }
    synthfm(folder.path(), &["embed", "a.png", "-o=a.png/e.safetensors"]).fails(1, &["a.png"]);
    assert_eq!(names(folder.path()), ["a.png", "v.nii.gz"]);
    let info = synthfm(folder.path(), &["info", "v.nii.gz"]).ok();
    assert!(
        info.stdout.contains("60 x 40 x 5") && info.stdout.contains("RPS"),
        "{}",
        info.stdout
    );
    assert!(Path::new(&folder.path().join("taken.png")).is_dir());
}

#[test]
fn one_volume_of_a_nifti_series_is_segmented() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("series.nii");
    volume(&path);
    // All slices of the volume become volumes of a single one.
    let mut bytes = fs::read(&path).unwrap();
    let [ni, nj, volumes] = SHAPE;
    for (n, dim) in [4, ni, nj, 1, volumes].into_iter().enumerate() {
        bytes[40 + 2 * n] = u8::try_from(dim).unwrap();
    }
    fs::write(&path, bytes).unwrap();
    let args = [
        "predict",
        "series.nii",
        "--slice=0",
        "--point=30,20",
        "-o",
        "m.nii.gz",
    ];
    let message = format!("{volumes} volumes");
    synthfm(folder.path(), &args).fails(1, &[&message, "--series"]);
    let chosen = [&args[..], &["--series=2"]].concat();
    synthfm(folder.path(), &chosen).ok();
    let labels = label_volume(&folder.path().join("m.nii.gz"));
    assert_eq!(labels.geometry().shape(), [ni, nj, 1]);
    assert!(slice_area(&labels, Plane::Axial, 0) > 0);
    let wrong = [&args[..], &["--series=9"]].concat();
    synthfm(folder.path(), &wrong).fails(1, &[&message]);
}
