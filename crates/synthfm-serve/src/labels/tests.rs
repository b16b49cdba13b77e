use super::*;

fn structure(id: u16, name: &str) -> Structure {
    Structure {
        id,
        name: name.to_owned(),
        colour: palette::colour(id).to_owned(),
    }
}

fn read_text(ending: &str, text: &str) -> Result<Vec<Label>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("labels.{ending}"));
    fs::write(&path, text).unwrap();
    read(&path).map_err(|error| format!("{error:#}"))
}

fn short(labels: &[Label]) -> Vec<(u16, &str, Option<u8>)> {
    let short = |l| {
        let Label {
            value, name, key, ..
        }: &Label = l;
        (*value, name.as_str(), *key)
    };
    labels.iter().map(short).collect()
}

#[test]
fn lists_are_read_in_all_their_forms() {
    let toml =
        "labels = [\"liver\", { name = \"spleen\", value = 5, color = \"#00ff00\", key = 1 }]";
    let json =
        r##"{"labels": ["liver", {"name": "spleen", "value": 5, "colour": "#00ff00", "key": 1}]}"##;
    for (ending, text) in [("toml", toml), ("json", json)] {
        let labels = read_text(ending, text).unwrap();
        assert_eq!(short(&labels), [(1, "liver", None), (5, "spleen", Some(1))]);
        assert_eq!(labels[1].colour, "#00ff00");
    }
    for text in [
        r#"{"labels": {"background": 0, "b": 2, "a": 7, "both": [2, 7], "ignore": 9}}"#,
        r#"{"labels": {"0": "background", "2": "b", "7": "a"}}"#,
    ] {
        let labels = read_text("json", text).unwrap();
        assert_eq!(short(&labels), [(2, "b", None), (7, "a", None)]);
    }
}

#[test]
fn wrong_lists_say_what_is_wrong() {
    for (text, reason) in [
        ("{}", "no field `labels`"),
        (r#"{"labels": []}"#, "empty"),
        (r#"{"labels": 3}"#, "must be a list"),
        (r#"{"labels": ["a", "a"]}"#, "\"a\" is listed twice"),
        (r#"{"labels": [{"name": "a", "value": 0}]}"#, "background"),
        (
            r#"{"labels": [{"name": "a"}, {"name": "b", "value": 1}]}"#,
            "same value 1",
        ),
        (r#"{"labels": [{"name": "a", "key": 10}]}"#, "1 to 9"),
        (r#"{"labels": [{"name": "a", "colour": "red"}]}"#, "#ffc800"),
        (r#"{"labels": [{"nome": "a"}]}"#, "entry 1 of labels"),
        ("{", "reading the labels of"),
    ] {
        let error = read_text("json", text).unwrap_err();
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn what_the_first_case_has_the_next_ones_begin_with() {
    let work = tempfile::tempdir().unwrap();
    let open = || LabelLists::open(None, work.path()).unwrap();
    let lists = open();
    let none = BTreeMap::new();
    assert!(lists.of("", &none).is_empty());
    let first = [structure(1, "structure 1")];
    let renamed = [structure(1, "liver")];
    lists.learn("", &first, &renamed, |_| true).unwrap();
    let both = [structure(1, "liver"), structure(2, "spleen")];
    lists.learn("", &renamed, &both, |_| true).unwrap();
    let expected = [(1, "liver", None), (2, "spleen", None)];
    assert_eq!(short(&open().of("", &none)), expected);
    // Another data set has its own.
    assert!(open().of("other", &none).is_empty());
    // What was marked on a case stays in the list when that case gives it up.
    lists.learn("", &both, &renamed, |_| false).unwrap();
    assert_eq!(short(&lists.of("", &none)), expected);
    lists.learn("", &both, &renamed, |_| true).unwrap();
    assert_eq!(short(&open().of("", &none)), expected[..1]);
}

#[test]
fn the_file_stands_before_the_data_set_and_what_was_added() {
    let work = tempfile::tempdir().unwrap();
    let file = work.path().join("list.json");
    fs::write(&file, r#"{"labels": ["liver", "spleen"]}"#).unwrap();
    let lists = LabelLists::open(Some(&file), work.path()).unwrap();
    let named = BTreeMap::from([(1, "heart".to_owned())]);
    assert_eq!(lists.of("", &named).len(), 2);
    let before = [structure(1, "liver"), structure(2, "spleen")];
    let after = [&before[..], &[structure(3, "cyst")]].concat();
    lists.learn("", &before, &after, |_| true).unwrap();
    assert_eq!(short(&lists.of("", &named))[2], (3, "cyst", None));
    lists.begin("fresh", &before).unwrap();
    assert_eq!(lists.of("fresh", &named).len(), 2, "the file is the list");
    let without = LabelLists::open(None, work.path()).unwrap();
    let list = without.of("", &named);
    assert_eq!(list[0].name, "heart");
}

#[test]
fn digits_are_those_of_the_file_and_then_the_free_ones() {
    let list = [Label {
        key: Some(1),
        ..Label::of(&structure(2, "b"))
    }];
    let structures: Vec<Structure> = ["a", "b", "c"]
        .iter()
        .zip(1..)
        .map(|(name, id)| structure(id, name))
        .collect();
    assert_eq!(keys(&structures, &list), [Some(2), Some(1), Some(3)]);
    let many: Vec<Structure> = (1..=10).map(|id| structure(id, &id.to_string())).collect();
    assert_eq!(keys(&many, &[])[8..], [Some(9), None]);
}
