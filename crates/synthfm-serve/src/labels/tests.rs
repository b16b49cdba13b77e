use super::file::read;
use super::*;
use crate::palette;

fn structure(id: u16, name: &str) -> Structure {
    Structure {
        id,
        name: name.to_owned(),
        colour: palette::colour(id).to_owned(),
    }
}

fn read_noted(ending: &str, text: &str) -> Result<(Vec<Label>, Vec<String>), String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("labels.{ending}"));
    fs::write(&path, text).unwrap();
    read(&path).map_err(|error| format!("{error:#}"))
}

fn read_text(ending: &str, text: &str) -> Result<Vec<Label>, String> {
    read_noted(ending, text).map(|(labels, _)| labels)
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
fn a_list_alone_is_a_list() {
    let labels = read_text("json", r#"["liver", {"name": "spleen", "key": 4}]"#).unwrap();
    assert_eq!(short(&labels), [(1, "liver", None), (2, "spleen", Some(4))]);
}

#[test]
fn what_is_left_out_is_said() {
    let text = r#"{"labels": {"background": 0, "a": 1, "b": 1, "a": 3, "both": [1, 2], "odd": "x", "ignore": 9}}"#;
    let (labels, notes) = read_noted("json", text).unwrap();
    assert_eq!(short(&labels), [(1, "a", None)]);
    for part in [
        "\"b\" is left out: \"a\" has the value 1 too",
        "\"a\" is listed twice",
        "regions of several values are left out, for a structure has one value here: both",
        "no whole number from 1 to 65535: odd",
    ] {
        let said = notes.iter().any(|note| note.contains(part));
        assert!(said, "{part}: {notes:?}");
    }
    let nothing = manifest_labels(br#"{"labels": {"background": 0, "a": 1}}"#);
    assert_eq!((nothing.0.len(), nothing.1.len()), (1, 0));
    let (named, notes) = manifest_labels(b"{");
    assert!(
        named.is_empty() && notes[0].contains("not the JSON"),
        "{notes:?}"
    );
    let (named, notes) = manifest_labels(br#"{"labels": [1]}"#);
    assert!(named.is_empty() && notes[0].contains("no names with values"));
}

#[test]
fn messages_about_lists_are_short_and_say_where() {
    let long = "x".repeat(5000);
    let error = read_text("json", &format!(r#"{{"labels": ["{long}"]}}"#)).unwrap_err();
    assert!(error.len() < 400 && error.contains("entry 1"), "{error}");
    let error = read_text("json", &format!(r#"{{"labels": ["a", ["{long}"]]}}"#)).unwrap_err();
    assert!(error.len() < 600 && error.contains("entry 2"), "{error}");
    let error = read_text("json", "{\n\"labels\": [}").unwrap_err();
    assert!(error.contains("line 2"), "{error}");
    let error = read_text("json", r#"{"labels": ["Background"]}"#).unwrap_err();
    assert!(error.contains("background"), "{error}");
}

/// The lists of a work folder, with a data set that names nothing.
struct Work {
    folder: tempfile::TempDir,
    named: BTreeMap<u16, String>,
}

impl Work {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            named: BTreeMap::new(),
        }
    }

    fn source(&self) -> Source<'_> {
        Source {
            set: "",
            named: &self.named,
        }
    }

    fn open(&self) -> LabelLists {
        LabelLists::open(None, self.folder.path()).unwrap()
    }

    fn learn(&self, case: &str, before: &[Structure], after: &[Structure], is_empty: bool) {
        self.relist(case, before, after, (is_empty, false));
    }

    fn relist(
        &self,
        case: &str,
        before: &[Structure],
        after: &[Structure],
        (is_empty, everywhere): (bool, bool),
    ) {
        let change = Relisted {
            before,
            after,
            everywhere,
        };
        let learnt = self.open().learn(self.source(), case, change, |_| is_empty);
        learnt.unwrap();
    }

    fn list(&self) -> Vec<(u16, String)> {
        let list = self.open().of(self.source());
        list.into_iter().map(|l| (l.value, l.name)).collect()
    }
}

fn pairs(pairs: &[(u16, &str)]) -> Vec<(u16, String)> {
    let pair = |(value, name): &(u16, &str)| (*value, (*name).to_owned());
    pairs.iter().map(pair).collect()
}

#[test]
fn what_the_first_case_has_the_next_ones_begin_with() {
    let work = Work::new();
    assert!(work.list().is_empty());
    let first = [structure(1, "structure 1")];
    let renamed = [structure(1, "liver")];
    work.learn("c1", &first, &renamed, true);
    let both = [structure(1, "liver"), structure(2, "spleen")];
    work.learn("c1", &renamed, &both, true);
    let expected = pairs(&[(1, "liver"), (2, "spleen")]);
    assert_eq!(work.list(), expected);
    // Another data set has its own.
    let other = Source {
        set: "other",
        ..work.source()
    };
    assert!(work.open().of(other).is_empty());
    // What was marked on a case stays in the list when that case gives it up.
    work.learn("c1", &both, &renamed, false);
    assert_eq!(work.list(), expected);
    work.learn("c1", &both, &renamed, true);
    assert_eq!(work.list(), expected[..1]);
}

#[test]
fn a_name_keeps_its_value() {
    let work = Work::new();
    let [a, b] = [structure(1, "a"), structure(2, "b")];
    let both = [a.clone(), b.clone()];
    work.learn("c1", &[structure(1, "structure 1")], &both, true);
    // A structure that is deleted, and added again on another case after a third one.
    work.learn("c1", &both, std::slice::from_ref(&b), true);
    assert_eq!(
        work.open().used_values(work.source()),
        BTreeSet::from([1, 2])
    );
    let third = [b.clone(), structure(3, "c")];
    work.learn("c1", std::slice::from_ref(&b), &third, true);
    let back = [&third[..], &[structure(4, "a")]].concat();
    work.learn("c1", &third, &back, true);
    assert_eq!(work.list(), pairs(&[(2, "b"), (3, "c"), (1, "a")]));
    // On the case it has the identifier 4, in files its value.
    let values = work.open().values(work.source(), &back).unwrap();
    assert_eq!(values, BTreeMap::from([(2, 2), (3, 3), (4, 1)]));
    // Two that exchange their names exchange their values.
    let crossed = [structure(2, "c"), structure(3, "b"), structure(4, "a")];
    work.learn("c1", &back, &crossed, true);
    let values = work.open().values(work.source(), &crossed).unwrap();
    assert_eq!(values, BTreeMap::from([(2, 3), (3, 2), (4, 1)]));
}

#[test]
fn a_name_that_other_cases_have_stays_theirs() {
    let work = Work::new();
    let livr = [structure(1, "livr")];
    let liver = [structure(1, "liver")];
    work.learn("c1", &[structure(1, "structure 1")], &livr, true);
    work.open().note(work.source(), "c2", &livr).unwrap();
    assert_eq!(work.open().elsewhere(work.source(), "c2", "livr"), ["c1"]);
    // On this case alone: another class.
    work.learn("c2", &livr, &liver, true);
    assert_eq!(work.list(), pairs(&[(1, "livr"), (2, "liver")]));
    let values = work.open().values(work.source(), &liver).unwrap();
    assert_eq!(values, BTreeMap::from([(1, 2)]));
    // On all of them: the same class with another name.
    let work = Work::new();
    work.learn("c1", &[structure(1, "structure 1")], &livr, true);
    work.relist("c2", &livr, &liver, (true, true));
    assert_eq!(work.list(), pairs(&[(1, "liver")]));
}

#[test]
fn what_is_taken_back_is_taken_off_the_list() {
    let work = Work::new();
    let [a, b, zz] = [structure(1, "a"), structure(2, "b"), structure(2, "zz")];
    let (both, renamed) = ([a.clone(), b.clone()], [a.clone(), zz]);
    work.learn("c1", &[], &both, true);
    for (before, after) in [(&both, &renamed), (&renamed, &both)] {
        work.learn("c1", before, after, true);
    }
    assert_eq!(work.list(), pairs(&[(1, "a"), (2, "b")]));
    work.learn("c1", &both, std::slice::from_ref(&b), true);
    work.learn("c1", &[b], &both, true);
    assert_eq!(work.list(), pairs(&[(1, "a"), (2, "b")]), "in its place");
    let values = work.open().values(work.source(), &both).unwrap();
    assert_eq!(values, BTreeMap::from([(1, 1), (2, 2)]));
}

#[test]
fn lists_of_older_versions_are_read() {
    let work = Work::new();
    let old = r##"{"": [{"value": 3, "name": "liver", "colour": "#00ff00"}]}"##;
    fs::write(work.folder.path().join(KEPT), old).unwrap();
    assert_eq!(work.list(), pairs(&[(3, "liver")]));
    // Two structures of one name have two values in the files of their case.
    let twins = [structure(1, "liver"), structure(2, "liver")];
    let values = work.open().values(work.source(), &twins).unwrap();
    assert_eq!(values, BTreeMap::from([(1, 3), (2, 2)]));
}

#[test]
fn the_file_stands_before_the_data_set_and_what_was_added() {
    let work = tempfile::tempdir().unwrap();
    let file = work.path().join("list.json");
    fs::write(&file, r#"{"labels": ["liver", "spleen"]}"#).unwrap();
    let lists = LabelLists::open(Some(&file), work.path()).unwrap();
    let named = BTreeMap::from([(1, "heart".to_owned())]);
    let source = Source {
        set: "",
        named: &named,
    };
    assert_eq!(lists.of(source).len(), 2);
    let before = [structure(1, "liver"), structure(2, "spleen")];
    let after = [&before[..], &[structure(3, "cyst")]].concat();
    let learn = |before: &[Structure], after: &[Structure]| {
        let change = Relisted {
            before,
            after,
            everywhere: false,
        };
        lists.learn(source, "c1", change, |_| true).unwrap();
    };
    learn(&before, &after);
    assert_eq!(short(&lists.of(source))[2], (3, "cyst", None));
    // What the file says stays; another name for it is another label.
    let renamed = [
        structure(1, "Leber"),
        structure(2, "spleen"),
        structure(3, "cyst"),
    ];
    learn(&after, &renamed);
    let list = lists.of(source);
    let expected = [
        (1, "liver", None),
        (2, "spleen", None),
        (3, "cyst", None),
        (4, "Leber", None),
    ];
    assert_eq!(short(&list), expected);
    let fresh = Source {
        set: "fresh",
        ..source
    };
    lists.begin(fresh, &before).unwrap();
    assert_eq!(lists.of(fresh).len(), 2, "the file is the list");
    let without = LabelLists::open(None, work.path()).unwrap();
    let list = without.of(source);
    assert_eq!(list[0].name, "heart");
    // Its value is that of the data set, so that the first that was added has another one.
    let values: BTreeSet<u16> = list.iter().map(|label| label.value).collect();
    assert_eq!(values.len(), list.len());
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
