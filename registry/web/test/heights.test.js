import assert from "node:assert/strict";
import test from "node:test";
import { DRAWN, Heights } from "../src/heights.js";

function logOf(...lengths) {
  const lines = lengths.map((length) => ({ text: "x".repeat(length) }));
  return { first: -3, count: lines.length, at: (number) => lines[number + 3], lines };
}

test("lines that are not wrapped are one row each", () => {
  const heights = new Heights();
  heights.update(logOf(5, 500, 0));
  assert.deepEqual([heights.top(2), heights.total, heights.at(1.9)], [2, 3, 1]);
});

test("a wrapped line takes as many rows as its length says, an empty one takes one", () => {
  const heights = new Heights();
  heights.wrap(10);
  heights.update(logOf(5, 25, 0, 10));
  assert.deepEqual([0, 1, 2, 3, 4].map((i) => heights.top(i)), [0, 1, 4, 5, 6]);
  assert.deepEqual([0, 1, 3.5, 4, 5.9, 6, 99].map((row) => heights.at(row)), [0, 1, 1, 2, 3, 4, 4]);
});

test("what a line took when it was drawn counts more than a guess, until the width changes", () => {
  const heights = new Heights();
  const log = logOf(8, 8);
  heights.wrap(10);
  assert.equal(heights.learn(log.lines[0], 2), true);
  assert.equal(heights.learn(log.lines[0], 2), false);
  heights.update(log);
  assert.equal(heights.total, 3);
  heights.wrap(20);
  heights.update(log);
  assert.equal(heights.total, 2);
});

test("of a very long line no more rows are guessed than are drawn", () => {
  const heights = new Heights();
  heights.wrap(100);
  heights.update(logOf(65536));
  assert.equal(heights.total, DRAWN / 100);
});
