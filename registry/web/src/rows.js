// The lines of the table, and how the cluster is, as plain values.

import { plural } from "./format.js";
import { measures, together, total } from "./series.js";
import { seriesOf } from "./state.js";

export const STATES = {
  ready: "ready",
  starting: "starting",
  "backing-off": "backing off",
  stopping: "stopping",
  stopped: "stopped",
  failed: "failed",
  unknown: "unknown",
};
const FOLDED_FROM = 9; // replicas from which a component starts folded
const PLAIN_ENDS = ["was stopped", "ended with exit code 0"];
const SCALED = ["worker"]; // roles of which there may be several

// How the cluster is: [state for the dot, words].
export function summary(state) {
  const own = state.components.filter((c) => c.own);
  const wanted = own.reduce((n, c) => n + c.desired, 0);
  const missing = own.reduce((n, c) => n + Math.max(0, c.desired - c.ready), 0);
  if (state.over) return ["stopped", state.over];
  if (!state.components.length) return ["stopped", "no components"];
  if (missing) {
    const worst = own.some((c) => c.state === "failed") ? "failed" : "starting";
    return [worst, `${wanted - missing} of ${wanted} ready`];
  }
  if (wanted) return ["ready", wanted === 1 ? "1 process ready" : `${wanted} processes ready`];
  return ["stopped", own.length ? "stopped" : "nothing started here"];
}

// What is wanted and not there, in words.
export function configuration(state) {
  return state.missing.map(({ component, count, why }) => ({
    component,
    text: `${plural(count, "process", "processes")} of ${component} missing`,
    why,
  }));
}

// Whether the reason for a state is worth a line.
export function isNews(process) {
  if (!process.reason) return false;
  if (process.state === "stopped") return !PLAIN_ENDS.includes(process.reason);
  return process.state === "failed" || process.state === "backing-off";
}

export function isFolded(component, folded) {
  return folded.get(component.name) ?? component.processes.length >= FOLDED_FROM;
}

export function rowsOf(state, folded) {
  return state.components.flatMap((component) => {
    const [first, ...others] = component.processes;
    if (!others.length) return [single(state, component, first)];
    const closed = isFolded(component, folded);
    const replicas = component.processes.map((p) => replica(state, component, p));
    return [group(state, component, closed), ...(closed ? [] : replicas)];
  });
}

function single(state, component, process) {
  return {
    ...common(component),
    ...used(state, [process]),
    key: `component ${component.name}`,
    kind: "single",
    name: process.name,
    selects: process.name,
    state: process.state,
    words: words(component, process),
    restarts: process.restarts,
    started: process.started,
    why: isNews(process) ? `It ${process.reason}.` : "",
  };
}

function group(state, component, closed) {
  const { processes } = component;
  const over = processes.every((p) => p.state === "stopped");
  const ready = `${component.ready} of ${wantedOf(component)} ready`;
  const other = component.state === "ready" ? "" : `, ${STATES[component.state] ?? component.state}`;
  return {
    ...common(component),
    ...used(state, processes),
    key: `component ${component.name}`,
    kind: "group",
    name: component.name,
    selects: component.name,
    state: component.state,
    words: over ? "stopped" : `${ready}${other}`,
    restarts: processes.reduce((n, p) => n + p.restarts, 0),
    started: null,
    closed,
    why: waitingOf(state, component),
  };
}

// How many processes are wanted, or there; while some have no place yet, there are fewer.
export function wantedOf(component) {
  return Math.max(component.desired, component.processes.length);
}

// Of one with processes that run: what those wait for that there are none of yet.
function waitingOf(state, { name }) {
  const waiting = state.missing.find(({ component, why }) => component === name && why.startsWith("waits for"));
  return waiting ? `${plural(waiting.count, "process", "processes")} not started: ${waiting.why}.` : "";
}

function replica(state, component, process) {
  return {
    ...single(state, component, process),
    key: `process ${process.name}`,
    kind: "replica",
    role: "",
    actions: [],
    scale: null,
  };
}

function common(component) {
  const running = component.desired > 0 || !component.own;
  const actions = component.own ? (running ? ["restart", "stop"] : ["start"]) : ["stop"];
  const scale = component.own && running && SCALED.includes(component.role);
  return {
    component: component.name,
    role: component.role,
    own: component.own,
    actions,
    scale: scale ? component.desired : null,
  };
}

function words(component, process) {
  const text = STATES[process.state] ?? process.state;
  return component.own ? text : `${text}, elsewhere`;
}

function used(state, processes) {
  const alive = processes.filter((p) => p.pid !== null); // the last sample of others says nothing
  const now = alive.map((p) => state.samples.get(p.name)).filter(Boolean).map(measures);
  const sum = (kind) => total(now.map((each) => each[kind]));
  return {
    values: { cpu: sum("cpu"), rss: sum("rss"), rate: sum("rate"), queue: sum("queue") },
    series: together(processes.map((p) => seriesOf(state, p.name))),
  };
}

// Whose output is shown: what was chosen while it exists, else what needs attention, else the latest.
export function chosen(state, selected) {
  const all = state.components.flatMap((c) => c.processes.map((p) => [p, c.own]));
  const names = new Set([...all.map(([p]) => p.name), ...state.components.map((c) => c.name)]);
  if (names.has(selected)) return selected;
  const own = all.filter(([, mine]) => mine).map(([p]) => p);
  const bad = own.find((p) => p.state === "failed" || p.state === "backing-off");
  return (bad ?? own[own.length - 1] ?? all[0]?.[0])?.name ?? null;
}
