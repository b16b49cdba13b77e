//! `serve` over many cases: one list of structures, files that come later, one archive, and pages that are gone.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{SIZE, label_map, picture, synthfm, volume};
use crate::http::{Client, Reply, Server};

/// A pixel of a picture of [`SIZE`].
fn paint(client: &Client, structure: u64) {
    let rest = SIZE.area() - 8;
    let text = format!(
        r#"{{"structure": {structure}, "plane": "axial", "index": 0, "mode": "add", "runs": [5, 3, {rest}]}}"#
    );
    client.post("edit", &text).is(200);
}

fn names(case: &Value) -> Vec<(u64, String)> {
    let structures = case["structures"].as_array().unwrap().iter();
    let one = |s: &Value| {
        (
            s["id"].as_u64().unwrap(),
            s["name"].as_str().unwrap().to_owned(),
        )
    };
    structures.map(one).collect()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_mins(1), "{what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn cases_share_their_structures_and_become_one_archive() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a_0000.png", "b_0000.png"] {
        picture(&folder.path().join(name));
    }
    let list = r##"labels = [{ name = "disc", value = 3, colour = "#00ff00", key = 2 }, { name = "rim", value = 4 }]"##;
    fs::write(folder.path().join("list.toml"), list).unwrap();
    let server = Server::start(folder.path(), &[".", "--labels", "list.toml"]);
    let (client, case) = server.open("a_0000");
    let both = [(3, "disc".to_owned()), (4, "rim".to_owned())];
    assert_eq!(names(&case), both);
    assert_eq!(
        (
            &case["structures"][0]["key"],
            &case["structures"][0]["colour"]
        ),
        (&2.into(), &"#00ff00".into())
    );
    // One that is added has a value that no label has, also on the next case.
    let added = r#"{"structures": [{"id": 3, "name": "disc"}, {"id": 4, "name": "rim"}, {"name": "spot"}]}"#;
    let listed = client.send("PUT", "structures", added).is(200).json();
    assert_eq!(listed["structures"][2]["id"], 1);
    server
        .get("/api/export")
        .fails(409, "nothing", "no case is done");
    paint(&client, 3);
    client.post("state", r#"{"state": "done"}"#).is(200);
    let (other, case) = server.open("b_0000");
    assert_eq!(names(&case)[2], (1, "spot".to_owned()));
    paint(&other, 1);
    other.post("state", r#"{"state": "done"}"#).is(200);
    let archive = server.get("/api/export").is(200);
    let text = String::from_utf8_lossy(&archive.body);
    for name in ["dataset.json", "labelsTr/a.png", "labelsTr/b.png"] {
        assert!(text.contains(name), "{name}");
    }
    // A change makes it unfinished again.
    paint(&other, 3);
    let cases = server.get("/api/cases").is(200).json();
    let states: Vec<&str> = cases["cases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|case| case["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["done", "started"]);
}

/// Puts a list of structures, as identifiers (0 for a new one) and names, with more fields.
fn list(client: &Client, structures: &[(u64, &str)], more: &str) -> Reply {
    let one = |(id, name): &(u64, &str)| match id {
        0 => format!(r#"{{"name": "{name}"}}"#),
        id => format!(r#"{{"id": {id}, "name": "{name}"}}"#),
    };
    let all: Vec<String> = structures.iter().map(one).collect();
    let text = format!(r#"{{"structures": [{}]{more}}}"#, all.join(", "));
    client.send("PUT", "structures", &text)
}

fn pairs(pairs: &[(u64, &str)]) -> Vec<(u64, String)> {
    pairs.iter().map(|(id, n)| (*id, (*n).to_owned())).collect()
}

/// Values by name in the record beside a label file.
fn values(folder: &Path, case: &str) -> Vec<(u64, String)> {
    let path = folder.join(format!("synthfm-annotations/labels/{case}.json"));
    names(&serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
}

fn pictures(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        picture(&folder.path().join(name));
    }
    folder
}

#[test]
fn names_are_unique_and_keep_their_values() {
    let folder = pictures(&["c1.png", "c2.png", "c3.png"]);
    let server = Server::start(folder.path(), &["."]);
    let (client, _) = server.open("c1");
    list(&client, &[(1, "a")], "").is(200);
    list(&client, &[(1, "a"), (0, "structure 2")], "").is(200);
    list(&client, &[(1, "a"), (2, "a")], "").fails(400, "bad_request", "\"a\" already");
    list(&client, &[(1, "a"), (2, "BackGround")], "").fails(400, "bad_request", "value 0");
    list(&client, &[(1, "a"), (2, "b")], "").is(200);
    paint(&client, 1);
    client.post("state", r#"{"state": "done"}"#).is(200);
    let both = pairs(&[(1, "a"), (2, "b")]);
    assert_eq!(values(folder.path(), "c1"), both);
    let (other, case) = server.open("c2");
    assert_eq!(names(&case), both);
    // The other way round on this case: the names keep their values in files.
    list(&other, &[(2, "b")], "").is(200);
    list(&other, &[(2, "b"), (0, "c"), (0, "a")], "").is(200);
    let case = server.get(&format!("/api/cases/{}", other.case)).json();
    let id = names(&case).iter().find(|(_, name)| name == "a").unwrap().0;
    paint(&other, id);
    other.post("state", r#"{"state": "done"}"#).is(200);
    let found = values(folder.path(), "c2");
    assert_eq!(found, pairs(&[(2, "b"), (3, "c"), (1, "a")]));
    let map = label_map(&folder.path().join("synthfm-annotations/labels/c2.png"));
    assert_eq!(map.labels(), [1]);
    // The next case begins with the list.
    let (_, case) = server.open("c3");
    assert_eq!(names(&case), pairs(&[(1, "a"), (2, "b"), (3, "c")]));
}

#[test]
fn a_corrected_name_asks_for_the_other_cases() {
    let folder = pictures(&["c1.png", "c2.png", "c3.png"]);
    let server = Server::start(folder.path(), &["."]);
    let (client, _) = server.open("c1");
    list(&client, &[(1, "livr")], "").is(200);
    paint(&client, 1);
    client.post("state", r#"{"state": "done"}"#).is(200);
    let (second, _) = server.open("c2");
    paint(&second, 1);
    list(&second, &[(1, "liver")], "").fails(409, "rename", "1 of the other cases have \"livr\"");
    let answer = list(&second, &[(1, "liver")], r#", "rename": "all""#)
        .is(200)
        .json();
    assert_eq!(answer["notes"], serde_json::json!([]));
    assert_eq!(values(folder.path(), "c1"), pairs(&[(1, "liver")]));
    let cases = server.get("/api/cases").is(200).json();
    assert_eq!(
        cases["cases"][0]["state"], "done",
        "a name is no change of the labels"
    );
    second.post("state", r#"{"state": "done"}"#).is(200);
    let archive = server.get("/api/export").is(200);
    assert!(
        !archive.head.to_lowercase().contains("x-notes"),
        "{}",
        archive.head
    );
    // On this case alone there are two classes, and the archive says so.
    let (third, case) = server.open("c3");
    assert_eq!(names(&case), pairs(&[(1, "liver")]));
    list(&third, &[(1, "livers")], r#", "rename": "case""#).is(200);
    paint(&third, 1);
    third.post("state", r#"{"state": "done"}"#).is(200);
    assert_eq!(values(folder.path(), "c3"), pairs(&[(2, "livers")]));
    let archive = server.get("/api/export").is(200);
    let expected = "\"liver\" (2 cases) and \"livers\" (1 case) are two classes";
    assert!(archive.head.contains(expected), "{}", archive.head);
}

#[test]
fn undo_reaches_the_list_of_all_cases() {
    let folder = pictures(&["c1.png", "c2.png", "c3.png", "c4.png", "c5.png"]);
    let server = Server::start(folder.path(), &["."]);
    let (client, _) = server.open("c1");
    list(&client, &[(1, "a"), (0, "b")], "").is(200);
    // A case that is open and untouched gets what the list becomes.
    let (second, case) = server.open("c2");
    let both = pairs(&[(1, "a"), (2, "b")]);
    assert_eq!(names(&case), both);
    list(&client, &[(2, "b")], "").is(200);
    let shown = |client: &Client| names(&server.get(&format!("/api/cases/{}", client.case)).json());
    assert_eq!(shown(&second), both[1..]);
    client.post("undo", "").is(200);
    assert_eq!(shown(&second), both);
    list(&client, &[(1, "a"), (2, "zz")], "").is(200);
    assert_eq!(names(&server.open("c3").1), pairs(&[(1, "a"), (2, "zz")]));
    client.post("undo", "").is(200);
    assert_eq!(names(&server.open("c5").1), both);
    client.post("redo", "").is(200);
    assert_eq!(names(&server.open("c4").1), pairs(&[(1, "a"), (2, "zz")]));
    // What is added after a deletion has a value and a colour of its own.
    list(&client, &[(1, "a")], "").is(200);
    let case = list(&client, &[(1, "a"), (0, "new")], "").is(200).json();
    assert_eq!(names(&case)[1], (3, "new".to_owned()));
    assert_ne!(
        case["structures"][0]["colour"],
        case["structures"][1]["colour"]
    );
}

#[test]
fn the_archive_has_the_names_of_the_images() {
    let folder = pictures(&[
        "Müller 1_0000.png",
        "x_0000.png",
        "x_0001.png",
        "v.png",
        "v_0000.png",
    ]);
    let server = Server::start(folder.path(), &["."]);
    for name in ["Müller", "x_0000", "x_0001", "v.png", "v_0000"] {
        let (client, _) = server.open(name);
        paint(&client, 1);
        client.post("state", r#"{"state": "done"}"#).is(200);
    }
    let archive = server.get("/api/export").is(200);
    let text = String::from_utf8_lossy(&archive.body);
    for name in ["Müller 1", "x", "v", "v_2"] {
        assert!(text.contains(&format!("labelsTr/{name}.png")), "{name}");
    }
    assert!(text.contains("cases.json") && !text.contains("x_0001"));
    assert!(
        archive.head.contains("x_0001.png is channel 1"),
        "{}",
        archive.head
    );
}

#[test]
fn what_a_description_of_a_data_set_cannot_say_is_told() {
    let folder = pictures(&["a.png"]);
    let path = folder.path().join("dataset.json");
    fs::write(
        &path,
        r#"{"labels": {"background": 0, "liver": 1, "both": [1, 2]}}"#,
    )
    .unwrap();
    let server = Server::start(folder.path(), &["."]);
    let (_, case) = server.open("a.png");
    assert!(case["note"].as_str().unwrap().contains("left out") && names(&case).len() == 1);
    drop(server);
    fs::write(&path, "{labels").unwrap();
    let server = Server::start(folder.path(), &["."]);
    let (_, case) = server.open("a.png");
    assert!(
        case["note"]
            .as_str()
            .unwrap()
            .contains("dataset.json: it is not the JSON")
    );
}

#[test]
fn wrong_lists_of_labels_are_refused_before_the_server_starts() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("list.json"), r#"{"labels": ["a", "a"]}"#).unwrap();
    let serve = |file: &str| synthfm(folder.path(), &["serve", ".", "--port=0", "--labels", file]);
    serve("list.json").fails(1, &["list.json", "\"a\" is listed twice"]);
    serve("absent.toml").fails(1, &["absent.toml"]);
}

#[test]
fn files_that_come_later_are_listed_and_time_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    picture(&folder.path().join("a.png"));
    let server = Server::start(folder.path(), &["."]);
    let (client, _) = server.open("a.png");
    let spent = client.post("time", r#"{"seconds": 2.5}"#).is(200).json();
    assert_eq!(spent["seconds"], 2.5);
    client
        .post("time", r#"{"seconds": -1}"#)
        .fails(400, "bad_request", "0 to 3600");
    picture(&folder.path().join("b.png"));
    let cases = || server.get("/api/cases").is(200).json()["cases"].clone();
    until("the new file is a case", || {
        cases().as_array().unwrap().len() == 2
    });
    assert_eq!(cases()[0]["seconds"], 2.5);
}

#[test]
fn slices_are_filled_copied_and_cleared_from_here() {
    let folder = tempfile::tempdir().unwrap();
    volume(&folder.path().join("scan.nii.gz"));
    let server = Server::start(folder.path(), &["."]);
    let (client, case) = server.open("scan");
    let plane = &case["planes"][0];
    let [width, height] = ["width", "height"].map(|side| plane[side].as_u64().unwrap());
    let slices = plane["slices"].as_u64().unwrap();
    let marked = || -> Vec<u64> {
        let case = server.get(&format!("/api/cases/{}", client.case)).json();
        let axial = case["structures"][0]["slices"]["axial"].clone();
        serde_json::from_value(axial).unwrap()
    };
    for index in [0, 3] {
        let runs = format!("[0, {}, {}]", 4 * width, (height - 4) * width);
        let text = format!(
            r#"{{"structure": 1, "plane": "axial", "index": {index}, "mode": "add", "runs": {runs}}}"#
        );
        client.post("edit", &text).is(200);
    }
    let fill = r#"{"structure": 1, "plane": "axial"}"#;
    assert_eq!(client.post("interpolate", fill).is(200).json()["slices"], 2);
    assert_eq!(marked(), [0, 1, 2, 3]);
    let last = slices - 1;
    let copy = format!(r#"{{"structure": 1, "plane": "axial", "index": 3, "to": {last}}}"#);
    let copied = client.post("copy", &copy).is(200).json();
    assert_eq!(copied["runs"][1], 4 * width);
    assert_eq!(copied["voxels"], 5 * 4 * width);
    // A mask that was made by hand goes only where that is wished.
    let onto = r#"{"structure": 1, "plane": "axial", "index": 3, "to": 0}"#;
    client.post("copy", onto).fails(409, "marked", "by hand");
    let onto = onto.replace('}', r#", "replace": true}"#);
    client.post("copy", &onto).is(200);
    client.post("undo", "").is(200);
    let clear = r#"{"structure": 1, "plane": "axial", "index": 2, "direction": "up"}"#;
    client.post("clear", clear).is(200);
    assert_eq!(marked(), [0, 1]);
    let surface = client.get("surface?structure=1").is(200).body;
    let points = u32::from_le_bytes(surface[..4].try_into().unwrap());
    assert!(points > 8, "{points}");
    client
        .post("interpolate", r#"{"structure": 9, "plane": "axial"}"#)
        .fails(400, "bad_request", "no structure 9");
}

#[test]
fn a_page_that_is_gone_lets_its_case_go_within_seconds() {
    let folder = tempfile::tempdir().unwrap();
    picture(&folder.path().join("a.png"));
    let server = Server::start(folder.path(), &["."]);
    let (first, _) = server.open("a.png");
    let mut events = server.connect();
    let request = format!(
        "GET /api/events?session={} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        first.session
    );
    events.write_all(request.as_bytes()).unwrap();
    let mut part = [0; 512];
    assert!(events.read(&mut part).unwrap() > 0);
    let other = Client {
        case: first.case.clone(),
        ..server.client()
    };
    other
        .post("open", "{}")
        .fails(423, "taken", "another window");
    drop(events);
    let began = Instant::now();
    until("the case is free", || {
        other.post("open", "{}").status == 200
    });
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "well before the lease ends"
    );
}
