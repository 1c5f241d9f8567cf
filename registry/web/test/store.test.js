import assert from "node:assert/strict";
import test from "node:test";
import { Store } from "../src/store.js";
import { Failure, ModelTransport, PageTransport } from "../src/transport.js";
import { component, metrics, replica, status } from "./records.js";

// A widget's model; `emit` is what the kernel sends.
class Model {
  constructor() {
    this.sent = [];
    this.handlers = [];
  }

  on(_name, handler) {
    this.handlers.push(handler);
  }

  send(message) {
    this.sent.push(message);
  }

  emit(message, value) {
    const buffers = value === undefined ? [] : [new DataView(new TextEncoder().encode(JSON.stringify(value)).buffer)];
    for (const handler of this.handlers) handler(message, buffers);
  }
}

function lab() {
  const model = new Model();
  const clock = { now: 0 };
  const store = new Store(new ModelTransport(model), { now: () => clock.now });
  const frames = (list, more = {}) => model.emit({ type: "frames", time: 200, live: true, note: "", ...more }, list);
  const requests = () => model.sent.filter((m) => m.type === "request");
  return { model, clock, store, frames, requests };
}

const two = () => status(component("foo", [replica("foo")], { role: "master" }), component("w", [replica("w-0"), replica("w-1")], { master: "foo" }));
const settled = () => new Promise((resolve) => setImmediate(resolve));

test("the output of what is chosen is asked for, and followed from where it ended", async () => {
  const { model, store, frames, requests } = lab();
  frames([two()]);
  assert.deepEqual(requests()[0].action, { do: "output", component: "w", name: "w-1", lines: 500 });
  model.emit({ type: "reply", request: requests()[0].request }, { records: [], cursor: "c7", more: false, first: "" });
  await settled();
  assert.deepEqual(model.sent.at(-1), { type: "select", selection: { component: "w", name: "w-1", since: "c7" } });
  store.select("w");
  assert.deepEqual(requests()[1].action, { do: "output", component: "w", lines: 500 });
  store.select("w");
  assert.equal(requests().length, 2);
});

test("of what was started in a shell there is no output to ask for", () => {
  const { frames, requests, store } = lab();
  frames([status(component("foo", [replica("foo")], { own: false, desired: 0 }))]);
  assert.equal(requests().length, 0);
  assert.equal(store.log.selection, null);
});

test("an action is under way until it is answered, and is not begun twice", async () => {
  const { model, store, frames, requests } = lab();
  frames([two()]);
  const done = store.act({ do: "stop", component: "w" });
  store.act({ do: "stop", component: "w" });
  assert.equal(store.pending.get("w"), "Stopping ...");
  const stops = requests().filter((m) => m.action.do === "stop");
  assert.equal(stops.length, 1);
  model.emit({ type: "reply", request: stops[0].request }, null);
  await done;
  assert.equal(store.pending.size + store.notes.size, 0);
});

test("what could not be done is told where it was asked for, until it is dismissed", async () => {
  const { model, store, frames, requests } = lab();
  frames([two()]);
  const done = store.act({ do: "scale", component: "w", replicas: 3 });
  const { request } = requests().at(-1);
  model.emit({ type: "reply", request, error: { text: "no node has room", hint: "add one" } });
  await done;
  assert.deepEqual(store.notes.get("w"), { text: "no node has room", hint: "add one" });
  store.dismiss("w");
  assert.equal(store.notes.size, 0);
});

test("a kernel that does not listen yet is told of", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { model, store, frames, requests } = lab();
  frames([two()]);
  store.act({ do: "stop", component: "w" });
  t.mock.timers.tick(2000);
  assert.match(store.pending.get("w"), /busy with a cell/);
  store.act({ do: "stop", component: "foo" });
  model.emit({ type: "accepted", request: requests().at(-1).request });
  t.mock.timers.tick(2000);
  assert.equal(store.pending.get("foo"), "Stopping ...");
});

test("silence is told, and a word ends it", () => {
  const { clock, store, frames } = lab();
  frames([two()]);
  clock.now = 5000;
  store.look();
  assert.equal(store.time, 205);
  assert.ok(store.isLive);
  clock.now = 8000;
  store.look();
  assert.ok(!store.isLive);
  frames([]);
  assert.ok(store.isLive);
});

test("a frozen panel says so", () => {
  const { store, frames } = lab();
  frames([two()], { live: false, note: "the cluster has ended" });
  assert.deepEqual([store.isLive, store.state.note], [false, "the cluster has ended"]);
});

test("while the registry is away time stands still, and goes on with it", () => {
  const { clock, store, frames } = lab();
  frames([two()]);
  frames([], { time: 260, away: 203 });
  clock.now = 3000;
  assert.ok(!store.isLive);
  assert.deepEqual([store.state.live, store.state.away, store.time], [true, 203, 200]);
  frames([], { time: 270 });
  assert.deepEqual([store.isLive, store.time], [true, 270]);
});

test("output that could not be had while the registry was away is asked for when it is back", async () => {
  const { model, store, frames, requests } = lab();
  frames([two()]);
  const asked = () => requests().filter((m) => m.action.do === "output");
  frames([], { away: 203 });
  store.select("foo");
  model.emit({ type: "reply", request: asked().at(-1).request, error: { text: "the registry does not answer", hint: "" } });
  await settled();
  assert.ok(store.log.error);
  store.select("w");
  const late = asked().at(-1).request;
  const before = asked().length;
  frames([]);
  assert.equal(asked().length, before + 1);
  assert.ok(requests().some((m) => m.action.do === "history"), "and what the curves miss");
  model.emit({ type: "reply", request: late }, { records: [], cursor: "old", more: false, first: "" });
  model.emit({ type: "reply", request: asked().at(-1).request }, { records: [], cursor: "new", more: false, first: "" });
  await settled();
  assert.deepEqual([store.log.error, store.log.live, model.sent.at(-1).selection?.since], [null, true, "new"]);
  frames([], { away: 300 });
  frames([]);
  assert.equal(asked().length, before + 1, "what is followed goes on by itself");
});

// A master with messages, and workers for it.
const busy = (samples, ...more) => [
  status(component("foo", [replica("foo")], { role: "master" }), component("w", [replica("w-0"), replica("w-1")], { master: "foo" }), ...more),
  metrics(200, samples),
];

test("to stop or restart a master that has messages is asked about first", async () => {
  const { store, frames, requests } = lab();
  const doings = () => requests().map((m) => m.action.do).filter((verb) => verb !== "output");
  frames(busy([{ name: "foo", queued: 10, running: 2 }]));
  store.act({ do: "stop", component: "foo" });
  assert.deepEqual(doings(), []);
  assert.match(store.questions.get("foo").text, /^12 messages are waiting or under way at foo\. Their clients keep them/);
  store.answer("foo", false);
  assert.deepEqual([store.questions.size, doings().length], [0, 0]);
  store.act({ do: "restart", component: "foo" });
  assert.match(store.questions.get("foo").text, /send them again to the new one; some may run twice/);
  store.answer("foo", true);
  assert.deepEqual([doings(), store.questions.size], [["restart"], 0]);
});

test("who has nothing to lose is not asked", () => {
  const { store, frames, requests } = lab();
  frames(busy([{ name: "foo", queued: 0, running: 0 }]));
  store.act({ do: "stop", component: "foo" });
  store.act({ do: "restart", component: "w" });
  assert.equal(store.questions.size, 0);
  assert.deepEqual(requests().slice(-2).map((m) => m.action.do), ["stop", "restart"]);
});

test("the last workers of a busy master are asked about, others are not", () => {
  const { store, frames } = lab();
  frames(busy([{ name: "foo", queued: 1, running: 0 }]));
  store.act({ do: "restart", component: "w" });
  assert.equal(store.questions.size, 0);
  store.pending.clear();
  store.act({ do: "scale", component: "w", replicas: 0 });
  assert.match(store.questions.get("w").text, /^1 message is waiting or under way at foo, and nobody else works for it/);
  frames(busy([{ name: "foo", queued: 1, running: 0 }], component("v", [replica("v-0")], { master: "foo" })));
  store.questions.clear();
  store.act({ do: "stop", component: "w" });
  assert.equal(store.questions.size, 0);
});

test("who looks again asks again", () => {
  const { store, frames, requests, model } = lab();
  frames([two()]);
  store.sleep();
  assert.equal(model.sent.at(-1).selection, null);
  const before = requests().filter((m) => m.action.do === "output").length;
  store.wake();
  assert.equal(requests().filter((m) => m.action.do === "output").length, before + 1);
});

test("while nobody looks no output is asked for, whatever comes", () => {
  const { store, frames, requests } = lab();
  const asked = () => requests().filter((m) => m.action.do === "output").length;
  store.sleep();
  frames([two()]);
  assert.equal(asked(), 0);
  store.wake();
  assert.equal(asked(), 1);
});

// ---- over HTTP

class Socket {
  static made = [];

  constructor(url) {
    this.url = url.href;
    Socket.made.push(this);
  }

  close() {
    this.closed = true;
  }
}

function page(answers) {
  Socket.made = [];
  const asked = [];
  globalThis.fetch = async (url, options = {}) => {
    asked.push([options.method ?? "GET", String(url), options]);
    const [code, value] = answers(String(url));
    return { ok: code < 400, status: code, json: async () => value };
  };
  const transport = new PageTransport("a/b", {
    address: (path) => new URL(path, "http://palm.test/x/"),
    headers: () => ({ "X-XSRF-Token": "t" }),
    socket: (url) => new Socket(url),
  });
  return { transport, asked };
}

test("a page reads frames from a socket, and goes on after a break", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { transport } = page(() => [200, {}]);
  const heard = [];
  transport.subscribe({ frames: (list) => heard.push(...list), link: (link) => heard.push(Boolean(link.away)) });
  const [first] = Socket.made;
  assert.equal(first.url, "ws://palm.test/x/api/clusters/a%2Fb/live?topics=status%2Cmetrics%2Cevents&since=start");
  first.onopen();
  first.onmessage({ data: JSON.stringify({ topic: "events", cursor: "c5", data: {} }) });
  first.onclose();
  assert.deepEqual(heard.map((each) => each.topic ?? each), [false, "events", true]);
  t.mock.timers.tick(300);
  assert.match(Socket.made[1].url, /since=c5$/);
  Socket.made[1].onopen();
  assert.equal(heard.at(-1), false);
});

test("the connection for output says nothing of how the panel lives", () => {
  const { transport } = page(() => [200, {}]);
  const links = [];
  transport.subscribe({ frames: () => {}, link: (link) => links.push(link) });
  transport.select({ component: "w", since: "c1" });
  Socket.made.at(-1).onopen();
  assert.deepEqual(links, []);
});

test("a page follows one output at a time", () => {
  const { transport } = page(() => [200, {}]);
  transport.select({ component: "w", since: "c1" });
  transport.select({ component: "x", since: "c2" });
  assert.ok(Socket.made[0].closed);
  assert.match(Socket.made[1].url, /topics=output&component=x&since=c2/);
  transport.select(null);
  assert.ok(Socket.made[1].closed);
});

test("a socket that is not open yet is closed once it is, and what it says meanwhile is nothing", () => {
  const { transport } = page(() => [200, {}]);
  transport.select({ component: "w", since: "c1" });
  const socket = Socket.made.at(-1);
  socket.readyState = 0;
  transport.select(null);
  assert.ok(!socket.closed && !socket.onmessage);
  socket.onopen();
  assert.ok(socket.closed);
});

test("a page's actions are requests, and their refusals failures with a hint", async () => {
  const { transport, asked } = page((url) => (url.includes("/scale") ? [400, { error: { text: "too many", hint: "fewer" } }] : [200, {}]));
  await transport.request({ do: "stop", component: "w 1" });
  const [method, url, options] = asked[0];
  assert.deepEqual([method, url], ["POST", "http://palm.test/x/api/clusters/a%2Fb/components/w%201/stop"]);
  assert.equal(options.headers["X-XSRF-Token"], "t");
  const refused = transport.request({ do: "scale", component: "w", replicas: 9 });
  await assert.rejects(refused, (error) => error instanceof Failure && error.hint === "fewer");
  await transport.request({ do: "output", component: "w", name: "", lines: 5 });
  assert.equal(asked.at(-1)[1], "http://palm.test/x/api/clusters/a%2Fb/output?component=w&lines=5");
});
