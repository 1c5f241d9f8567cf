import assert from "node:assert/strict";
import test from "node:test";
import { chosen, configuration, rowsOf, summary } from "../src/rows.js";
import { KEPT, addPoint, emptySeries, together } from "../src/series.js";
import { applyFrame, createState } from "../src/state.js";
import { component, metrics, replica, status } from "./records.js";

function stateOf(...frames) {
  const state = createState();
  for (const frame of frames) applyFrame(state, frame);
  return state;
}

const failed = replica("bad", "failed", { reason: "ended with exit code 1", restarts: 5, exit: 1 });

test("masters stand before their workers", () => {
  const state = stateOf(
    status(component("a-worker", [replica("a-worker-0")], { master: "z" }), component("z", [replica("z")]), component("b", [replica("b")])),
  );
  assert.deepEqual(state.components.map((c) => c.name), ["b", "z", "a-worker"]);
});

test("a summary counts what is wanted, and says the worst", () => {
  assert.deepEqual(summary(stateOf(status())), ["stopped", "no components"]);
  assert.deepEqual(summary(stateOf(status(component("foo", [replica("foo")])))), ["ready", "1 process ready"]);
  const state = stateOf(status(component("foo", [replica("foo")]), component("bad", [failed])));
  assert.deepEqual(summary(state), ["failed", "1 of 2 ready"]);
  const elsewhere = component("foo", [replica("foo")], { own: false, desired: 0 });
  assert.deepEqual(summary(stateOf(status(elsewhere))), ["stopped", "nothing started here"]);
});

test("what is missing is told with its reason", () => {
  const frame = status();
  frame.data.missing = [{ component: "w", count: 2, why: "no node has room" }];
  assert.deepEqual(configuration(stateOf(frame)), [
    { component: "w", text: "2 processes of w missing", why: "no node has room" },
  ]);
});

test("a component of several processes is a group, folded if there are many", () => {
  const state = stateOf(status(component("w", [replica("w-0"), replica("w-1", "starting")])));
  const rows = rowsOf(state, new Map());
  assert.deepEqual(rows.map((row) => [row.kind, row.name]), [["group", "w"], ["replica", "w-0"], ["replica", "w-1"]]);
  assert.equal(rows[0].words, "1 of 2 ready, starting");
  assert.equal(rowsOf(state, new Map([["w", true]])).length, 1);
  const many = stateOf(status(component("w", Array.from({ length: 9 }, (_, i) => replica(`w-${i}`)))));
  assert.equal(rowsOf(many, new Map()).length, 1);
});

test("a group says how many are wanted, and what those wait for that have no process", () => {
  const why = "waits for a place: node dask-0 has 2, all taken";
  const frame = status(component("w", [replica("w-0"), replica("w-1")], { desired: 5, state: "starting" }));
  frame.data.missing = [{ component: "w", count: 3, why }];
  const [group] = rowsOf(stateOf(frame), new Map());
  assert.deepEqual([group.words, group.why], ["2 of 5 ready, starting", `3 processes not started: ${why}.`]);
});

test("what runs can be stopped, what is stopped started, and workers scaled", () => {
  const off = component("off", [replica("off", "stopped")], { desired: 0 });
  const out = component("out", [replica("out")], { own: false, desired: 0 });
  const state = stateOf(status(component("foo", [replica("foo")], { role: "master" }), component("w", [replica("w-0")]), off, out));
  const told = Object.fromEntries(rowsOf(state, new Map()).map((row) => [row.component, [row.actions, row.scale]]));
  assert.deepEqual(told, {
    foo: [["restart", "stop"], null], w: [["restart", "stop"], 1], off: [["start"], null], out: [["stop"], null],
  });
});

test("rows have the newest numbers, groups their sums, and what ended none", () => {
  const state = stateOf(
    status(component("w", [replica("w-0"), replica("w-1"), replica("w-2", "stopped")])),
    metrics(10, [
      { name: "w-0", cpu: 10, rss: 100, rate_out: 5, queued: 1, running: 2 },
      { name: "w-1", cpu: 20, rss: 100, rate_out: null, queued: 0, running: 0 },
      { name: "w-2", cpu: 99, rss: 100, rate_out: 99, queued: 0, running: 0 },
    ]),
  );
  const [group, , , over] = rowsOf(state, new Map());
  assert.deepEqual(group.values, { cpu: 30, rss: 200, rate: 5, queue: 3 });
  assert.deepEqual(over.values, { cpu: null, rss: null, rate: null, queue: null });
});

test("reasons are lines only where they are news", () => {
  const state = stateOf(status(component("a", [failed]), component("b", [replica("b", "stopped", { reason: "was stopped" })])));
  assert.deepEqual(rowsOf(state, new Map()).map((row) => row.why), ["It ended with exit code 1.", ""]);
});

test("what was chosen stays while it exists, else what needs attention is", () => {
  const state = stateOf(status(component("bad", [failed]), component("foo", [replica("foo")])));
  assert.equal(chosen(state, "foo"), "foo");
  assert.equal(chosen(state, "gone"), "bad");
  assert.equal(chosen(stateOf(status()), null), null);
});

test("history goes before what has come since, and nothing twice", () => {
  const state = stateOf(status(component("w", [replica("w-0")])), metrics(10, [{ name: "w-0", cpu: 3 }]));
  const points = [{ time: 6, cpu: 1 }, { time: 8, cpu: 2 }, { time: 10, cpu: 3 }];
  applyFrame(state, metrics(12, [{ name: "w-0", cpu: 4 }], [{ name: "w-0", points }]));
  assert.deepEqual(state.series.get("w-0").cpu, [1, 2, 3, 4]);
});

test("series are bounded, and several are summed from their ends", () => {
  const long = emptySeries();
  for (let i = 0; i < KEPT + 10; i += 1) addPoint(long, i, { cpu: 1, rss: 1, rate: null, queue: 0 });
  assert.equal(long.time.length, KEPT);
  const late = emptySeries();
  addPoint(late, 500, { cpu: 2, rss: 1, rate: 3, queue: 1 });
  const joint = together([long, late]);
  assert.deepEqual([joint.cpu.at(-2), joint.cpu.at(-1), joint.rate.at(-1)], [1, 3, 3]);
});

test("curves of processes that are gone are forgotten", () => {
  const state = stateOf(status(component("w", [replica("w-0")])), metrics(10, [{ name: "w-0", cpu: 3 }]), status());
  assert.equal(state.series.size, 0);
});

test("events come once, the newest are kept", () => {
  const state = createState();
  for (let seq = 0; seq < 300; seq += 1) applyFrame(state, { topic: "events", data: { seq, time: seq, kind: "x" } });
  applyFrame(state, { topic: "events", data: { seq: 299, time: 1, kind: "x" } });
  assert.deepEqual([state.events.length, state.events[0].seq], [200, 100]);
});
