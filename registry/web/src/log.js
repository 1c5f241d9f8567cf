// The output of a component or a process: a run of lines without a hole, up to the newest, or up to
// where its reader stopped to follow. Earlier lines are fetched as they are scrolled to. Where more
// came than could be shown, what is before the hole is let go, and fetched likewise: nothing is lost.

import { LineReader, lineOf } from "./lines.js";

export const PAGE = 500; // lines that are fetched at once, at first
export const LARGEST = 2000; // and after twice as many each time, for who scrolls on and on
export const MOST = 20000; // lines that are held
const MARGIN = 0.001; // seconds: times are rounded on their way

export class Log {
  // ask(action) promises a page of lines; follow(selection or null) says whose output is to come.
  constructor({ ask, follow, changed }) {
    this.ask = ask;
    this.follow = follow;
    this.changed = changed;
    this.selection = null;
    this.stream = "";
    this.find = "";
    this.reset();
  }

  reset() {
    this.turn = (this.turn ?? 0) + 1; // answers to what was asked before are not for us
    this.lines = [];
    this.begun = []; // lines that have not ended, after the others
    this.first = 0; // number of the first line, so that a line keeps its own as others come before
    this.reader = new LineReader();
    this.size = PAGE; // of the page before
    this.before = ""; // where the page before begins; "": not known
    this.more = false; // whether there are earlier lines
    this.skipped = 0; // bytes that were left out since the lines that are shown
    this.following = true;
    this.live = false; // whether new output comes
    this.fresh = 0; // lines that came since the reader stopped to follow
    this.busy = false;
    this.error = null;
  }

  get count() {
    return this.lines.length + this.begun.length;
  }

  // The line of a number, from `first` on; undefined beyond both ends.
  at(number) {
    const i = number - this.first;
    return i < this.lines.length ? this.lines[i] : this.begun[i - this.lines.length];
  }

  // Show the newest output of a selection, {component} or {component, name}; null: of nothing.
  async open(selection) {
    this.selection = selection;
    this.reset();
    this.follow(null);
    if (selection) await this.newest();
    else this.changed();
  }

  // Whoever could not be asked before can be now.
  catchUp() {
    if (!this.selection) return;
    if (!this.live && this.following) this.open(this.selection);
    else if (this.error) {
      this.error = null;
      this.changed();
    }
  }

  filter(stream, find) {
    if (stream === this.stream && find === this.find) return Promise.resolve();
    this.stream = stream;
    this.find = find;
    return this.open(this.selection);
  }

  // Look at the newest lines again, and follow.
  latest() {
    if (this.live) {
      this.following = true;
      this.fresh = 0;
      this.changed();
      return Promise.resolve();
    }
    return this.open(this.selection);
  }

  async newest() {
    const page = await this.fetch({ lines: PAGE });
    if (!page) return;
    const newest = new Map(page.records.map((r) => [`${r.instance}/${r.stream}`, r]));
    for (const record of newest.values()) this.reader.resume(record);
    this.begun = this.reader.unfinished();
    const places = new Set(this.begun.map(placeOf));
    this.lines = page.records.map(lineOf).filter((line) => !places.has(placeOf(line)));
    this.place(page);
    this.live = true;
    this.follow({ ...this.selection, since: page.cursor });
    this.changed();
  }

  place(page) {
    this.more = Boolean(page.more);
    this.before = page.first ?? "";
  }

  async fetch(what) {
    const { turn } = this;
    this.busy = true;
    this.error = null;
    this.changed();
    const action = { do: "output", ...this.selection, ...what };
    if (this.stream) action.stream = this.stream;
    if (this.find) action.grep = this.find;
    try {
      const page = await this.ask(action);
      return turn === this.turn ? page : null;
    } catch (error) {
      if (turn === this.turn) this.error = error;
      return null;
    } finally {
      if (turn === this.turn) {
        this.busy = false;
        this.changed();
      }
    }
  }

  // Fetch lines before the first one; says how many came.
  async older() {
    if (this.busy || !this.more) return 0;
    const lines = this.size;
    this.size = Math.min(2 * lines, LARGEST);
    if (this.before) return this.prepend(await this.fetch({ lines, before: this.before }));
    // Before a hole: those up to the time of the first line, without those that are here.
    const head = this.at(this.first);
    const until = head ? head.time + MARGIN : undefined;
    let page = await this.fetch({ lines, until });
    while (page) {
      const earlier = page.records.filter((record) => this.isEarlier(record));
      if (earlier.length || !page.more || !page.first) {
        return this.prepend({ ...page, records: earlier });
      }
      page = await this.fetch({ lines, before: page.first });
    }
    return 0;
  }

  isEarlier(record) {
    const same = (line) => line.instance === record.instance && line.stream === record.stream;
    const known = this.lines.find(same) ?? this.begun.find(same);
    if (known) return record.offset < known.offset;
    return !this.count || record.time <= this.at(this.first).time;
  }

  prepend(page) {
    if (!page) return 0;
    const found = page.records.map(lineOf);
    this.lines = [...found, ...this.lines];
    this.first -= found.length;
    this.place(page);
    this.skipped = 0;
    this.changed();
    return found.length;
  }

  // Take what was written since.
  take(records) {
    if (!this.live || !this.selection) return;
    const found = records
      .filter((record) => this.isWanted(record))
      .flatMap((record) => this.reader.read(record))
      .filter((line) => this.isFound(line));
    this.begun = this.reader.unfinished().filter((line) => this.isFound(line));
    this.lines.push(...found);
    if (!this.following) this.fresh += found.length;
    if (this.lines.length > MOST) this.shorten();
    this.changed();
  }

  isFound(line) {
    return !this.find || line.text.includes(this.find);
  }

  isWanted(record) {
    const { component, name } = this.selection;
    if (record.component !== component || (name && record.name !== name)) return false;
    return !this.stream || record.stream === this.stream;
  }

  // So many bytes were left out.
  skip(size) {
    if (!this.live) return;
    if (!this.following) {
      this.rest();
      return;
    }
    this.first += this.lines.length;
    this.lines = [];
    this.begun = [];
    this.before = "";
    this.more = true;
    this.skipped += size;
    this.changed();
  }

  // Who reads further up keeps what is there; nothing more comes until they look at the end again.
  rest() {
    this.live = false;
    this.follow(null);
    this.changed();
  }

  shorten() {
    if (!this.following) {
      this.rest();
      return;
    }
    const gone = this.lines.length - MOST / 2;
    this.lines = this.lines.slice(gone);
    this.first += gone;
    this.before = "";
    this.more = true;
  }

  pause() {
    if (!this.following) return;
    this.following = false;
    this.fresh = 0;
    this.changed();
  }
}

function placeOf({ instance, stream, offset }) {
  return `${instance}/${stream}/${offset}`;
}
