//! `serve`: annotations through the interface of pages and programs, limits, and what outlives the process.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use serde_json::Value;
use synthfm_image::{Plane, write_label_png};

use crate::common::{
    SIZE, label_map, label_volume, mask, names, picture, slice_area, synthfm, volume,
};
use crate::http::{Client, Server};

/// A folder with a picture, a volume, and labels for the picture.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("images")).unwrap();
    fs::create_dir(folder.path().join("labels")).unwrap();
    picture(&folder.path().join("images/disc.png"));
    volume(&folder.path().join("scan.nii.gz"));
    let pixels = (0..SIZE.area()).map(|at| {
        let (row, col) = (at / SIZE.width, at % SIZE.width);
        u16::from((row as f32 - 20.0).hypot(col as f32 - 30.0) < 12.0)
    });
    let labels = synthfm_image::LabelMap::new(SIZE, pixels.collect()).unwrap();
    write_label_png(&folder.path().join("labels/disc.png"), &labels).unwrap();
    folder
}

const CLICK: &str =
    r#"{"structure": 1, "plane": "axial", "index": 0, "points": [[30, 20]], "labels": [1]}"#;

fn area(answer: &Value) -> u64 {
    let runs = answer["runs"].as_array().unwrap();
    runs.iter()
        .skip(1)
        .step_by(2)
        .map(|run| run.as_u64().unwrap())
        .sum()
}

fn masks(client: &Client, plane: &str, index: usize) -> Value {
    client
        .get(&format!("masks?plane={plane}&index={index}"))
        .is(200)
        .json()["masks"]
        .clone()
}

#[test]
fn label_files_of_others_stay() {
    let folder = folder();
    let labels = folder.path().join("synthfm-annotations/labels/images");
    fs::create_dir_all(&labels).unwrap();
    fs::write(labels.join("disc.png"), "mine").unwrap();
    let server = Server::start(folder.path(), &["."]);
    let (client, _) = server.open("disc");
    client.post("predict", CLICK).is(200);
    let done = |client: &Client| {
        let answer = client.post("state", r#"{"state": "done"}"#).is(200).json();
        answer["file"].as_str().unwrap().to_owned()
    };
    let first = done(&client);
    assert!(
        first.contains("disc-") && Path::new(&first).is_file(),
        "{first}"
    );
    client.post("state", r#"{"state": "started"}"#).is(200);
    assert_eq!(done(&client), first, "its own file is replaced");
    assert_eq!(fs::read(labels.join("disc.png")).unwrap(), b"mine");
}

#[test]
fn a_click_gives_the_mask_that_predict_gives() {
    let folder = folder();
    let server = Server::start(folder.path(), &["."]);
    let (client, case) = server.open("disc");
    assert_eq!(
        (&case["picture"], &case["planes"][0]["width"]),
        (&true.into(), &60.into())
    );
    let answer = client.post("predict", CLICK).is(200).json();
    let args = [
        "predict",
        "images/disc.png",
        "--point=30,20",
        "-o",
        "mask.png",
    ];
    synthfm(folder.path(), &args).ok();
    let expected = mask(&folder.path().join("mask.png"));
    assert_eq!(area(&answer), expected.area() as u64);
    let saved = folder.path().join("saved.png");
    fs::write(&saved, client.get("export?format=png").is(200).body).unwrap();
    assert_eq!(label_map(&saved).mask_of(1), expected);
    assert!(answer["slice_dice"].as_f64().unwrap() > 0.9, "{answer}");
    let scores = client.get("scores").is(200).json();
    assert_eq!(scores["scores"][0]["dice"], answer["slice_dice"]);
    assert_eq!(answer["undo"], "prompt");
    let slice = client.get("slice?plane=axial&index=0").is(200);
    assert_eq!(slice.body.len(), 2 * SIZE.area());
}

#[test]
fn steps_go_back_and_forth_and_paint_stays() {
    let folder = folder();
    let server = Server::start(folder.path(), &["images/disc.png"]);
    let (client, _) = server.open("disc");
    let clicked = area(&client.post("predict", CLICK).is(200).json());
    // The whole first row.
    let stroke = |mode: &str, runs: &str| {
        let text = format!(
            r#"{{"structure": 1, "plane": "axial", "index": 0, "mode": "{mode}", "runs": {runs}}}"#
        );
        area(&client.post("edit", &text).is(200).json())
    };
    assert_eq!(stroke("add", "[0, 60, 2340]"), clicked + 60);
    assert_eq!(stroke("remove", "[0, 20, 2380]"), clicked + 40);
    let again = client.post("predict", CLICK).is(200).json();
    assert_eq!(
        area(&again),
        clicked + 40,
        "what was painted outlives a prompt"
    );
    for expected in [clicked + 40, clicked + 60, clicked, 0] {
        client.post("undo", "{}").is(200);
        let found = masks(&client, "axial", 0);
        assert_eq!(found.get(0).map_or(0, area), expected);
    }
    client
        .post("undo", "{}")
        .fails(409, "nothing", "nothing to undo");
    for _ in 0..4 {
        client.post("redo", "{}").is(200);
    }
    assert_eq!(area(&masks(&client, "axial", 0)[0]), clicked + 40);
    let clear = r#"{"structure": 1, "plane": "axial", "index": 0}"#;
    client.post("clear", clear).is(200);
    assert_eq!(masks(&client, "axial", 0).as_array().unwrap().len(), 0);
}

#[test]
fn a_volume_is_propagated_and_exported_on_its_grid() {
    let folder = folder();
    let server = Server::start(folder.path(), &["."]);
    let (client, case) = server.open("scan");
    assert_eq!(case["planes"].as_array().unwrap().len(), 3);
    let listed = r#"{"structures": [{"id": 1, "name": "disc"}, {"name": "other"}]}"#;
    let structures = client.send("PUT", "structures", listed).is(200).json();
    assert_eq!(structures["structures"][1]["id"], 2);
    let click = CLICK.replace("\"index\": 0", "\"index\": 1");
    let clicked = area(&client.post("predict", &click).is(200).json());
    let mut events = client.server.connect();
    let request = format!(
        "GET /api/events?session={} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        client.session
    );
    events.write_all(request.as_bytes()).unwrap();
    let begin = r#"{"structure": 1, "plane": "axial", "index": 1, "direction": "up", "count": 2}"#;
    let begun = client.post("propagate", begin).is(202).json();
    assert_eq!(begun["slices"], 2);
    let mut heard = String::new();
    let mut part = [0; 4096];
    while !heard.contains("\"ended\"") {
        let read = events.read(&mut part).unwrap();
        assert!(read > 0, "{heard}");
        heard.push_str(&String::from_utf8_lossy(&part[..read]));
    }
    assert!(heard.contains("\"done\":2"), "{heard}");
    let saved = folder.path().join("saved.nii.gz");
    fs::write(&saved, client.get("export?format=nifti").is(200).body).unwrap();
    let labels = label_volume(&saved);
    let areas = [0, 1, 2, 3, 4].map(|index| slice_area(&labels, Plane::Axial, index));
    assert_eq!((areas[0], areas[1], areas[4]), (0, clicked as usize, 0));
    // The slices are all alike: a disc of 452 pixels.
    assert!(
        areas[1..4].iter().all(|area| area.abs_diff(452) < 90),
        "{areas:?}"
    );
    client.post("undo", "{}").is(200);
    assert_eq!(
        masks(&client, "axial", 2).as_array().unwrap().len(),
        0,
        "the run is one step"
    );
    let coronal = masks(&client, "coronal", 20);
    assert!(area(&coronal[0]) > 10);
}

#[test]
fn a_killed_server_loses_nothing_that_was_answered() {
    let folder = folder();
    let server = Server::start(folder.path(), &["."]);
    let (client, _) = server.open("disc");
    let clicked = client.post("predict", CLICK).is(200).json();
    client.post("state", r#"{"state": "done"}"#).is(200);
    server.kill();
    let server = Server::start(folder.path(), &["."]);
    let (client, case) = server.open("disc");
    assert_eq!(
        (&case["state"], &case["undo"]),
        (&"done".into(), &"prompt".into())
    );
    assert_eq!(masks(&client, "axial", 0)[0]["runs"], clicked["runs"]);
    let labels = folder
        .path()
        .join("synthfm-annotations/labels/images/disc.png");
    assert_eq!(label_map(&labels).mask_of(1).area() as u64, area(&clicked));
    // Only one server at a time.
    let second = synthfm(folder.path(), &["serve", ".", "--port=0"]);
    second.fails(1, &["in use by another", "--work"]);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn folders_of_others_are_no_place_for_work() {
    let folder = folder();
    for name in ["cases", "uploads", "notes.txt"] {
        let theirs = folder.path().join("theirs");
        std::fs::create_dir(&theirs).unwrap();
        std::fs::create_dir(theirs.join(name)).unwrap();
        std::fs::write(theirs.join(name).join("a"), "theirs").unwrap();
        let run = synthfm(folder.path(), &["serve", ".", "--port=0", "--work=theirs"]);
        run.fails(1, &[&format!("holds other files ({name})")]);
        assert_eq!(names(&theirs), [format!("{name}/a")]);
        std::fs::remove_dir_all(&theirs).unwrap();
    }
}

#[test]
fn a_case_belongs_to_one_session_at_a_time() {
    let folder = folder();
    let server = Server::start(folder.path(), &["."]);
    let (first, _) = server.open("disc");
    let other = server.client();
    let other = Client {
        case: first.case.clone(),
        ..other
    };
    other
        .post("open", "{}")
        .fails(423, "taken", "another window");
    other
        .post("predict", CLICK)
        .fails(409, "not_open", "open it again");
    other.post("open", r#"{"take_over": true}"#).is(200);
    other.post("predict", CLICK).is(200);
    first
        .post("predict", CLICK)
        .fails(409, "not_open", "taken over");
    let path = format!("/api/sessions/{}", other.session);
    server.send("DELETE", &path, &[], b"").is(200);
    other
        .post("predict", CLICK)
        .fails(410, "no_session", "ended");
    first.post("open", "{}").is(200);
}

#[test]
fn uploads_are_checked_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    picture(&folder.path().join("outside.png"));
    let bytes = fs::read(folder.path().join("outside.png")).unwrap();
    let server = Server::start(folder.path(), &["--work", "work", "--max-file", "1"]);
    let client = server.client();
    let added = client
        .put("/api/uploads?name=..%2F..%2Fmy%20scan.png", &bytes)
        .is(200)
        .json();
    assert_eq!(added["name"], "_.._my_scan.png");
    client.put("/api/uploads?name=a.png", b"no image").fails(
        422,
        "unreadable",
        "a.png: none of PNG",
    );
    client
        .put("/api/uploads?name=a.exe", &bytes)
        .fails(422, "unreadable", "not an image");
    client
        .put("/api/uploads?name=a.png", &vec![0; (1 << 20) + 1])
        .fails(413, "too_large", "1 MiB");
    client
        .put("/api/uploads?name=a.png", b"")
        .fails(400, "bad_request", "empty");
    server
        .send("PUT", "/api/uploads?name=a.png", &[], &bytes)
        .fails(400, "bad_request", "session");
    let (client, _) = server.open("my_scan");
    let path = format!("/api/cases/{}/reference?name=truth.png", client.case);
    client.put(&path, &bytes).is(200);
    client
        .put(&path, b"zzz")
        .fails(422, "unreadable", "truth.png");
    drop(server);
    let server = Server::start(folder.path(), &["--work", "work"]);
    let (_, case) = server.open("my_scan");
    assert!(case["reference"].is_array(), "{case}");
    let left: Vec<_> = fs::read_dir(folder.path().join("work/uploads"))
        .unwrap()
        .collect();
    assert_eq!(left.len(), 1, "refused uploads leave nothing");
}

#[test]
fn wrong_requests_are_answered_in_words() {
    let folder = folder();
    let server = Server::start(folder.path(), &["."]);
    let (client, _) = server.open("disc");
    let predict = |change: (&str, &str)| client.post("predict", &CLICK.replace(change.0, change.1));
    predict(("[30, 20]", "[60, 20]")).fails(400, "bad_request", "(60, 20) lies outside");
    predict(("\"structure\": 1", "\"structure\": 9")).fails(400, "bad_request", "no structure 9");
    predict(("\"index\": 0", "\"index\": 7")).fails(400, "bad_request", "slice 7");
    predict(("axial", "coronal")).fails(400, "bad_request", "no coronal plane");
    predict(("axial", "oblique")).fails(400, "bad_request", "unknown variant");
    client.post("predict", "{").fails(400, "bad_request", "EOF");
    client
        .post("predict", &"9".repeat(5 << 20))
        .fails(413, "too_large", "4 MiB");
    let runs = r#"{"structure": 1, "plane": "axial", "index": 0, "mode": "add", "runs": [1, 2]}"#;
    client
        .post("edit", runs)
        .fails(400, "bad_request", "add up to 3");
    client
        .get("export?format=dicom")
        .fails(400, "bad_request", "png-masks");
    client
        .post(
            "propagate",
            r#"{"structure": 1, "plane": "axial", "index": 0, "direction": "up"}"#,
        )
        .fails(400, "bad_request", "no mask");
    let plain = [
        ("X-Session", client.session.as_str()),
        ("Content-Type", "text/plain"),
    ];
    let path = format!("/api/cases/{}/predict", client.case);
    server
        .send("POST", &path, &plain, CLICK.as_bytes())
        .fails(415, "bad_request", "JSON");
    for path in [
        "/api/cases/0123456789abcdef",
        "/api/cases/..%2f..%2fetc%2fpasswd",
        "/..%2f..%2fetc/passwd",
        "/nothing",
    ] {
        server.get(path).fails(404, "not_found", "there is no");
    }
    server
        .send("DELETE", "/api/cases", &[], b"")
        .fails(405, "bad_request", "openapi");
    let raw = |text: &str| server.raw(text.as_bytes()).status;
    assert_eq!(
        raw("GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"),
        403
    );
    let origin = "GET /api/cases HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(raw(origin), 403);
    assert_eq!(raw("nonsense\r\n\r\n"), 400);
    client.post("predict", CLICK).is(200);
}

#[test]
fn a_token_is_asked_for_where_others_can_connect() {
    let folder = folder();
    let server = Server::start(folder.path(), &[".", "--host", "0.0.0.0"]);
    server
        .get("/api/cases")
        .fails(401, "no_token", "a token is needed");
    let token = server.url.rsplit("token=").next().unwrap();
    assert_eq!(token.len(), 32);
    let bearer = format!("Bearer {token}");
    server
        .send("GET", "/api/cases", &[("Authorization", &bearer)], b"")
        .is(200);
    let entered = server.get(&format!("/?token={token}")).is(303);
    assert!(
        entered.head.to_lowercase().contains("httponly"),
        "{}",
        entered.head
    );
    let cookie = format!("synthfm_token={token}");
    let page = server.send("GET", "/", &[("Cookie", &cookie)], b"").is(200);
    assert!(page.head.contains("default-src 'none'"));
    assert!(String::from_utf8_lossy(&page.body).contains("<title>synthfm</title>"));
}

#[test]
fn a_missing_path_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    synthfm(folder.path(), &["serve", "absent", "--port=0"]).fails(1, &["absent", "no such file"]);
    synthfm(folder.path(), &["serve", "--review"]).fails(2, &["--real", "--synthetic"]);
}

fn review(folder: &Path, more: &[&str]) -> Server {
    let args = [
        "--review",
        "--real",
        "real",
        "--synthetic",
        "synthetic",
        "--work",
        "answers",
    ];
    Server::start(folder, &[&args, more].concat())
}

#[test]
fn a_review_is_blind_and_goes_on_where_it_was_left() {
    let folder = tempfile::tempdir().unwrap();
    for kind in ["real", "synthetic"] {
        let images = folder.path().join(kind).join("imagesTs");
        fs::create_dir_all(&images).unwrap();
        for n in 0..3 {
            picture(&images.join(format!("case{n}_0000.png")));
        }
    }
    let manifest = r#"{"channel_names": {"0": "MRI"}, "labels": {"background": 0, "a": 1}, "file_ending": ".png"}"#;
    fs::write(folder.path().join("real/dataset.json"), manifest).unwrap();
    let judge = |server: &Server, number: usize, answer: &str| {
        let body = format!(
            r#"{{"rater": "AB", "number": {number}, "answer": "{answer}", "seconds": 1.5}}"#
        );
        server.send(
            "POST",
            "/api/review",
            &[("Content-Type", "application/json")],
            body.as_bytes(),
        )
    };
    let server = review(folder.path(), &["--seed", "3"]);
    let state = server.get("/api/review?rater=AB").is(200).json();
    assert_eq!((&state["total"], &state["next"]), (&6.into(), &1.into()));
    let image = server.get("/api/review/image?rater=AB").is(200);
    assert!(image.body.starts_with(b"\x89PNG") && !image.head.contains("case"));
    server
        .get("/api/review/summary?rater=AB")
        .fails(409, "not_done", "when all");
    judge(&server, 1, "real").is(200);
    judge(&server, 1, "real").fails(409, "answered", "already");
    judge(&server, 2, "synthetic").is(200);
    server.kill();
    let server = review(folder.path(), &["--seed", "3"]);
    assert_eq!(server.get("/api/review?rater=AB").json()["next"], 3);
    for number in 3..=6 {
        judge(&server, number, "real").is(200);
    }
    let summary = server.get("/api/review/summary?rater=AB").is(200).json();
    assert_eq!(summary["groups"][0]["all"]["count"], 6);
    assert!(summary["groups"][0]["all"]["wilson95"][0].as_f64().unwrap() > 0.0);
    let modalities: Vec<_> = summary["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|g| g["modality"].clone())
        .collect();
    assert!(modalities.contains(&"MR".into()), "{modalities:?}");
    let csv = fs::read_to_string(folder.path().join("answers/answers-AB.csv")).unwrap();
    assert_eq!(csv.lines().count(), 7, "{csv}");
    assert!(csv.contains(",real,MR,"), "{csv}");
    assert_eq!(server.stop(), Some(0));
    let figures = fs::read_to_string(folder.path().join("answers/summary.csv")).unwrap();
    assert!(figures.starts_with("rater,modality,answers,correct,accuracy,wilson95_low"));
    let other = [
        "serve",
        "--review",
        "--real",
        "real",
        "--synthetic",
        "synthetic",
        "--work",
        "answers",
        "--port=0",
    ];
    synthfm(folder.path(), &other).fails(1, &["another seed"]);
}

#[test]
fn a_dicom_series_is_a_case_with_its_own_exports() {
    let folder = tempfile::tempdir().unwrap();
    let series = folder.path().join("ct");
    fs::create_dir(&series).unwrap();
    let fixtures =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../synthfm-image/tests/fixtures/formats");
    for file in fs::read_dir(fixtures.join("dicom_axial")).unwrap() {
        let path = file.unwrap().path();
        fs::copy(&path, series.join(path.file_name().unwrap())).unwrap();
    }
    fs::copy(fixtures.join("lps_gzip.nrrd"), folder.path().join("a.nrrd")).unwrap();
    let server = Server::start(folder.path(), &["."]);
    let (client, case) = server.open("ct/1");
    let plane = &case["planes"][0];
    let slices = plane["slices"].as_u64().unwrap();
    assert!(slices > 1, "{case}");
    let area = plane["width"].as_u64().unwrap() * plane["height"].as_u64().unwrap();
    let text = format!(
        r#"{{"structure": 1, "plane": "axial", "index": 1, "mode": "add", "runs": [3, 5, {}]}}"#,
        area - 8
    );
    client.post("edit", &text).is(200);
    let export = |format: &str| client.get(&format!("export?format={format}")).is(200);
    assert_eq!(export("dicom-seg").body[128..132], *b"DICM");
    assert!(export("nrrd").head.contains("filename=\"ct_1"));
    let path = folder.path().join("labels.nii.gz");
    fs::write(&path, export("nifti").body).unwrap();
    let labels = label_volume(&path);
    assert_eq!(labels.data().iter().filter(|&&v| v == 1).count(), 5);
    let (client, case) = server.open("a.nrrd");
    let formats = case["formats"].to_string();
    assert!(
        formats.contains("metaimage") && !formats.contains("dicom-seg"),
        "{formats}"
    );
    client
        .get("export?format=dicom-seg")
        .fails(400, "bad_request", "metaimage");
}
