// What views show, as far as it needs no page.

import assert from "node:assert/strict";
import test from "node:test";
import { bytes, duration, percent, rate, short, span } from "../src/format.js";
import { factsOf, howIs, partsOf, workersOf } from "../src/jobcard.js";
import { paths } from "../src/sparkline.js";
import { applyFrame, createState } from "../src/state.js";
import { graphOf, layout } from "../src/topology.js";
import { ending, explain, isInTrouble, isWellAgain } from "../src/why.js";
import { component, metrics, replica, status } from "./records.js";

test("numbers are short", () => {
  assert.deepEqual([0, 0.4, 7, 12.6, 999, 1234, 56000, 3.1e6].map(short), ["0", "0.4", "7", "13", "999", "1.2k", "56k", "3.1M"]);
  assert.deepEqual([0, 999, 1000, 31.6e6, 2.5e9].map(bytes), ["0 B", "999 B", "1.0 kB", "32 MB", "2.5 GB"]);
  assert.deepEqual([0, 0.4, 12.6, 150].map(percent), ["0 %", "0.4 %", "13 %", "150 %"]);
  assert.deepEqual([0.0000123, 0.0042, 1.5, 75].map(span), ["12 \u00b5s", "4.2 ms", "1.5 s", "1:15"]);
  assert.deepEqual([7, 760, 11100, 187200].map(duration), ["0:07", "12:40", "3:05:00", "2 d 4 h"]);
  assert.deepEqual([rate(null), rate(3)], ["\u2013", "3/s"]);
});

test("a curve ends at the right, and a hole in it is passed over", () => {
  assert.equal(paths([1]).line, "");
  const { line } = paths([0, null, 2], { width: 46, height: 16 });
  assert.match(line, /^M43 14\.5L45 1\.5$/);
});

function graph(...samples) {
  const state = createState();
  const chain = [component("src", [replica("src")], { role: "server" }), component("mid", [replica("mid")], { role: "pipeline" })];
  applyFrame(state, status(...chain, component("w", [replica("w-0"), replica("w-1")], { master: "foo" }), component("foo", [replica("foo")], { role: "master" })));
  applyFrame(state, metrics(10, samples));
  return graphOf(state);
}

test("links are drawn between components, with what their processes exchange", () => {
  const { nodes, edges } = graph(
    { name: "foo", edges: [{ source: "foo", target: "w-0", role: "worker", rate: 2 }, { source: "foo", target: "w-1", role: "worker", rate: 3 }, { source: "clients", target: "foo", role: "client", rate: 5 }] },
    { name: "src", edges: [{ source: "src", target: "mid", role: "stage", rate: 7 }] },
    { name: "mid", edges: [{ source: "src", target: "mid", role: "stage before", rate: 7 }] },
  );
  const told = Object.fromEntries(edges.map((e) => [`${e.source} ${e.target}`, e.rate]));
  assert.deepEqual(told, { "foo w": 5, "clients foo": 5, "src mid": 7 });
  assert.deepEqual(nodes.map((n) => n.name).sort(), ["clients", "foo", "mid", "src", "w"]);
});

test("a worker is linked to its master before anything is counted", () => {
  const [edge] = graph().edges;
  assert.deepEqual([edge.source, edge.target, edge.rate, edge.counted], ["foo", "w", null, false]);
});

test("messages go from left to right, and a circle has an end", () => {
  const { places } = layout(graph({ name: "src", edges: [{ source: "src", target: "mid", role: "stage", rate: 1 }] }));
  assert.ok(places.get("src").x < places.get("mid").x);
  assert.ok(places.get("foo").x < places.get("w").x);
  const nodes = ["a", "b", "c"].map((name) => ({ name }));
  const edges = [["a", "b"], ["b", "c"], ["c", "a"]].map(([source, target]) => ({ source, target }));
  assert.equal(layout({ nodes, edges }).places.size, 3);
});

test("nodes of one column do not cover each other", () => {
  const nodes = Array.from({ length: 12 }, (_, i) => ({ name: `n${i}` }));
  const { places, height } = layout({ nodes, edges: [] });
  const tops = [...places.values()].map((p) => p.y).sort((a, b) => a - b);
  assert.ok(tops.every((y, i) => i === 0 || y - tops[i - 1] >= 44));
  assert.ok(height >= tops.at(-1) + 44);
});

test("the end of a process is told in words, with a way out", () => {
  const process = { name: "w-0", state: "failed", restarts: 5, exit: -9, reason: "was killed by SIGKILL", node: "here", lastLines: "a\n\x1b[31moops\x1b[0m\n\n" };
  const told = explain({ name: "w" }, process);
  assert.equal(told.title, "It was killed by SIGKILL.");
  assert.deepEqual(told.lines, ["a", "oops"]);
  assert.match(told.advice, /out of memory/);
  assert.deepEqual(told.facts[0], ["Exit", "killed by SIGKILL"]);
  assert.equal(ending(3), "code 3");
  const missing = { ...process, exit: 1, lastLines: "ModuleNotFoundError: No module named 'numpy'" };
  assert.match(explain({ name: "w" }, missing).advice, /has no numpy/);
});

test("of what is well again it is said what was before, calmly", () => {
  const process = { name: "w-0", state: "ready", restarts: 1, exit: -9, reason: "", node: "here", lastLines: "oops", started: 90 };
  const event = (time, state, exit, text) => ({ time, text: `w-0 ${text}`, data: { name: "w-0", state, exit } });
  const events = [
    event(10, "ready", null, "is ready"),
    event(80, "backing-off", -9, "was killed by SIGKILL (by hand)"),
    event(90, "starting", -9, "is starting"),
    event(91, "ready", -9, "is ready"),
    { ...event(95, "ready", null, "is ready"), data: { name: "other", state: "ready", exit: null } },
  ];
  const at = (time) => new Date(time * 1000).toLocaleTimeString([], { hour12: false });
  const told = explain({ name: "w" }, process, events, 100);
  assert.equal(told.title, `It was killed by SIGKILL (by hand) at ${at(80)}, was restarted, and is ready since ${at(91)}.`);
  assert.deepEqual([told.calm, told.lines, told.facts], [true, [], []]);
  const forgotten = explain({ name: "w" }, process, [], 100).title;
  assert.equal(forgotten, `It was killed by SIGKILL, was restarted, and is ready since ${at(90)}.`);
  assert.match(explain({ name: "w" }, { ...process, exit: 3 }, [], 90 + 3 * 86400).title, /^It ended with exit code 3, .* since 1970-01-01 /);
  assert.ok(isWellAgain(process) && !isWellAgain({ ...process, state: "failed" }) && !isWellAgain({ ...process, exit: 0 }));
  assert.ok(!isWellAgain({ ...process, exit: 83 }), "it wanted to be started again");
});

test("only what is in trouble is explained", () => {
  assert.ok(isInTrouble({ state: "failed", restarts: 0, exit: 1 }));
  assert.ok(isInTrouble({ state: "starting", restarts: 2, exit: -9 }));
  assert.ok(!isInTrouble({ state: "ready", restarts: 2, exit: -9 }));
  assert.ok(!isInTrouble({ state: "ready", restarts: 2, exit: null }));
  assert.ok(!isInTrouble({ state: "stopped", restarts: 0, exit: 0 }));
});

const job = { done: 1500, failed: 2, retried: 0, total: 4000, rate: 250, state: "running", remaining: 10, elapsed: 6 };

test("a job says how much is left, and what it took at its end", () => {
  assert.deepEqual(Object.fromEntries(factsOf(job)), { Done: "1,500 of 4,000", Failed: "2", Retried: "0", Rate: "250/s", Remaining: "0:10" });
  assert.deepEqual(factsOf({ ...job, state: "done" }).at(-1), ["Took", "6.0 s"]);
  assert.deepEqual(factsOf({ ...job, total: null })[0], ["Done", "1,500"]);
  assert.deepEqual(partsOf({ done: 4, failed: 1, total: 8 }), { good: 0.375, bad: 0.125 });
  assert.equal(partsOf({ done: 4, failed: 1, total: null }), null);
});

test("a job that is done says what failed of it", () => {
  assert.deepEqual(howIs({ state: "done", failed: 0 }), ["ready", "done"]);
  assert.deepEqual(howIs({ state: "done", failed: 1200 }), ["backing-off", "done, 1,200 failed"]);
  assert.deepEqual(howIs({ state: "failed", failed: 1 }), ["failed", "failed"]);
});

test("of many workers the busiest are shown, and the rest as one", () => {
  const workers = Array.from({ length: 20 }, (_, i) => ({ name: `w-${i}`, done: i, failed: 0, seconds: 1 }));
  const shown = workersOf(workers);
  assert.equal(shown.length, 12);
  assert.deepEqual([shown[0].name, shown.at(-1).name, shown.at(-1).done], ["w-19", "9 others", 36]);
  assert.deepEqual(workersOf(workers.slice(0, 11)).map((w) => w.name).slice(-2), ["w-9", "w-10"]);
});
