// The open case: its structures, masks and prompts as the server has them, and the requests that change them.

import { ApiError, call } from "./api.js";
import { SliceMask, encode } from "./masks.js";
import { Slices } from "./slices.js";
import { t } from "./texts.js";

const DETAILS_AFTER_MS = 500;

/**
 * Events: "change" (something to paint), "details" (structures, history, scores), "status" (saving, saved, failed),
 * "problem" ({ message, at: { plane, index, point } }), "acted" (something is being changed).
 */
export class Study extends EventTarget {
  constructor(details) {
    super();
    this.details = details;
    this.slices = new Slices(details);
    this.window = [...details.window];
    this.current = details.structures[0]?.id ?? null;
    this.hidden = new Set();
    this.places = new Map();
    this.references = new Map();
    this.showReference = false;
    this.scores = new Map();
    this.sliceDice = null;
    this.busy = 0;
    this.failed = null;
    /** Whether another window has the case now. */
    this.taken = false;
    /** The slice of each plane that was looked at last. */
    this.seen = new Map();
    this.queue = Promise.resolve();
    this.previewWanted = null;
    this.previewMask = null;
    this.previewing = false;
    this.detailsTimer = 0;
    this.asked = 0;
  }

  get id() {
    return this.details.id;
  }

  get structures() {
    return this.details.structures;
  }

  structure(id = this.current) {
    return this.structures.find((s) => s.id === id);
  }

  plane(name) {
    return this.details.planes.find((p) => p.name === name);
  }

  tell(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }

  // What is on a slice --------------------------------------------------------------------------------------------

  /** Masks and prompts by structure, as far as they are known; asks the server where they are not. */
  place(plane, index) {
    const key = `${plane}/${index}`;
    let place = this.places.get(key);
    if (!place) {
      place = { plane, index, entries: new Map(), loaded: false };
      this.places.set(key, place);
      place.ready = this.load(place);
    }
    return place;
  }

  async load(place) {
    const { plane, index } = place;
    try {
      const answer = await call("GET", `/api/cases/${this.id}/masks?plane=${plane}&index=${index}`);
      // What has come meanwhile is newer.
      for (const { structure, runs, prompts } of answer.masks) {
        if (!place.entries.has(structure)) this.enter(place, structure, runs, prompts);
      }
      place.loaded = true;
      this.tell("change");
    } catch (error) {
      this.places.delete(`${plane}/${index}`);
      this.tell("problem", { message: error.message, at: { plane, index } });
    }
  }

  enter(place, structure, runs, prompts) {
    const { width, height } = this.plane(place.plane);
    place.entries.set(structure, { mask: new SliceMask(runs, width, height), prompts: prompts ?? emptyPrompts() });
  }

  /** The entry of the current structure on a slice, to look at. */
  entry(plane, index, structure = this.current) {
    return this.place(plane, index).entries.get(structure);
  }

  /** Forgets what is no longer known: other planes after a change on one, everything after undo. */
  forget(except) {
    for (const [key, place] of this.places) if (place.plane !== except) this.places.delete(key);
    this.tell("change");
  }

  /** The outline of the reference for the current structure, once it is there. */
  reference(plane, index) {
    const label = this.scores.get(this.current)?.label;
    if (!this.showReference || label === undefined) return null;
    const key = `${plane}/${index}/${label}`;
    if (!this.references.has(key)) {
      this.references.set(key, null);
      const { width, height } = this.plane(plane);
      call("GET", `/api/cases/${this.id}/reference?plane=${plane}&index=${index}&label=${label}`)
        .then(({ runs }) => {
          this.references.set(key, new SliceMask(runs, width, height));
          this.tell("change");
        })
        .catch((error) => this.tell("problem", { message: error.message, at: { plane, index } }));
    }
    return this.references.get(key);
  }

  // Changes -------------------------------------------------------------------------------------------------------

  /** Something that ends in a change; the page does not say "saved" meanwhile. */
  async working(work) {
    this.busy += 1;
    this.tell("acted");
    this.tell("status");
    try {
      return await work();
    } finally {
      this.busy -= 1;
      this.tell("status");
    }
  }

  /** Runs a request that changes the annotation; null where it failed. */
  saving(work, at) {
    return this.working(() => this.attempt(work, at));
  }

  async attempt(work, at) {
    try {
      const answer = await work();
      this.failed = null;
      this.taken = false;
      return answer;
    } catch (error) {
      if (error.code === "superseded" || error.code === "nothing") return null;
      this.failed = error.message;
      this.tell("problem", { message: error.message, at, code: error.code });
      return null;
    }
  }

  /** Like saving, but after the changes before it. */
  inOrder(work, at) {
    const before = this.queue;
    const next = this.saving(() => before.then(work), at);
    this.queue = next.catch(() => {});
    return next;
  }

  /** Asks the model with the prompts of a slice; `begun` is when the person acted. */
  predict(plane, index, prompts, what, begun) {
    const structure = this.current;
    if (structure === null) {
      this.tell("problem", { message: t("structure.none"), at: { plane, index } });
      return this.queue;
    }
    const place = this.place(plane, index);
    this.previewWanted = null;
    this.previewMask = null;
    const before = place.entries.get(structure);
    const shown = { mask: before?.mask ?? this.emptyMask(plane), prompts };
    place.entries.set(structure, shown);
    this.tell("change");
    this.asked += 1;
    const asked = this.asked;
    const last = prompts.points.at(-1) ?? prompts.box?.slice(0, 2);
    const request = this.saving(
      async () => {
        try {
          return await call("POST", `/api/cases/${this.id}/predict`, {
            structure,
            plane,
            index,
            points: prompts.points,
            labels: prompts.labels,
            box: prompts.box ?? null,
            window: this.window,
            what,
          });
        } catch (error) {
          // The marks of a prompt that failed go, unless another one has come since.
          if (asked === this.asked && error.code !== "superseded") {
            if (before) place.entries.set(structure, before);
            else place.entries.delete(structure);
            this.tell("change");
          }
          throw error;
        }
      },
      { plane, index, point: last },
    ).then((answer) => {
      if (answer) this.take(answer, begun);
    });
    this.queue = Promise.all([this.queue, request]).then(() => {});
    return request;
  }

  /** Shows what a click at a pixel would give, as long as the pointer rests there; one question at a time. */
  async preview(plane, index, point) {
    this.previewWanted = point ? { plane, index, point } : null;
    if (!point && this.previewMask) {
      this.previewMask = null;
      this.tell("change");
    }
    if (this.previewing) return;
    this.previewing = true;
    while (this.previewWanted && !this.busy) {
      const { plane: on, index: at, point: clicked } = this.previewWanted;
      this.previewWanted = null;
      const { points, labels, box } = this.entry(on, at)?.prompts ?? emptyPrompts();
      const body = {
        structure: this.current,
        plane: on,
        index: at,
        points: [...points, clicked],
        labels: [...labels, 1],
        box,
        window: this.window,
        commit: false,
      };
      try {
        const { runs } = await call("POST", `/api/cases/${this.id}/predict`, body);
        const { width, height } = this.plane(on);
        this.previewMask = { plane: on, index: at, mask: new SliceMask(runs, width, height) };
        this.tell("change");
      } catch {
        // A preview that fails is none; the click will say why.
        this.previewMask = null;
      }
    }
    this.previewing = false;
  }

  emptyMask(plane) {
    const { width, height } = this.plane(plane);
    return new SliceMask([width * height], width, height);
  }

  /** An answer about one place. */
  take(answer, begun) {
    this.enter(this.place(answer.plane, answer.index), answer.structure, answer.runs, answer.prompts);
    this.sliceDice = answer.slice_dice ?? null;
    this.note(answer);
    this.history(answer);
    if (this.details.planes.length > 1) this.forget(answer.plane);
    this.tell("change", { begun });
    this.refreshSoon();
  }

  /** Notes whether a slice has a mask now and was worked on by hand; the server's figures follow. */
  note({ structure, plane, index, runs, prompts, voxels }) {
    const known = this.structure(structure);
    if (!known) return;
    const given = prompts && (prompts.points.length || prompts.box || prompts.added || prompts.removed);
    const byHand = given && !prompts.filled && (prompts.from ?? null) === null;
    for (const [field, on] of [
      ["slices", runs.length > 1],
      ["by_hand", byHand],
    ]) {
      const planes = (known[field] ??= {});
      const others = (planes[plane] ?? []).filter((n) => n !== index);
      planes[plane] = on ? [...others, index] : others;
    }
    known.voxels = voxels;
  }

  /** Another window has the case: nothing that is done here is saved any more. */
  takenOver() {
    this.taken = true;
    this.tell("status");
  }

  history({ undo, redo, revision, state }) {
    Object.assign(this.details, { undo, redo, revision, state });
    this.tell("details");
    this.tell("status");
  }

  /** Sends the pixels of a stroke. */
  edit(plane, index, mode, covered) {
    const structure = this.current;
    const body = { structure, plane, index, mode, runs: encode(covered) };
    return this.inOrder(() => call("POST", `/api/cases/${this.id}/edit`, body), { plane, index }).then((answer) => {
      if (answer) this.take(answer);
      else this.forget();
    });
  }

  /** Takes mask and prompts of the current structure away: on a slice, from it on in a direction, or everywhere. */
  async clear(plane, index, direction) {
    const body = { structure: this.current, plane, index, direction };
    const answer = await this.inOrder(() => call("POST", `/api/cases/${this.id}/clear`, body), { plane, index });
    this.afterStep(answer);
  }

  async step(kind) {
    const answer = await this.inOrder(() => call("POST", `/api/cases/${this.id}/${kind}`));
    this.afterStep(answer);
    return answer?.what;
  }

  afterStep(answer) {
    if (!answer) return;
    if (answer.structures) this.takeStructures(answer.structures);
    const known = answer.voxels === undefined ? null : this.structure(answer.structure);
    if (known) known.voxels = answer.voxels;
    this.sliceDice = null;
    this.history(answer);
    this.forget();
    this.refreshSoon();
  }

  takeStructures(list) {
    const known = new Map(this.structures.map((s) => [s.id, s]));
    this.details.structures = list.map((s) => ({ voxels: 0, slices: {}, ...known.get(s.id), ...s }));
    if (!this.structure()) this.current = this.structures.at(-1)?.id ?? null;
  }

  /** Replaces the list; "rename" where a name changes that other cases have and `rename` does not say what they get. */
  async setStructures(list, rename) {
    const structures = list.map(({ id, name, colour }) => ({ id, name, colour }));
    const work = async () => {
      try {
        return await call("PUT", `/api/cases/${this.id}/structures`, { structures, rename });
      } catch (error) {
        if (error.code === "rename") return "rename";
        throw error;
      }
    };
    const answer = await this.inOrder(work);
    if (!answer || answer === "rename") return answer;
    this.takeStructures(answer.structures);
    this.details.labels = answer.labels;
    this.history(answer);
    this.tell("change");
    return answer;
  }

  async addStructure(name) {
    const text = name || this.freeName();
    if (await this.setStructures([...this.structures, { name: text }])) this.select(this.structures.at(-1).id);
  }

  /** A name that no structure and no label has. */
  freeName() {
    const names = [...this.structures, ...this.details.labels].map(({ name }) => name);
    let n = this.structures.length + 1;
    while (names.includes(t("structure.new", { n }))) n += 1;
    return t("structure.new", { n });
  }

  /** Labels of the data set that are not on this case. */
  get absent() {
    const names = new Set(this.structures.map(({ name }) => name));
    return this.details.labels.filter(({ name }) => !names.has(name));
  }

  select(id) {
    this.current = id;
    this.sliceDice = null;
    this.tell("details");
    this.tell("change");
  }

  async setState(state) {
    const answer = await this.inOrder(() => call("POST", `/api/cases/${this.id}/state`, { state }));
    if (answer) {
      this.details.state = answer.state;
      this.tell("details");
    }
    return answer;
  }

  // What is not worth waiting for ------------------------------------------------------------------------------------

  refreshSoon() {
    clearTimeout(this.detailsTimer);
    this.detailsTimer = setTimeout(() => this.refresh(), DETAILS_AFTER_MS);
  }

  /** Sizes of the structures, slices that they touch, scores. */
  async refresh() {
    try {
      const details = await call("GET", `/api/cases/${this.id}`);
      if (details.revision < this.details.revision) return;
      this.details.revision = details.revision;
      this.details.structures = details.structures;
      if (!this.structure()) this.current = this.structures.at(-1)?.id ?? null;
      this.details.labels = details.labels;
      this.details.reference = details.reference;
      if (details.reference) {
        const { scores } = await call("GET", `/api/cases/${this.id}/scores`);
        this.scores = new Map(scores.map((score) => [score.structure, score]));
      }
      this.tell("details");
      this.tell("change");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  }
}

export function emptyPrompts() {
  return { points: [], labels: [], box: null };
}
