use super::*;

fn touch(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, b"x").unwrap();
}

fn names(catalog: &Catalog) -> Vec<String> {
    catalog.summaries().into_iter().map(|c| c.name).collect()
}

#[test]
fn images_are_listed_and_labels_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    for name in [
        "imagesTs/b_0000.nii.gz",
        "imagesTs/a_0000.NII",
        "labelsTs/a.nii",
        "scan.png",
        "scan_label.nii.gz",
        "deep/er/c_seg.png",
        "notes.txt",
        ".hidden/x.png",
        "deep/er/c.npy",
        "work/uploads/1/u.png",
    ] {
        touch(&root.join(name));
    }
    let work = root.canonicalize().unwrap().join("work");
    let catalog = Catalog::open(Some(&root), &work, &work.join("uploads"), 1 << 20).unwrap();
    let expected = [
        "scan.png",
        "deep/er/c.npy",
        "imagesTs/a_0000.NII",
        "imagesTs/b_0000.nii.gz",
        "u.png",
    ];
    assert_eq!(names(&catalog), expected);
    let ids: std::collections::BTreeSet<_> =
        catalog.summaries().into_iter().map(|c| c.id).collect();
    assert_eq!(ids.len(), 5);
    let case = catalog.get(&catalog.summaries()[3].id).unwrap();
    assert_eq!((case.stem(), case.uploaded), ("b_0000".to_owned(), false));
    catalog.set_state(&case.id, Progress::Done).unwrap();
    let again = Catalog::open(Some(&root), &work, &work.join("uploads"), 1 << 20).unwrap();
    assert_eq!(again.summaries()[3].state, Progress::Done);
    assert!(again.get("../../etc/passwd").is_none());
}

#[test]
fn folders_of_dicom_files_are_series() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let series = root.join("patient");
    fs::create_dir(&series).unwrap();
    let fixtures =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../synthfm-image/tests/fixtures/formats");
    touch(&series.join("photo.png"));
    fs::copy(fixtures.join("us_ybr.dcm"), series.join("1.2.840.1")).unwrap();
    touch(&root.join("a.seg.nrrd"));
    let work = root.join("work");
    let catalog = Catalog::open(Some(&root), &work, &work.join("uploads"), 1 << 20).unwrap();
    let [case, photo] = &catalog.summaries()[..] else {
        panic!("{:?}", names(&catalog));
    };
    assert_eq!(photo.name, "patient/photo.png");
    assert!(case.name.starts_with("patient/1"), "{}", case.name);
    let case = catalog.get(&case.id).unwrap();
    assert_eq!((case.series(), case.file().unwrap()), (Some("1"), series));
    assert!(case.stem().starts_with("patient_1"));
    #[cfg(unix)]
    {
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::os::unix::fs::symlink(secret.path(), root.join("patient/2.dcm")).unwrap();
        assert!(case.file().is_err());
    }
}

#[test]
fn a_case_is_its_image_and_not_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let fixtures =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../synthfm-image/tests/fixtures/formats");
    let add = |name: &str, as_: &str| fs::copy(fixtures.join(name), root.join(as_)).unwrap();
    let work = root.join("work");
    let list = || {
        Catalog::open(Some(&root), &work, &work.join("uploads"), 1 << 20)
            .unwrap()
            .summaries()
    };
    // A scanner's own ending.
    add("us_ybr.dcm", "P.0001.IMA");
    let [first] = &list()[..] else {
        panic!("one case expected");
    };
    for (n, name) in ["enhanced.dcm", "jpegls8.dcm", "rle16.dcm"]
        .iter()
        .enumerate()
    {
        add(name, &format!("A.000{n}.IMA"));
    }
    let all = list();
    assert!(all.len() > 1, "{all:?}");
    assert_eq!(all.iter().filter(|case| case.id == first.id).count(), 1);
}

#[test]
fn files_that_come_later_are_found_and_times_add_up() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    touch(&root.join("a.png"));
    let work = root.join("work");
    fs::create_dir(&work).unwrap();
    let open = || Catalog::open(Some(&root), &work, &work.join("uploads"), 1 << 20).unwrap();
    let catalog = open();
    assert!(!catalog.refresh().unwrap());
    let id = catalog.summaries()[0].id.clone();
    catalog.set_state(&id, Progress::Done).unwrap();
    assert_eq!(catalog.add_time(&id, 1.5).unwrap(), 1.5);
    touch(&root.join("b/c_0000.png"));
    assert!(catalog.refresh().unwrap());
    assert_eq!(names(&catalog), ["a.png", "b/c_0000.png"]);
    assert_eq!(catalog.done().len(), 1);
    let added = catalog.get(&catalog.summaries()[1].id).unwrap();
    assert_eq!(added.label_stem(), "c");
    assert_eq!(catalog.add_time(&id, 2.0).unwrap(), 3.5);
    assert_eq!(open().summaries()[0].seconds, 3.5);
}

#[cfg(unix)]
#[test]
fn links_do_not_lead_out() {
    let folder = tempfile::tempdir().unwrap();
    let (root, secret) = (folder.path().join("data"), folder.path().join("secret.png"));
    touch(&secret);
    touch(&root.join("a.png"));
    std::os::unix::fs::symlink(&secret, root.join("link.png")).unwrap();
    std::os::unix::fs::symlink(folder.path(), root.join("up")).unwrap();
    std::os::unix::fs::symlink(root.join("a.png"), root.join("same.png")).unwrap();
    let work = folder.path().join("work");
    fs::create_dir(&work).unwrap();
    let catalog = Catalog::open(Some(&root), &work, &work.join("uploads"), 1 << 20).unwrap();
    assert_eq!(
        (names(&catalog), catalog.left_out()),
        (vec!["a.png".to_owned(), "same.png".to_owned()], 1)
    );
    // A file that became a link since.
    let case = catalog.get(&catalog.summaries()[0].id).unwrap();
    assert!(case.file().is_ok());
    fs::remove_file(root.join("a.png")).unwrap();
    std::os::unix::fs::symlink(&secret, root.join("a.png")).unwrap();
    assert!(case.file().unwrap_err().to_string().contains("leads out"));
}

#[test]
fn names_become_plain() {
    for (name, expected) in [
        ("scan 1.nii.gz", "scan_1.nii.gz"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("...", "unnamed"),
        ("", "unnamed"),
        ("ä\0/b.png", "___b.png"),
        ("Aux.nii.gz", "Aux_.nii.gz"),
        ("scan.", "scan"),
    ] {
        assert_eq!(plain(name), expected);
    }
    assert_eq!(plain(&"x".repeat(300)).len(), 80);
}
