//! Tiny trees that imitate the downloads: the layout is detected, and cases, structures and truth are found.

use std::fs;
use std::path::Path;

use synthfm_image::{
    GreyDepth, Image, LabelMap, LabelVolume, Mask, Size, VolumeGeometry, compressed_rle,
    write_grey_png, write_label_nifti, write_label_png,
};
use tempfile::TempDir;

use super::*;

/// A tree of files; `.png` and `.nii.gz` hold `values` repeated over 3 rows and 4 columns, and 2 slices.
struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn text(&self, name: &str, text: &str) -> &Self {
        fs::write(self.path(name), text).unwrap();
        self
    }

    fn file(&self, name: &str, values: &[u16]) -> &Self {
        let path = self.path(name);
        let at = |i: usize| values[i % values.len()];
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        if ending == "gz" {
            let geometry = VolumeGeometry::with_spacing([4, 3, 2], [0.5, 0.5, 5.0]).unwrap();
            let volume = LabelVolume::new(geometry, (0..24).map(at).collect()).unwrap();
            write_label_nifti(&path, &volume).unwrap();
        } else if ending == "png" {
            let map = LabelMap::new(Size::new(3, 4), (0..12).map(at).collect()).unwrap();
            write_label_png(&path, &map).unwrap();
        } else {
            fs::write(path, "of a format that is read elsewhere").unwrap();
        }
        self
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    /// The data set, whose layout must be detected.
    fn open(&self, layout: &str) -> Dataset {
        let dataset = Dataset::open(self.root()).unwrap();
        assert_eq!(dataset.layout.to_string(), layout);
        let named = Dataset::open_as(self.root(), layout.parse().unwrap()).unwrap();
        assert_eq!(named, dataset);
        dataset
    }
}

/// (name, patient, modality) of every case.
fn cases(dataset: &Dataset) -> Vec<(&str, &str, &str)> {
    dataset
        .cases
        .iter()
        .map(|case| {
            (
                case.name.as_str(),
                case.patient.as_str(),
                case.modality.as_str(),
            )
        })
        .collect()
}

/// The labels that the first view of a case shows.
fn labels(dataset: &Dataset, case: usize) -> Vec<u16> {
    let loaded = dataset.load(&dataset.cases[case]).unwrap();
    loaded.views[0].labels.labels()
}

fn structures(dataset: &Dataset) -> Vec<&str> {
    dataset.structures.iter().map(|s| s.name.as_str()).collect()
}

#[test]
fn amos_tells_ct_from_mr_by_the_number() {
    let tree = Tree::new();
    tree.text(
        "amos22/dataset.json",
        r#"{"labels": {"0": "background", "1": "spleen"}, "modality": {"0": "CT"}}"#,
    )
    .file("amos22/imagesTr/amos_0004.nii.gz", &[5, 900])
    .file("amos22/labelsTr/amos_0004.nii.gz", &[0, 6])
    .file("amos22/imagesVa/amos_0507.nii.gz", &[1, 2])
    .file("amos22/labelsVa/amos_0507.nii.gz", &[0, 15])
    .file("amos22/labelsVa/amos_0508.nii.gz", &[0, 15])
    .file("amos22/imagesTs/amos_0600.nii.gz", &[1]);
    let dataset = tree.open("amos22");
    assert_eq!(
        cases(&dataset),
        [
            ("amos_0004", "amos_0004", "CT"),
            ("amos_0507", "amos_0507", "MR")
        ]
    );
    assert_eq!(
        (
            dataset.structures.len(),
            dataset.structures[5].name.as_str()
        ),
        (15, "liver")
    );
    assert_eq!(
        (labels(&dataset, 0), labels(&dataset, 1)),
        (vec![6], vec![15])
    );
    assert!(
        dataset.skipped[0]
            .text
            .contains("amos_0508.nii.gz does not exist")
    );
}

#[test]
fn nnunet_takes_labels_in_parts() {
    let tree = Tree::new();
    let cases =
        r#"[{"case": "a", "image": "scans/a.nii.gz"}, {"case": "b", "image": "scans/b.nii.gz"}]"#;
    tree.text(
        "dataset.json",
        &format!(r#"{{"labels": {{"background": 0, "liver": 4, "spine": 2}}, "file_ending": ".nii.gz", "cases": {cases}}}"#),
    )
    .file("scans/a.nii.gz", &[1])
    .file("scans/b.nii.gz", &[1])
    .file("labelsTs/a__liver.nii.gz", &[0, 0, 1])
    .file("labelsTs/a__spine.nii.gz", &[0, 1, 0])
    .file("labelsTs/a__other.nii.gz", &[1])
    .file("labelsTs/b__labels.nii.gz", &[0, 4]);
    let dataset = tree.open("nnunet");
    assert_eq!(
        (labels(&dataset, 0), labels(&dataset, 1)),
        (vec![2, 4], vec![4])
    );
}

#[test]
fn msd_reads_numbered_names() {
    let tree = Tree::new();
    tree.text(
        "dataset.json",
        r#"{"name": "Liver", "modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver", "2": "cancer cells"}}"#,
    )
    .file("imagesTr/liver_0.nii.gz", &[1])
    .file("imagesTr/._liver_0.nii.gz", &[1])
    .file("labelsTr/liver_0.nii.gz", &[0, 2])
    .file("labelsTr/._liver_0.nii.gz", &[0])
    .file("imagesTs/liver_1.nii.gz", &[1]);
    let dataset = tree.open("msd");
    assert_eq!(
        (dataset.name.as_str(), structures(&dataset)),
        ("MSD Liver", vec!["liver", "cancer_cells"])
    );
    assert_eq!(cases(&dataset), [("liver_0", "liver_0", "CT")]);
    assert_eq!(labels(&dataset, 0), [2]);
}

#[test]
fn btcv_pairs_images_with_labels() {
    let tree = Tree::new();
    tree.file("Abdomen/RawData/Training/img/img0001.nii.gz", &[1])
        .file("Abdomen/RawData/Training/label/label0001.nii.gz", &[0, 9]);
    let dataset = tree.open("btcv");
    assert_eq!(cases(&dataset), [("label0001", "label0001", "CT")]);
    assert_eq!(dataset.structures[8].name, "inferior_vena_cava");
    tree.file("Cervix/RawData/Training/img/0001-Image.nii.gz", &[1])
        .file("Cervix/RawData/Training/label/label0001.nii.gz", &[0, 9]);
    let error = Dataset::open(tree.root()).unwrap_err().to_string();
    assert!(error.contains("name the folder of one"), "{error}");
}

#[test]
fn flare_and_kits_and_totalsegmentator_are_volumes() {
    let tree = Tree::new();
    tree.file("FLARE22Train/images/FLARE22_Tr_0001_0000.nii.gz", &[1])
        .file("FLARE22Train/labels/FLARE22_Tr_0001.nii.gz", &[0, 13]);
    let dataset = tree.open("flare22");
    assert_eq!(
        cases(&dataset),
        [("FLARE22_Tr_0001", "FLARE22_Tr_0001", "CT")]
    );
    assert_eq!(
        (labels(&dataset, 0), dataset.structures[12].name.as_str()),
        (vec![13], "left_kidney")
    );

    let tree = Tree::new();
    tree.file("dataset/case_00000/imaging.nii.gz", &[1])
        .file("dataset/case_00000/segmentation.nii.gz", &[0, 2])
        .file("dataset/case_00001/segmentation.nii.gz", &[0, 2]);
    let dataset = tree.open("kits");
    assert_eq!(structures(&dataset), ["kidney", "tumour", "cyst"]);
    assert_eq!(
        (dataset.cases.len(), dataset.skipped[0].case.as_str()),
        (1, "case_00001")
    );

    let tree = Tree::new();
    tree.text("meta.csv", "image_id;split\ns0000;test\n")
        .file("s0000/ct.nii.gz", &[1])
        .file("s0000/segmentations/liver.nii.gz", &[0, 0, 1])
        .file("s0000/segmentations/aorta.nii.gz", &[0, 1, 0])
        .file("s0002/mri.nii.gz", &[1])
        .file("s0002/segmentations/spleen.nii.gz", &[1, 0]);
    let dataset = tree.open("totalsegmentator");
    assert_eq!(structures(&dataset), ["aorta", "liver", "spleen"]);
    assert_eq!(
        cases(&dataset),
        [("s0000", "s0000", "CT"), ("s0002", "s0002", "MR")]
    );
    assert_eq!(
        (labels(&dataset, 0), labels(&dataset, 1)),
        (vec![1, 2], vec![3])
    );
}

#[test]
fn chaos_pairs_slices_in_natural_order() {
    let tree = Tree::new();
    // Pictures stand for the slices, whose format is told by content.
    for (n, grey) in [(1, 63), (2, 126), (10, 252)] {
        tree.file(
            &format!("Train_Sets/MR/5/T2SPIR/DICOM_anon/IMG-{n}.png"),
            &[n],
        )
        .file(
            &format!("Train_Sets/MR/5/T2SPIR/Ground/IMG-{n}.png"),
            &[0, grey],
        );
    }
    tree.file("Train_Sets/CT/3/DICOM_anon/i0000.png", &[40, 400])
        .file("Train_Sets/CT/3/Ground/liver_GT_000.png", &[0, 255])
        .file("Train_Sets/CT/4/DICOM_anon/i0000.png", &[1]);
    let dataset = tree.open("chaos");
    assert_eq!(
        structures(&dataset),
        ["liver", "right_kidney", "left_kidney", "spleen"]
    );
    assert_eq!(
        cases(&dataset),
        [("CT_3", "CT_3", "CT"), ("MR_5_T2SPIR", "MR_5", "MR")]
    );
    assert!(
        dataset.skipped[0].text.contains("found 0 and 1"),
        "{}",
        dataset.skipped[0].text
    );
    assert_eq!(labels(&dataset, 0), [1]);
    let loaded = dataset.load(&dataset.cases[1]).unwrap();
    let found: Vec<(usize, &str)> = loaded
        .views
        .iter()
        .map(|view| (view.slice.unwrap(), view.structures[0].name.as_str()))
        .collect();
    assert_eq!(found, [(0, "liver"), (1, "right_kidney"), (2, "spleen")]);
    assert_eq!((loaded.absent, loaded.notes.len()), (1, 0));
}

#[test]
fn hc18_fills_outlines_and_knows_the_pixel_size() {
    let tree = Tree::new();
    // The rim of the picture, which encloses its two inner pixels.
    let rim = [255, 255, 255, 255, 255, 0, 0, 255, 255, 255, 255, 255];
    tree.file("training_set/010_HC.png", &[10])
        .file("training_set/010_HC_Annotation.png", &rim)
        .file("training_set/010_2HC.png", &[10])
        .file("training_set/010_2HC_Annotation.png", &rim)
        .file("training_set/011_HC.png", &[10])
        .text(
            "training_set_pixel_size_and_HC.csv",
            "filename,pixel size(mm),head circumference (mm)\n010_HC.png,0.07,44.3\n",
        );
    let dataset = tree.open("hc18");
    assert_eq!(
        cases(&dataset),
        [("010_2HC", "010", "US"), ("010_HC", "010", "US")]
    );
    let view = |case: usize| dataset.load(&dataset.cases[case]).unwrap().views.remove(0);
    assert_eq!(
        (view(0).spacing_mm, view(1).spacing_mm),
        (None, Some([0.07, 0.07]))
    );
    assert!(view(1).labels.data().iter().all(|&label| label == 1));
    assert_eq!(dataset.skipped[0].case, "011_HC");
}

#[test]
fn ultrasound_of_breasts_and_births() {
    let tree = Tree::new();
    tree.file("benign/benign (1).png", &[7])
        .file("benign/benign (1)_mask.png", &[255, 0, 0])
        .file("benign/benign (1)_mask_1.png", &[0, 255, 0])
        .file("benign/benign (10).png", &[7])
        .file("malignant/malignant (1).png", &[7])
        .file("malignant/malignant (1)_mask.png", &[0, 255])
        .file("normal/normal (1).png", &[7])
        .file("normal/normal (1)_mask.png", &[0]);
    let dataset = tree.open("busi");
    assert_eq!(structures(&dataset), ["benign_lesion", "malignant_lesion"]);
    assert_eq!(dataset.cases.len(), 2);
    let view = dataset.load(&dataset.cases[0]).unwrap().views.remove(0);
    assert_eq!(view.labels.mask_of(1).area(), 8);
    assert_eq!(labels(&dataset, 1), [2]);
    assert_eq!(dataset.skipped[0].case, "benign (10)");

    let tree = Tree::new();
    tree.file("PSFHS/image_mha/03744.mha", &[1])
        .file("PSFHS/label_mha/03744.mha", &[1]);
    let dataset = tree.open("psfhs");
    assert_eq!(structures(&dataset), ["pubic_symphysis", "fetal_head"]);
    assert_eq!(cases(&dataset), [("03744", "03744", "US")]);
    // The same tree with a format that is read here: two slices of which the first is the image.
    let path = tree.path("PSFHS/image_mha/03744.mha");
    tree.file("x.nii.gz", &[9]).file("y.png", &[0, 2]);
    fs::rename(tree.path("x.nii.gz"), path).unwrap();
    fs::rename(tree.path("y.png"), tree.path("PSFHS/label_mha/03744.mha")).unwrap();
    assert_eq!(labels(&dataset, 0), [2]);
}

#[test]
fn hearts_have_frames_of_patients() {
    let tree = Tree::new();
    tree.file(
        "database/training/patient001/patient001_frame01.nii.gz",
        &[1],
    )
    .file(
        "database/training/patient001/patient001_frame01_gt.nii.gz",
        &[0, 3],
    )
    .file("database/training/patient001/patient001_4d.nii.gz", &[1])
    .text("database/training/patient001/Info.cfg", "ED: 1")
    .file(
        "database/testing/patient101/patient101_frame14.nii.gz",
        &[1],
    )
    .file(
        "database/testing/patient101/patient101_frame14_gt.nii.gz",
        &[0, 1],
    );
    let dataset = tree.open("acdc");
    assert_eq!(
        cases(&dataset),
        [
            ("patient001_frame01", "patient001", "MR"),
            ("patient101_frame14", "patient101", "MR")
        ]
    );
    assert_eq!(labels(&dataset, 0), [3]);

    let tree = Tree::new();
    let frame = "database_nifti/patient0001/patient0001_2CH_ED";
    tree.file(&format!("{frame}.nii.gz"), &[1])
        .file(&format!("{frame}_gt.nii.gz"), &[0, 2])
        .file(
            "database_nifti/patient0001/patient0001_2CH_half_sequence.nii.gz",
            &[1],
        )
        .file(
            "database_nifti/patient0001/patient0001_2CH_half_sequence_gt.nii.gz",
            &[1],
        );
    let dataset = tree.open("camus");
    assert_eq!(
        cases(&dataset),
        [("patient0001_2CH_ED", "patient0001", "US")]
    );
    assert_eq!(
        structures(&dataset),
        ["left_ventricle", "myocardium", "left_atrium"]
    );
}

/// Run lengths of a mask of 3 rows and 4 columns.
fn rle(text: &str) -> String {
    let size = Size::new(3, 4);
    let mask = Mask::new(size, text.bytes().map(|b| b == b'#').collect()).unwrap();
    format!(
        r#"{{"size": [3, 4], "counts": "{}"}}"#,
        compressed_rle(&mask)
    )
}

#[test]
fn coco_and_livecell_number_objects() {
    let tree = Tree::new();
    let (a, b) = (rle("##.........."), rle("..........##"));
    let annotations = format!(
        r#"{{"images": [{{"id": 1, "file_name": "x.png", "width": 4, "height": 3}}, {{"id": 2, "file_name": "gone.png"}}],
        "categories": [{{"id": 4, "name": "cell"}}, {{"id": 5, "name": "nucleus"}}], "info": {{"modality": "MICRO"}},
        "annotations": [{{"image_id": 1, "category_id": 5, "segmentation": {a}}},
                        {{"image_id": 1, "category_id": 4, "segmentation": {b}}},
                        {{"image_id": 1, "category_id": 4, "segmentation": [[0, 2, 1, 2, 1, 3, 0, 3]]}}]}}"#
    );
    tree.text("annotations/instances_val2017.json", &annotations)
        .text("annotations/captions_val2017.json", "{}")
        .file("val2017/x.png", &[5]);
    let dataset = tree.open("coco");
    assert_eq!(cases(&dataset), [("x", "x", "MICRO")]);
    assert_eq!(structures(&dataset), ["cell", "nucleus"]);
    let view = dataset.load(&dataset.cases[0]).unwrap().views.remove(0);
    let owners: Vec<(u16, u16)> = view.instance_of.clone().unwrap().into_iter().collect();
    assert_eq!(owners, [(1, 2), (2, 1), (3, 1)]);
    assert_eq!(view.labels.mask_of(2).area(), 2);
    assert_eq!(dataset.skipped[0].case, "gone");

    let tree = Tree::new();
    let name = "A172_Phase_A7_1_00d00h00m_1";
    tree.text(
        "LIVECell_dataset_2021/annotations/LIVECell/livecell_coco_test.json",
        &format!(
            r#"{{"images": [{{"id": 9, "file_name": "{name}.tif"}}], "categories": [{{"id": 1, "name": "cell"}}],
            "annotations": {{"7": {{"image_id": 9, "category_id": 1, "segmentation": {a}}}}}}}"#
        ),
    )
    .file(&format!("images/livecell_test_images/A172/{name}.tif"), &[1]);
    let dataset = tree.open("livecell");
    assert_eq!(cases(&dataset), [(name, "A172_A7", "MICRO")]);
    let paths = dataset.cases[0].source.paths();
    assert!(paths[0].ends_with(format!("A172/{name}.tif")));
}

#[test]
fn dsb2018_has_a_mask_per_nucleus() {
    let tree = Tree::new();
    tree.file("stage1_train/abc/images/abc.png", &[5])
        .file("stage1_train/abc/masks/1.png", &[255, 0, 0])
        .file("stage1_train/abc/masks/2.png", &[0, 255, 0])
        .text("stage1_train/def/images/def.txt", "")
        .text("stage1_train/def/masks/none.txt", "");
    let dataset = tree.open("dsb2018");
    assert!(dataset.instances);
    assert_eq!(cases(&dataset), [("abc", "abc", "MICRO")]);
    assert_eq!(labels(&dataset, 0), [1, 2]);
    assert_eq!(dataset.skipped[0].case, "def");
}

#[test]
fn folders_need_no_description() {
    let tree = Tree::new();
    tree.file("images/a.png", &[5])
        .file("masks/a_mask.png", &[0, 255])
        .file("images/b.png", &[5])
        .file("images/c.nii.gz", &[5])
        .file("masks/c.nii.gz", &[0, 3]);
    let dataset = tree.open("folders");
    assert_eq!(structures(&dataset), ["foreground"]);
    assert_eq!(
        cases(&dataset),
        [("a", "a", "unknown"), ("c", "c", "unknown")]
    );
    assert_eq!(
        (labels(&dataset, 0), labels(&dataset, 1)),
        (vec![1], vec![1])
    );
    assert_eq!(dataset.skipped[0].text, "it has no mask");
    tree.text(
        "labels.json",
        r#"{"background": 0, "spleen": 3, "liver": 1}"#,
    );
    let dataset = tree.open("folders");
    assert_eq!(structures(&dataset), ["liver", "spleen"]);
    assert_eq!(labels(&dataset, 1), [3]);
    tree.text("labels.json", r#"{"liver": "one"}"#);
    let error = Dataset::open(tree.root()).unwrap_err().to_string();
    assert!(error.contains("labels.json"), "{error}");
}

#[test]
fn folders_that_do_not_fit_say_what_was_expected() {
    let tree = Tree::new();
    tree.file("something/else.png", &[1]);
    for layout in Layout::all() {
        let error = Dataset::open_as(tree.root(), layout)
            .unwrap_err()
            .to_string();
        let found = error.contains("something") || error.contains("dataset.json");
        assert!(
            error.contains("expected") || error.contains("No such file"),
            "{error}"
        );
        assert!(found, "{layout}: {error}");
        assert_eq!(layout.to_string().parse::<Layout>().unwrap(), layout);
        assert!(!layout.expected().is_empty());
    }
    let error = Dataset::open(tree.root()).unwrap_err().to_string();
    assert!(
        error.contains("totalsegmentator") && error.contains("found something"),
        "{error}"
    );
    assert!(
        "nnunet3"
            .parse::<Layout>()
            .unwrap_err()
            .to_string()
            .contains("livecell")
    );
    let gone = Dataset::open_as(&tree.root().join("gone"), Layout::Kits).unwrap_err();
    assert!(gone.to_string().contains("no such folder"), "{gone}");
}

#[test]
fn what_synthfm_writes_as_coco_is_read() {
    let tree = Tree::new();
    let image = Image::zeros(Size::new(3, 4));
    let path = tree.path("images/synth.png");
    write_grey_png(&path, &image, 0.0..=1.0, GreyDepth::Eight).unwrap();
    let annotations = format!(
        r#"{{"images": [{{"id": 1, "file_name": "synth.png", "width": 4, "height": 3}}],
        "categories": [{{"id": 1, "name": "target"}}],
        "annotations": [{{"image_id": 1, "category_id": 1, "iscrowd": 0, "segmentation": {}}}]}}"#,
        rle("#...#...#...")
    );
    tree.text("annotations.json", &annotations);
    let dataset = tree.open("coco");
    let view = dataset.load(&dataset.cases[0]).unwrap().views.remove(0);
    assert_eq!(
        (view.labels.mask_of(1).area(), view.labels.at(2, 0)),
        (3, 1)
    );
}
