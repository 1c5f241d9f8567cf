import assert from "node:assert/strict";
import test from "node:test";
import { LineReader, lineOf } from "../src/lines.js";
import { record } from "./records.js";

const texts = (lines) => lines.map((line) => line.text);
const bytes = (...values) => ({ text: undefined, bytes: btoa(String.fromCharCode(...values)) });

test("lines come once and whole, each with its place", () => {
  const reader = new LineReader();
  assert.deepEqual(texts(reader.read(record(0, "one\ntw"))), ["one"]);
  const [two, three] = reader.read(record(6, "o\nthree\n"));
  assert.deepEqual([two.text, two.offset], ["two", 4]);
  assert.deepEqual([three.text, three.offset], ["three", 8]);
});

test("characters that are cut between two records are whole", () => {
  const reader = new LineReader();
  assert.deepEqual(reader.read(record(0, "", bytes(0x6e, 0x61, 0xc3))), []);
  assert.deepEqual(texts(reader.read(record(3, "", bytes(0xaf, 0x76, 10)))), ["na\u00efv"]);
});

test("streams and instances do not mix", () => {
  const reader = new LineReader();
  reader.read(record(0, "out"));
  assert.deepEqual(texts(reader.read(record(0, "err\n", { stream: "stderr" }))), ["err"]);
  assert.deepEqual(texts(reader.read(record(0, "new\n", { instance: "x.1", name: "x-0" }))), ["new"]);
  assert.deepEqual(texts(reader.read(record(3, "\n"))), ["out"]);
});

test("after a hole the rest of a line is left to whoever looks for all of it", () => {
  const reader = new LineReader();
  const [line, ...others] = reader.read(record(1000, "rest\nwhole\n"));
  assert.deepEqual([line.text, line.offset, others], ["whole", 1005, []]);
});

test("a reader goes on where a page of lines ended", () => {
  const reader = new LineReader();
  reader.resume(record(15, "last\n"));
  assert.deepEqual(texts(reader.read(record(20, "next\n"))), ["next"]);
});

test("a line that has not ended can be seen, and is whole when it has", () => {
  const reader = new LineReader();
  reader.resume(record(0, "10 %"));
  assert.deepEqual(texts(reader.unfinished()), ["10 %"]);
  assert.deepEqual(reader.read(record(4, "\r20 %")), []);
  assert.deepEqual(texts(reader.unfinished()), ["10 %\r20 %"]);
  assert.deepEqual(reader.read(record(9, "\n")).map((l) => [l.text, l.offset]), [["10 %\r20 %", 0]]);
  assert.deepEqual(reader.unfinished(), []);
});

test("what a life left without a newline is a line when the next one begins", () => {
  const reader = new LineReader();
  reader.read(record(0, "dying words"));
  assert.deepEqual(texts(reader.read(record(0, "hello\n", { instance: "w.2" }))), ["dying words", "hello"]);
  assert.deepEqual(reader.unfinished(), []);
});

test("a line without an end is shown once it is long", () => {
  const reader = new LineReader();
  const [line] = reader.read(record(0, "x".repeat(70000)));
  assert.equal(line.text.length, 70000);
  assert.equal(reader.read(record(70000, "y\n"))[0].offset, 70000);
});

test("a record of a page is a line by itself", () => {
  assert.deepEqual(lineOf(record(7, "text\n")), {
    process: "w-0", component: "w", instance: "w.1", stream: "stdout", time: 50, offset: 7, text: "text",
  });
});

test("bytes that nobody has any more are a line that says so, and what was cut is not joined", () => {
  const reader = new LineReader();
  reader.read(record(0, "one\ntw"));
  const lines = reader.read(record(6, "[palm: 3.0 MB were dropped here]", { lost: 3000000 }));
  assert.deepEqual(texts(lines), ["tw", "[palm: 3.0 MB were dropped here]"]);
  assert.deepEqual(lines.map((line) => line.lost), [undefined, 3000000]);
  assert.deepEqual(texts(reader.read(record(3000006, "on\n"))), ["on"]);
});

test("reading goes on behind lost bytes that end a page", () => {
  const reader = new LineReader();
  reader.resume(record(6, "[palm: 4 bytes were dropped here]", { lost: 4 }));
  assert.deepEqual(reader.unfinished(), []);
  assert.deepEqual(texts(reader.read(record(10, "on\n"))), ["on"]);
});
