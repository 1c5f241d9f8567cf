// What the page around the panel does with plain values.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Api, Refusal, inWords, may } from "../page/api.js";
import { detailsInWords, outcomeOf } from "../page/audit.js";
import { endOf, stateOf } from "../page/clusters.js";
import { isWanted } from "../page/happened.js";
import { indentation } from "../page/indent.js";
import { partsInWords, placesInWords, stateOfNode, workOf } from "../page/nodes.js";
import { addressOf, parseRoute, titleOf } from "../page/routes.js";
import { ago, lasting } from "../page/times.js";
import { expiryOf } from "../page/tokens.js";
import { countsOfDiff, linesOfDiff } from "../page/unified.js";
import { comparedVersions } from "../page/versions.js";
import { applyFrame, createState } from "../src/state.js";

test("an address and the screen that it means lead to each other", () => {
  const routes = [
    { place: "clusters", query: {} },
    { place: "cluster", key: "seed", tab: "overview", query: {} },
    { place: "cluster", key: "seed", tab: "events", query: { component: "foo", kind: "node" } },
    { place: "audit", query: { refused: "1" } },
  ];
  for (const route of routes) assert.deepEqual(parseRoute(addressOf(route)), route);
  assert.equal(addressOf(routes[0]), "#/");
  assert.equal(addressOf(routes[1]), "#/clusters/seed");
});

test("what is no address is none, and no mistake in it breaks the page", () => {
  assert.equal(parseRoute("").place, "clusters");
  assert.equal(parseRoute("#").place, "clusters");
  for (const hash of ["#/nothing", "#/clusters/a/nothing", "#/clusters/a/events/b", "#/toString", "#/clusters/a/toString"]) {
    assert.equal(parseRoute(hash).place, "nowhere", hash);
  }
  assert.equal(parseRoute("#/clusters/%E0%A4%A").key, "%E0%A4%A");
  assert.equal(titleOf({ place: "nowhere" }), "Not found - palm");
  assert.equal(titleOf({ place: "cluster", key: "seed", tab: "nodes" }), "seed: Nodes - palm");
});

test("a difference has the numbers of its lines on both sides", () => {
  const unified = "--- version 1\n+++ version 2\n@@ -2,3 +2,4 @@\n same\n-old\n+new\n+more\n last\n";
  const lines = linesOfDiff(unified);
  assert.deepEqual(
    lines.map(({ kind, old, new: fresh }) => [kind, old, fresh]),
    [["hunk", null, null], ["same", 2, 2], ["removed", 3, null], ["added", null, 3], ["added", null, 4], ["same", 4, 5]],
  );
  assert.deepEqual(countsOfDiff(lines), { added: 2, removed: 1 });
  assert.deepEqual(linesOfDiff(""), []);
});

test("a line of a file that looks like the head of a difference is a line", () => {
  const lines = linesOfDiff("--- a\n+++ b\n@@ -1 +1 @@\n--- dashes\n+++ pluses\n");
  assert.deepEqual(lines.slice(1).map(({ kind, text }) => [kind, text]), [["removed", "-- dashes"], ["added", "++ pluses"]]);
});

const applied = (text, start, end, back) => {
  const found = indentation(text, start, end, back);
  return [text.slice(0, found.from) + found.insert + text.slice(found.to), found.start, found.end];
};

test("Tab puts spaces where the cursor is, and moves the lines that are selected", () => {
  assert.deepEqual(applied("ab", 1, 1, false), ["a  b", 3, 3]);
  assert.deepEqual(applied("a\nb\nc", 0, 3, false), ["  a\n  b\nc", 2, 7]);
  assert.deepEqual(applied("a\nb\n", 0, 2, false), ["  a\nb\n", 2, 4]);
  assert.deepEqual(applied("a\n\nb", 0, 4, false), ["  a\n\n  b", 2, 8]);
});

test("Shift and Tab take back what Tab did, and no more than there is", () => {
  assert.deepEqual(applied("  a\n b\nc", 2, 8, true), ["a\nb\nc", 0, 5]);
  assert.deepEqual(applied("x\n    a", 6, 6, true), ["x\n  a", 4, 4]);
  assert.deepEqual(applied("a", 1, 1, true), ["a", 1, 1]);
});

test("times are as long as they are worth", () => {
  assert.deepEqual([0, 59, 60, 7199, 86400 * 3].map(lasting), ["0 s", "59 s", "1 min", "1 h", "3 d"]);
  assert.equal(ago(-5), "0 s ago");
  assert.equal(expiryOf({ expires: null }, 0), "never");
  assert.equal(expiryOf({ expires: 10 }, 10), "over");
  assert.equal(expiryOf({ expires: 30 * 86400 - 20 }, 0), "in 30 d");
});

test("a cluster is told by a state and a word", () => {
  const info = { state: "alive", components: 2, ready: false, missing: 2, linger: null, holders: [] };
  assert.deepEqual(stateOf(info), ["unknown", "2 processes missing"]);
  assert.deepEqual(stateOf({ ...info, ready: true, missing: 0 }), ["ready", "ready"]);
  assert.deepEqual(stateOf({ ...info, components: 0 }), ["stopped", "empty"]);
  assert.deepEqual(stateOf({ ...info, state: "ending" }), ["stopping", "ending"]);
  assert.equal(endOf(info), "stays");
  assert.equal(endOf({ ...info, linger: 120, holders: ["a"] }), "held by 1, lingers 2 min");
});

test("a node's work is that of the processes that it has", () => {
  const state = createState("seed");
  const replicas = [0, 1].map((n) => ({ name: `w-${n}`, state: "ready", pid: n + 1, node: "here" }));
  applyFrame(state, { topic: "status", data: { components: [{ name: "w", role: "worker", state: "ready", desired: 2, actual: 2, replicas }] } });
  applyFrame(state, { topic: "metrics", data: { time: 1, samples: [{ name: "w-0", cpu: 5, rss: 100 }, { name: "w-1", cpu: 7, rss: null }] } });
  const { parts, cpu, rss } = workOf(state).get("here");
  assert.deepEqual([partsInWords(parts), cpu, rss], ["w \u00d72", 12, 100]);
  assert.deepEqual([placesInWords({ parts, places: 4 }), placesInWords({ parts, places: 0 })], ["2 of 4", "any"]);
  assert.deepEqual(stateOfNode({ alive: false, overdue: true }), ["failed", "lost, given up"]);
});

test("an event is wanted by its component and by the beginning of its kind", () => {
  const event = { component: "foo", kind: "component.ready" };
  assert.ok(isWanted(event, {}));
  assert.ok(isWanted(event, { component: "foo", kind: "component" }));
  assert.ok(!isWanted(event, { kind: "comp" }));
  assert.ok(!isWanted(event, { component: "bar" }));
});

test("the two versions that are compared are those in the address, if there are such", () => {
  const versions = [{ version: 4 }, { version: 3, in_force: true }, { version: 1 }];
  assert.deepEqual(comparedVersions(versions, {}), { from: 1, to: 3 });
  assert.deepEqual(comparedVersions(versions, { from: "1", to: "4" }), { from: 1, to: 4 });
  assert.deepEqual(comparedVersions(versions, { from: "9", to: "x" }), { from: 1, to: 3 });
  assert.deepEqual(comparedVersions([{ version: 1, in_force: true }], {}), { from: 1, to: 1 });
});

test("what came of a request is a state and a word", () => {
  assert.deepEqual(outcomeOf({ status: 204, code: "" }), ["ready", "done"]);
  assert.deepEqual(outcomeOf({ status: 403, code: "scope" }), ["unknown", "refused (scope)"]);
  assert.deepEqual(outcomeOf({ status: 503, code: "" }), ["failed", "failed (503)"]);
  assert.equal(detailsInWords({ browser: true, name: "a", many: ["b"] }), 'name=a many=["b"]');
});

test("who may read is offered nothing that changes", () => {
  assert.ok(may({ scope: "viewer" }, "viewer") && !may({ scope: "viewer" }, "operator"));
  assert.ok(may({ scope: "operator" }, "operator") && !may({ scope: "operator" }, "admin"));
  assert.ok(!may({ scope: "runner" }, "viewer") && !may({ scope: "later" }, "viewer"));
});

const answering = (status, body, headers = {}) => async () => new Response(body, { status, headers });
const apiOf = (ask, over = () => {}) => new Api({ base: new URL("http://here/proxy/1/"), xsrf: "x", over, ask });

test("a refusal is told in the words of the registry", async () => {
  const api = apiOf(answering(409, JSON.stringify({ error: { code: "version", text: "no", hint: "so" } })));
  await assert.rejects(api.put("api/x", {}), (error) => error instanceof Refusal && error.code === "version" && inWords(error) === "no (so)" && !error.isSilence);
});

test("a registry that does not answer, or a proxy for it, is silence", async () => {
  const gone = apiOf(async () => {
    throw new TypeError("failed to fetch");
  });
  await assert.rejects(gone.get("api/x"), (error) => error.isSilence);
  await assert.rejects(apiOf(answering(502, "<html>")).get("api/x"), (error) => error.isSilence);
});

test("the end of a session is told once it is refused", async () => {
  const told = [];
  const body = (code) => JSON.stringify({ error: { code, text: "the text" } });
  await assert.rejects(apiOf(answering(401, body("session")), (text) => told.push(text)).get("a"));
  await assert.rejects(apiOf(answering(401, body("token")), (text) => told.push(text)).get("a"));
  assert.deepEqual(told, ["", "the text"]);
});

test("requests stay below where the page is, and changes carry its secret", async () => {
  const asked = [];
  const api = apiOf(async (url, options) => {
    asked.push([url.href, options.method, options.headers?.["X-XSRF-Token"], options.body]);
    return new Response(null, { status: 204 });
  });
  await api.get("api/clusters", { status: 1, before: undefined });
  await api.post("api/clusters", { name: "a" });
  assert.deepEqual(asked, [
    ["http://here/proxy/1/api/clusters?status=1", undefined, undefined, undefined],
    ["http://here/proxy/1/api/clusters", "POST", "x", '{"name":"a"}'],
  ]);
});

test("the registry's clock counts where it is another than the browser's", async () => {
  const ahead = new Date(Date.now() + 3600e3).toUTCString();
  const api = apiOf(answering(200, "{}", { Date: ahead }));
  await api.get("a");
  assert.ok(Math.abs(api.now() - Date.now() / 1000 - 3600) < 5);
});
