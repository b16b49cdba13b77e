// What the page says, in the reader's language. Each language is a file of texts/ with the same names; what one lacks is
// said in English.

const LANGUAGES = ["en", "de"];
const LANGUAGE_KEY = "synthfm-language";

let texts = {};

/** The languages that there are, by their own names. */
export const languages = {};
export let language = "en";

/** Reads the texts: the language that was chosen, or the first of the browser's that is there. */
export async function loadTexts() {
  const files = await Promise.all(LANGUAGES.map(async (name) => (await fetch(`/texts/${name}.json`)).json()));
  const known = Object.fromEntries(LANGUAGES.map((name, n) => [name, files[n]]));
  for (const name of LANGUAGES) languages[name] = known[name].language;
  const wished = [localStorage.getItem(LANGUAGE_KEY), ...navigator.languages.map((tag) => tag.slice(0, 2))];
  language = wished.find((name) => name in known) ?? "en";
  texts = { ...known.en, ...known[language] };
  document.documentElement.lang = language;
  fillTexts(document);
}

/** Chooses a language for this browser. */
export function chooseLanguage(name) {
  localStorage.setItem(LANGUAGE_KEY, name);
  location.reload();
}

/** The text of a name, with `{word}` replaced by its value. */
export function t(name, values = {}) {
  return (texts[name] ?? name).replace(/\{(\w+)\}/g, (_, word) => String(values[word] ?? ""));
}

/** Like `t`, or `otherwise` where there is no such text. */
export function known(name, otherwise, values) {
  return name in texts ? t(name, values) : otherwise;
}

/** Keys as the reader's keyboard calls them, such as `Ctrl+Z`. */
export function keyNames(keys) {
  return keys.replace(/[A-Za-z]{3,}/g, (word) => known(`keyname.${word}`, word));
}

/** A number as the reader writes it. */
export function number(value, digits) {
  return value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits ?? 6 });
}

/** A time of so many seconds. */
export function duration(seconds) {
  if (seconds < 100) return t("time.seconds", { seconds: Math.round(seconds) });
  const minutes = Math.round(seconds / 60);
  if (minutes < 100) return t("time.minutes", { minutes });
  return t("time.hours", { hours: Math.floor(minutes / 60), minutes: minutes % 60 });
}

/** Puts texts where the HTML names them: data-text (content), data-title, data-label (for screen readers), data-hint. */
function fillTexts(root) {
  for (const element of root.querySelectorAll("[data-text]")) element.textContent = t(element.dataset.text);
  for (const element of root.querySelectorAll("[data-title]")) element.title = t(element.dataset.title);
  for (const element of root.querySelectorAll("[data-label]"))
    element.setAttribute("aria-label", t(element.dataset.label));
  for (const element of root.querySelectorAll("[data-hint]")) element.placeholder = t(element.dataset.hint);
}
