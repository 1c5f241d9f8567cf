// What an action would do to messages that wait or are under way: such actions are asked about first.

import { grouped } from "./format.js";
import { measures, total } from "./series.js";

const MASTERS = ["master", "hub"];
const VERB = { stop: "Stop", restart: "Restart", scale: "Scale" };

// What an action means, if it is worth a question: {text, yes, no}; null if it is not.
export function question(state, action) {
  const component = state.components.find((each) => each.name === action.component);
  const text = component ? consequence(state, component, action) : "";
  if (!text) return null;
  const yes = `${VERB[action.do]} ${component.name}`;
  return { text, yes, no: "Leave it" };
}

function consequence(state, component, action) {
  const ends = action.do === "stop" || (action.do === "scale" && action.replicas < 1);
  if (MASTERS.includes(component.role)) return ofMaster(state, component, action, ends);
  if (component.role === "worker") return ends ? ofLastWorkers(state, component) : "";
  const open = openAt(state, component);
  if (!ends || !open) return "";
  return `${messages(open)} on the way through ${component.name}: those that it is not back for within half a minute fail.`;
}

function ofMaster(state, component, action, ends) {
  const open = openAt(state, component);
  if (!open) return "";
  const said = `${messages(open)} waiting or under way at ${component.name}.`;
  if (ends) return `${said} Their clients keep them, and wait until it is started again.`;
  return action.do === "restart" ? `${said} Their clients send them again to the new one; some may run twice.` : "";
}

// Who is the last to work for a master leaves its messages waiting.
function ofLastWorkers(state, component) {
  const master = state.components.find((each) => each.name === component.master);
  const open = master ? openAt(state, master) : 0;
  if (!open) return "";
  const others = state.components.filter(
    (each) => each.role === "worker" && each.master === master.name && each.name !== component.name && each.ready > 0,
  );
  if (others.length) return "";
  return `${messages(open)} waiting or under way at ${master.name}, and nobody else works for it: they wait until there are workers again.`;
}

function openAt(state, component) {
  const samples = component.processes.map((each) => state.samples.get(each.name)).filter(Boolean);
  return total(samples.map((each) => measures(each).queue)) ?? 0;
}

function messages(count) {
  return count === 1 ? "1 message is" : `${grouped(count)} messages are`;
}
