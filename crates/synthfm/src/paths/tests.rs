use super::*;

struct Place(tempfile::TempDir);

impl Place {
    fn new(files: &[&str]) -> Self {
        let place = Self(tempfile::tempdir().expect("a temporary folder"));
        for file in files {
            fs::write(place.at(file), file).expect("a file");
        }
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn message(result: Result<impl std::fmt::Debug>) -> String {
    result.expect_err("it is refused").to_string()
}

#[test]
fn an_output_is_no_input() {
    let place = Place::new(&["scan.png", "other.png"]);
    fs::create_dir(place.at("sub")).expect("a folder");
    fs::hard_link(place.at("scan.png"), place.at("twin.png")).expect("a second name");
    let mut paths = Paths::default();
    paths.read("the input", &place.at("scan.png"));
    for name in ["scan.png", "./scan.png", "sub/../scan.png", "twin.png"] {
        let text = message(paths.write("-o", &place.at(name)));
        assert!(text.contains("the input"), "{text}");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("scan.png", place.at("link.png")).expect("a link");
        let text = message(paths.write("-o", &place.at("link.png")));
        assert!(text.contains("the input"), "{text}");
    }
    paths.write("-o", &place.at("new.png")).expect("a new file");
    paths
        .write("--also", &place.at("other.png"))
        .expect("a chosen file");
    let text = message(paths.write("--overlay", &place.at("sub/../new.png")));
    assert!(text.contains("same file as -o"), "{text}");
}

#[test]
fn absent_outputs_are_compared_too() {
    let place = Place::new(&[]);
    let mut paths = Paths::default();
    paths
        .write("-o", &place.at("a/b/x.png"))
        .expect("a new file");
    let text = message(paths.write("--also", &place.at("a/c/../b/./x.png")));
    assert!(text.contains("same file"), "{text}");
}

#[test]
fn files_of_a_folder_that_is_read_stay() {
    let place = Place::new(&[]);
    fs::create_dir(place.at("series")).expect("a folder");
    fs::write(place.at("series/0.dcm"), "scan").expect("a slice");
    let mut paths = Paths::default();
    paths.read("the input", &place.at("series"));
    let text = message(paths.write("-o", &place.at("series/0.dcm")));
    assert!(text.contains("in the input"), "{text}");
    paths
        .write("-o", &place.at("series/mask.dcm"))
        .expect("a new file");
    // What an earlier command wrote there may be replaced.
    fs::write(place.at("series/old.png"), "mask").expect("a mask");
    let record = serde_json::json!({ "synthfm": "0.1.0", "mask": place.at("series/old.png") });
    fs::write(place.at("series/old.json"), record.to_string()).expect("its record");
    let mut paths = Paths::default();
    paths.read("the input", &place.at("series"));
    paths
        .write("--also", &place.at("series/old.png"))
        .expect("an earlier result");
    let text = message(paths.fill("--out", &place.at("series"), |_| true));
    assert!(text.contains("mix"), "{text}");
}

#[test]
fn data_files_of_headers_are_inputs() {
    let place = Place::new(&["a.raw", "b.raw"]);
    fs::write(place.at("a.nhdr"), "NRRD0004\ndata file: a.raw\n").expect("a header");
    fs::write(place.at("b.mhd"), "NDims = 3\nElementDataFile = b.raw\n").expect("a header");
    let mut paths = Paths::default();
    paths.read("the input", &place.at("a.nhdr"));
    paths.read("--mask-prompt", &place.at("b.mhd"));
    for name in ["a.raw", "b.raw"] {
        let text = message(paths.write("-o", &place.at(name)));
        assert!(text.contains("data file"), "{text}");
    }
}

#[test]
fn records_take_free_names() {
    let place = Place::new(&["a.json", "b.json"]);
    let ours = r#"{ "synthfm": "0.1.0", "mask": "out/mask.png" }"#;
    let other = r#"{ "synthfm": "0.1.0", "mask": "out/another.png" }"#;
    let mut paths = Paths::default();
    let mut taken = |name: &str| {
        let output = Path::new("mask.png");
        let path = paths.record("the record", &place.at(name), ("mask", output));
        let path = path.expect("a name");
        path.file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned()
    };
    assert_eq!(taken("a.json"), "a.record.json");
    fs::write(place.at("c.json"), ours).expect("a record");
    assert_eq!(taken("c.json"), "c.json");
    fs::write(place.at("d.json"), other).expect("the record of another mask");
    assert_eq!(taken("d.json"), "d.record.json");
    assert_eq!(taken("c.json"), "c.record.json", "taken by this command");
    fs::write(place.at("b.record.json"), "[]").expect("another file");
    assert_eq!(taken("b.json"), "b.record.2.json");
    let text = message(paths.fixed("--out", &place.at("a.json")));
    assert!(text.contains("not written by synthfm"), "{text}");
}

#[test]
fn folders_of_other_files_are_not_filled() {
    let place = Place::new(&[]);
    let mut paths = Paths::default();
    paths
        .fill("--out", &place.at("new"), |_| false)
        .expect("a new folder");
    let text = message(paths.write("--preview", &place.at("new")));
    assert!(text.contains("same file as --out"), "{text}");
    fs::write(place.at(".DS_Store"), "").expect("a hidden file");
    paths
        .fill("--out", place.0.path(), |_| false)
        .expect("an empty folder");
    fs::write(place.at("thesis.tex"), "").expect("a file");
    let text = message(paths.fill("--out", place.0.path(), |folder| {
        folder.join("generator.toml").exists()
    }));
    assert!(text.contains("thesis.tex"), "{text}");
    fs::write(place.at("generator.toml"), "").expect("a mark");
    paths
        .fill("--out", place.0.path(), |folder| {
            folder.join("generator.toml").exists()
        })
        .expect("our folder");
    let text = message(paths.fill("--out", &place.at("thesis.tex"), |_| false));
    assert!(text.contains("is a file"), "{text}");
}

#[cfg(unix)]
#[test]
fn devices_may_be_named_twice() {
    let mut paths = Paths::default();
    paths.read("the input", Path::new("/dev/null"));
    for _ in 0..2 {
        paths.write("-o", Path::new("/dev/null")).expect("a device");
    }
}
