// What the registry says, as the tests need it.

export function replica(name, state = "ready", more = {}) {
  return { name, state, pid: state === "ready" ? 4711 : null, restarts: 0, started: 100, reason: "", ...more };
}

export function component(name, replicas, more = {}) {
  const ready = replicas.filter((r) => r.state === "ready").length;
  const state = replicas.every((r) => r.state === "ready") ? "ready" : replicas.find((r) => r.state !== "ready").state;
  return { name, role: "worker", state, desired: replicas.length, actual: ready, replicas, functions: [], master: "", ...more };
}

export function status(...components) {
  return { topic: "status", cursor: "", data: { cluster: "lab", ready: true, state: "alive", time: 200, missing: [], components } };
}

export function metrics(time, samples, series = []) {
  return { topic: "metrics", cursor: "", data: { cluster: "lab", time, samples, series } };
}

export function record(offset, text, more = {}) {
  return { component: "w", name: "w-0", instance: "w.1", stream: "stdout", offset, time: 50, cursor: "c", text, ...more };
}
