import assert from "node:assert/strict";
import test from "node:test";
import { Log, MOST, PAGE } from "../src/log.js";
import { record } from "./records.js";

// A registry that has so many lines, each ten bytes long.
class Written {
  constructor(count) {
    this.lines = Array.from({ length: count }, (_, i) => this.line(i));
    this.asked = [];
    this.followed = [];
  }

  line(i, more = {}) {
    return record(10 * i, `${String(i).padStart(9, "0")}\n`, { time: i, ...more });
  }

  ask(action) {
    this.asked.push(action);
    const end = action.before ? Number(action.before) : action.until === undefined ? this.lines.length : Math.ceil(action.until);
    const found = this.lines.slice(0, end).filter((l) => !action.grep || l.text.includes(action.grep));
    const records = found.slice(-action.lines);
    const first = records.length ? String(records[0].offset / 10) : "";
    return Promise.resolve({ records, cursor: `after ${this.lines.length}`, more: found.length > records.length, first });
  }

  log() {
    return new Log({
      ask: (action) => this.ask(action),
      follow: (selection) => this.followed.push(selection),
      changed: () => {},
    });
  }
}

const numbers = (log) => log.lines.map((line) => Number(line.text));
const range = (from, to) => Array.from({ length: to - from }, (_, i) => from + i);

test("it begins with the newest page and follows from there", async () => {
  const written = new Written(2 * PAGE);
  const log = written.log();
  await log.open({ component: "w" });
  assert.deepEqual(numbers(log), range(PAGE, 2 * PAGE));
  assert.equal(log.more, true);
  assert.deepEqual(written.followed, [null, { component: "w", since: `after ${2 * PAGE}` }]);
  log.take([written.line(2 * PAGE)]);
  assert.equal(numbers(log).at(-1), 2 * PAGE);
});

test("earlier lines come before, and keep the numbers of the others", async () => {
  const written = new Written(PAGE + 7);
  const log = written.log();
  await log.open({ component: "w" });
  assert.equal(await log.older(), 7);
  assert.deepEqual(numbers(log), range(0, PAGE + 7));
  assert.deepEqual([log.first, log.count, log.more], [-7, PAGE + 7, false]);
  assert.equal(Number(log.at(log.first).text), 0);
  assert.equal(await log.older(), 0);
});

test("a line that has not ended stands last, and in its place when it has", async () => {
  const written = new Written(2);
  written.lines.push(record(20, "10 %"));
  const log = written.log();
  await log.open({ component: "w" });
  assert.deepEqual([log.lines.length, log.at(2).text], [2, "10 %"]);
  log.take([record(24, "\r20 %")]);
  assert.equal(log.at(2).text, "10 %\r20 %");
  log.take([record(29, "\nmore\n")]);
  assert.deepEqual(log.lines.slice(2).map((line) => line.text), ["10 %\r20 %", "more"]);
  assert.equal(log.count, 4);
});

test("after a hole nothing is lost: what was passed over is fetched, each line once", async () => {
  const written = new Written(PAGE);
  const log = written.log();
  await log.open({ component: "w" });
  written.lines = new Written(4 * PAGE).lines;
  log.skip(10 * 3 * PAGE - 30);
  log.take(range(4 * PAGE - 3, 4 * PAGE).map((i) => written.line(i)));
  // The first record after a hole may begin within a line: it is fetched, too.
  assert.deepEqual(numbers(log), range(4 * PAGE - 2, 4 * PAGE));
  assert.ok(log.more && log.skipped > 0);
  while (log.more) await log.older();
  assert.deepEqual(numbers(log), range(0, 4 * PAGE));
});

test("lines of one moment are told apart by their places", async () => {
  const written = new Written(3 * PAGE);
  for (const line of written.lines) line.time = 5;
  written.ask = ((ask) => (action) => ask({ ...action, until: action.until && 3 * PAGE }))(written.ask.bind(written));
  const log = written.log();
  await log.open({ component: "w" });
  log.skip(1);
  log.take(range(PAGE - 1, PAGE + 5).map((i) => written.line(i, { time: 5 })));
  while (log.more) await log.older();
  assert.deepEqual(numbers(log), range(0, PAGE + 5));
});

test("who reads further up is not disturbed by a flood, and comes back to the newest", async () => {
  const written = new Written(10);
  const log = written.log();
  await log.open({ component: "w" });
  log.pause();
  log.take([written.line(10)]);
  assert.deepEqual([log.fresh, log.lines.length], [1, 11]);
  log.skip(1000000);
  assert.deepEqual([log.live, log.lines.length], [false, 11]);
  assert.equal(written.followed.at(-1), null);
  log.take([written.line(99)]);
  assert.equal(log.lines.length, 11);
  written.lines.push(written.line(10), written.line(11));
  await log.latest();
  assert.deepEqual(numbers(log), range(0, 12));
  assert.ok(log.live && log.following);
});

test("what is held is bounded, and the rest can be fetched", async () => {
  const written = new Written(MOST + 2);
  const log = written.log();
  await log.open({ component: "w" });
  log.take(range(MOST + 2, 2 * MOST + 3).map((i) => written.line(i)));
  assert.ok(log.lines.length <= MOST);
  assert.equal(numbers(log).at(-1), 2 * MOST + 2);
  assert.equal(log.more, true);
});

test("a search looks through everything, and what comes is searched likewise", async () => {
  const written = new Written(3000);
  const log = written.log();
  await log.open({ component: "w" });
  await log.filter("", "0299");
  assert.equal(written.asked.at(-1).grep, "0299");
  assert.deepEqual(numbers(log), [299, ...range(2990, 3000)]);
  log.take([written.line(3000), record(30010, "000000299\n", { time: 1 })]);
  assert.equal(log.lines.length, 12);
});

test("answers for what is no longer chosen are dropped", async () => {
  const written = new Written(5);
  const log = written.log();
  const first = log.open({ component: "w" });
  const second = log.open({ component: "x" });
  await Promise.all([first, second]);
  assert.deepEqual(written.followed.filter(Boolean).map((s) => s.component), ["x"]);
});

test("a failure is said and can be tried again", async () => {
  const written = new Written(5);
  const log = written.log();
  const { ask } = log;
  log.ask = () => Promise.reject(new Error("the registry does not answer"));
  await log.open({ component: "w" });
  assert.equal(log.error.message, "the registry does not answer");
  log.ask = ask;
  await log.latest();
  assert.deepEqual([log.error, log.lines.length], [null, 5]);
});
