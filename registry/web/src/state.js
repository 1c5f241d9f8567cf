// What is known of a cluster, from the registry's frames. No DOM, no clock, no transport.

import { KINDS, addPoint, emptySeries, measures } from "./series.js";

const KEPT_EVENTS = 200;

export function createState(cluster = "") {
  return {
    cluster,
    time: 0, // of what is shown, by the clock of whoever sent it
    live: true,
    note: "",
    away: 0, // since when the registry does not answer; 0: it does
    over: "", // "ending" or "ended"
    known: false, // a status has come
    components: [],
    missing: [],
    samples: new Map(), // process -> its newest sample
    series: new Map(), // process -> its curves
    events: [], // newest last
  };
}

// Take in one frame; output is not of the state, see log.js.
export function applyFrame(state, frame) {
  if (frame.topic === "status") takeStatus(state, frame.data);
  else if (frame.topic === "metrics") takeMetrics(state, frame.data);
  else if (frame.topic === "events") takeEvent(state, frame.data);
}

function takeStatus(state, status) {
  state.known = true;
  state.cluster = status.cluster || state.cluster;
  state.over = status.state && status.state !== "alive" ? status.state : "";
  state.time = Math.max(state.time, status.time ?? 0);
  state.missing = status.missing ?? [];
  state.components = status.components.map(componentOf).sort(inPlace);
  const present = new Set(state.components.flatMap((c) => c.processes.map((p) => p.name)));
  for (const known of [state.samples, state.series]) {
    for (const name of [...known.keys()]) if (!present.has(name)) known.delete(name);
  }
}

function componentOf(status) {
  const replicas = status.replicas ?? [];
  return {
    name: status.name,
    role: status.role,
    state: status.state,
    desired: Math.max(0, status.desired - (status.done ?? 0)),
    ready: status.actual,
    own: status.own !== false,
    master: status.master ?? "",
    reason: status.reason ?? "",
    functions: status.functions ?? [],
    kernel: Boolean(status.kernel),
    // While there is no process, a line that says why.
    processes: replicas.length
      ? replicas.map(processOf)
      : [processOf({ name: status.name, state: status.state, reason: status.reason })],
  };
}

function processOf(replica) {
  const pid = replica.pid ?? null;
  return {
    name: replica.name,
    state: replica.state,
    pid,
    node: replica.node ?? "",
    restarts: replica.restarts ?? 0,
    started: pid === null ? null : (replica.started ?? null),
    exit: replica.exit ?? null,
    reason: replica.reason ?? "",
    lastLines: replica.last_lines ?? "",
  };
}

// Masters stand before their workers.
function inPlace(a, b) {
  const place = (c) => [c.master || c.name, c.master ? 1 : 0, c.name];
  const [x, y] = [place(a), place(b)];
  for (let i = 0; i < 3; i += 1) if (x[i] !== y[i]) return x[i] < y[i] ? -1 : 1;
  return 0;
}

function takeMetrics(state, metrics) {
  state.time = Math.max(state.time, metrics.time ?? 0);
  for (const { name, points } of metrics.series ?? []) takeHistory(state, name, points);
  for (const sample of metrics.samples) {
    state.samples.set(sample.name, sample);
    addPoint(seriesOf(state, sample.name), metrics.time, measures(sample));
  }
}

// What was kept before we began to look goes before what has come since.
function takeHistory(state, name, points) {
  const since = seriesOf(state, name);
  const whole = emptySeries();
  for (const point of points) addPoint(whole, point.time, measures(point));
  since.time.forEach((time, i) => {
    addPoint(whole, time, Object.fromEntries(KINDS.map((kind) => [kind, since[kind][i]])));
  });
  state.series.set(name, whole);
}

export function seriesOf(state, process) {
  let series = state.series.get(process);
  if (!series) state.series.set(process, (series = emptySeries()));
  return series;
}

function takeEvent(state, event) {
  if (state.events.some((known) => known.seq === event.seq)) return;
  state.events.push(event);
  if (state.events.length > KEPT_EVENTS) state.events.shift();
}

export function processNamed(state, name) {
  for (const component of state.components) {
    const process = component.processes.find((p) => p.name === name);
    if (process) return { component, process };
  }
  return null;
}
