// How high the lines of a log are, in rows of text: one each, or as many as a wrapped one takes. Heights of
// lines that were never drawn are guessed from their length, and learned once they are.

export const DRAWN = 4000; // characters of a line that are drawn

export class Heights {
  constructor() {
    this.columns = 0; // characters of a row; 0: lines are not wrapped
    this.known = new WeakMap(); // line -> rows that it took
    this.tops = null; // where each line begins, and where the last one ends
    this.count = 0;
  }

  wrap(columns) {
    if (columns === this.columns) return;
    this.columns = columns;
    this.known = new WeakMap();
  }

  // Lines have come, gone or changed.
  update(log) {
    this.count = log.count;
    this.tops = this.columns ? new Float64Array(log.count + 1) : null;
    if (!this.tops) return;
    for (let i = 0; i < log.count; i += 1) {
      this.tops[i + 1] = this.tops[i] + this.rows(log.at(log.first + i));
    }
  }

  rows(line) {
    return this.known.get(line) ?? Math.max(1, Math.ceil(Math.min(line.text.length, DRAWN) / this.columns));
  }

  // A line took so many rows; says whether that is news.
  learn(line, rows) {
    if (!this.columns || this.rows(line) === rows) return false;
    this.known.set(line, rows);
    return true;
  }

  get total() {
    return this.top(this.count);
  }

  // The row at which a line begins; it is counted from the first one.
  top(index) {
    return this.tops ? this.tops[Math.max(0, Math.min(this.count, index))] : index;
  }

  // The line that has a row.
  at(row) {
    if (!this.tops) return Math.floor(row);
    let [low, high] = [0, this.count];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.tops[middle + 1] <= row) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
