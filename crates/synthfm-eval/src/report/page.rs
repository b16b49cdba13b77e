//! Parts common to HTML reports: the frame of the page, escaping, lists of notes.

use std::fmt::Write as _;

use crate::dataset::CaseNote;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:75em;padding:0 1em;color:#222}\
table{border-collapse:collapse;margin:1em 0}th,td{padding:.2em .7em;text-align:right;border-bottom:1px solid #ddd}\
th:first-child,td:first-child{text-align:left}tr.modality td{font-weight:600;background:#f3f6fa}\
tr.dataset td{background:#fafafa}figure{display:inline-block;width:256px;margin:.4em;vertical-align:top}\
figcaption{font-size:12px}img{max-width:256px;image-rendering:auto}";

/// From the start of the file to the heading of the page; `style` is added to that of all reports.
pub fn open(title: &str, heading: &str, style: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}{style}</style></head><body>\n<h1>{heading}</h1>\n"
    )
}

/// The end of the file.
pub const fn close() -> &'static str {
    "<p>Research software, not a medical device.</p>\n</body></html>\n"
}

/// A list of cases under a title; nothing if there is none.
pub(crate) fn note_list(title: &str, notes: &[CaseNote]) -> String {
    if notes.is_empty() {
        return String::new();
    }
    let mut html = format!("<h2>{title}</h2>\n<ul>\n");
    for CaseNote {
        dataset,
        case,
        text,
    } in notes
    {
        let note = format!("{dataset} {case}: {text}");
        let _ = writeln!(html, "<li>{}</li>", escaped(&note));
    }
    html.push_str("</ul>\n");
    html
}

/// Names come from files: no markup may pass.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
