//! Answers of raters: a line of CSV each, on the disk before the next image is shown.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::plan::{Item, Kind, Plan};
use super::statistics::{Group, Summary, summary};
use crate::catalog::plain;
use sha2::{Digest, Sha256};
use synthfm_image::{hex, write_json};

const PREFIX: &str = "answers-";
const HEADER: &str = "rater,number,id,image,truth,modality,answer,correct,seconds";
/// Raters of one review.
const MAX_RATERS: usize = 200;

/// A rater's judgement of one image.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub(super) id: String,
    pub(super) said: Kind,
}

/// All answers so far.
#[derive(Debug)]
pub(super) struct Answers {
    folder: PathBuf,
    by_rater: BTreeMap<String, Vec<Answer>>,
}

impl Answers {
    /// Reads the answers of an earlier sitting.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let mut by_rater = BTreeMap::new();
        let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let rater = name
                .strip_prefix(PREFIX)
                .and_then(|rest| rest.strip_suffix(".csv"));
            if let Some(rater) = rater {
                let read =
                    read_answers(&path).with_context(|| format!("reading {}", path.display()));
                by_rater.insert(rater.to_owned(), read?);
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            by_rater,
        })
    }

    pub(super) fn of(&self, rater: &str) -> &[Answer] {
        self.by_rater.get(rater).map_or(&[], Vec::as_slice)
    }

    /// Refuses a rater whose name differs from another's in capitals alone: some disks would take their files for one.
    pub(super) fn check_name(&self, rater: &str) -> Result<(), String> {
        let lower = rater.to_lowercase();
        let mut others = self.by_rater.keys().filter(|other| *other != rater);
        match others.find(|other| other.to_lowercase() == lower) {
            Some(other) => Err(format!(
                "there is a rater {other} already: write the name in the same way, or add something to it"
            )),
            None => Ok(()),
        }
    }

    /// Notes an answer; when this returns it is on the disk.
    pub(super) fn add(&mut self, rater: &str, item: &Item, said: Kind, seconds: f64) -> Result<()> {
        if !self.by_rater.contains_key(rater) && self.by_rater.len() >= MAX_RATERS {
            bail!("there are {MAX_RATERS} raters already");
        }
        let given = self.by_rater.entry(rater.to_owned()).or_default();
        let path = self.folder.join(format!("{PREFIX}{rater}.csv"));
        let number = given.len() + 1;
        let head = if number == 1 {
            format!("{HEADER}\n")
        } else {
            String::new()
        };
        let correct = u8::from(said == item.kind);
        let text = format!(
            "{head}{rater},{number},{},{},{},{},{},{correct},{seconds:.2}\n",
            item.id,
            quoted(&item.name),
            item.kind.name(),
            quoted(&item.modality),
            said.name()
        );
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_data())
            .with_context(|| format!("saving the answer in {}", path.display()))?;
        given.push(Answer {
            id: item.id.clone(),
            said,
        });
        Ok(())
    }

    /// The figures of one rater.
    pub(super) fn summary_of(&self, rater: &str, plan: &Plan) -> Summary {
        let answers: Vec<&Answer> = self.of(rater).iter().collect();
        summary(Some(rater), &plan.items, &answers, plan.items.len())
    }

    /// Writes the figures of each rater and of all together.
    pub(super) fn write_summary(&self, plan: &Plan) -> Result<()> {
        let all: Vec<&Answer> = self.by_rater.values().flatten().collect();
        let of = plan.items.len() * self.by_rater.len();
        let mut summaries = vec![summary(None, &plan.items, &all, of)];
        summaries.extend(
            self.by_rater
                .keys()
                .map(|rater| self.summary_of(rater, plan)),
        );
        write_json(&self.folder.join("summary.json"), &summaries)?;
        let csv = summary_csv(&summaries);
        let path = self.folder.join("summary.csv");
        synthfm_image::write_atomically(&path, |out| out.write_all(csv.as_bytes()))?;
        Ok(())
    }
}

/// A row per rater and modality.
fn summary_csv(summaries: &[Summary]) -> String {
    let head = "rater,modality,answers,correct,accuracy,wilson95_low,wilson95_high,real_called_real,\
                real,synthetic_called_synthetic,synthetic\n";
    let rows = summaries.iter().flat_map(|summary| {
        let rater = summary.rater.as_deref().unwrap_or("(all)");
        summary.groups.iter().map(move |group| row(rater, group))
    });
    std::iter::once(head.to_owned()).chain(rows).collect()
}

fn row(rater: &str, group: &Group) -> String {
    let number = |value: Option<f64>| value.map_or(String::new(), |v| format!("{v:.4}"));
    let [low, high] = group.all.wilson95.map_or([None; 2], |ci| ci.map(Some));
    format!(
        "{rater},{},{},{},{},{},{},{},{},{},{}\n",
        quoted(&group.modality),
        group.all.count,
        group.all.correct,
        number(group.all.accuracy),
        number(low),
        number(high),
        group.real.correct,
        group.real.count,
        group.synthetic.correct,
        group.synthetic.count,
    )
}

/// A field of CSV.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// The identifiers and answers of a file that [`Answers::add`] wrote; half a line at its end goes.
fn read_answers(path: &Path) -> Result<Vec<Answer>> {
    let text = fs::read_to_string(path)?;
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    if whole.len() < text.len() {
        OpenOptions::new()
            .write(true)
            .open(path)?
            .set_len(whole.len() as u64)?;
    }
    let mut answers = Vec::new();
    for (n, line) in whole.lines().enumerate().skip(1) {
        let fields = fields(line);
        let said = match fields.get(6).map(String::as_str) {
            Some("real") => Kind::Real,
            Some("synthetic") => Kind::Synthetic,
            _ => bail!("line {} is damaged", n + 1),
        };
        let id = fields[2].clone();
        answers.push(Answer { id, said });
    }
    Ok(answers)
}

fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut field, mut inside) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if inside && chars.peek() == Some(&'"') => {
                field.push('"');
                chars.next();
            }
            '"' => inside = !inside,
            ',' if !inside => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    fields.push(field);
    fields
}

/// The name of a rater in files: plain characters, or an error that says what is wrong. Names of which some characters
/// cannot be kept are told apart by a hash.
pub(super) fn rater_name(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() || name.chars().count() > 40 {
        return Err("a name or initials of 1 to 40 characters expected".to_owned());
    }
    let kept = plain(name);
    if kept.chars().all(|c| c == '_') {
        return Err("a name with letters or digits expected".to_owned());
    }
    if kept == name {
        return Ok(kept);
    }
    let hash = hex(&Sha256::digest(name)[..4]);
    Ok(format!("{kept}-{hash}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: &str, kind: Kind, modality: &str) -> Item {
        Item {
            id: id.to_owned(),
            kind,
            name: format!("a,\"{id}\".png"),
            modality: modality.to_owned(),
        }
    }

    #[test]
    fn answers_are_read_again_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let items = vec![
            item("1", Kind::Real, "CT"),
            item("2", Kind::Synthetic, "CT"),
            item("3", Kind::Synthetic, "US"),
        ];
        let plan = Plan {
            seed: 0,
            side: 8,
            items,
        };
        let mut answers = Answers::open(folder.path()).unwrap();
        for (n, said) in [(0, Kind::Real), (1, Kind::Real), (2, Kind::Synthetic)] {
            answers.add("ab", &plan.items[n], said, 1.234).unwrap();
        }
        answers
            .add("cd", &plan.items[0], Kind::Synthetic, 2.0)
            .unwrap();
        let path = folder.path().join("answers-ab.csv");
        let whole = fs::read_to_string(&path).unwrap();
        assert!(
            whole.contains("ab,1,1,\"a,\"\"1\"\".png\",real,CT,real,1,1.23"),
            "{whole}"
        );
        fs::write(&path, format!("{whole}ab,4,")).unwrap();
        let again = Answers::open(folder.path()).unwrap();
        assert_eq!(again.by_rater, answers.by_rater);
        assert_eq!(fs::read_to_string(&path).unwrap(), whole);
        let Summary {
            groups, answered, ..
        } = again.summary_of("ab", &plan);
        let gist = |group: &Group| {
            (
                group.modality.clone(),
                group.all.correct,
                group.all.count,
                group.synthetic.correct,
            )
        };
        let expected = [("all", 2, 3, 1), ("CT", 1, 2, 0), ("US", 1, 1, 1)];
        let got: Vec<_> = groups.iter().map(gist).collect();
        assert_eq!(got, expected.map(|(m, a, b, c)| (m.to_owned(), a, b, c)));
        assert_eq!(answered, 3);
        again.write_summary(&plan).unwrap();
        let csv = fs::read_to_string(folder.path().join("summary.csv")).unwrap();
        assert!(csv.contains("(all),all,4,2,0.5000"), "{csv}");
        fs::write(&path, "x\nab,1\n").unwrap();
        let error = format!("{:#}", Answers::open(folder.path()).unwrap_err());
        assert!(error.contains("line 2"), "{error}");
    }

    #[test]
    fn raters_have_plain_names() {
        assert_eq!(rater_name(" Anna-2 "), Ok("Anna-2".to_owned()));
        let folded = rater_name(" Dr. A/B ").unwrap();
        assert!(folded.starts_with("Dr._A_B-"), "{folded}");
        assert_eq!(rater_name("Dr. A/B"), Ok(folded.clone()));
        assert_ne!(rater_name("Dr. A B"), Ok(folded));
        for bad in ["", "   ", "///", &"x".repeat(41)] {
            assert!(rater_name(bad).is_err(), "{bad:?}");
        }
    }
}
