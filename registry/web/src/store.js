// What the views of one panel share: the state, the output, what is chosen, what is under way.

import { question } from "./asking.js";
import { Log } from "./log.js";
import { chosen } from "./rows.js";
import { applyFrame, createState, processNamed } from "./state.js";

export const SILENCE = 7000; // milliseconds without a word after which nobody seems to be there
const DOING = { stop: "Stopping", start: "Starting", restart: "Restarting", scale: "Scaling" };

export class Store {
  // Who may not act (`mayAct`) is offered no buttons for it.
  constructor(transport, { now = () => performance.now(), mayAct = true } = {}) {
    this.transport = transport;
    this.mayAct = mayAct;
    this.now = now;
    this.state = createState();
    this.heard = this.at = now(); // of the last word; when the state's time was true
    this.lost = false;
    this.asleep = false;
    this.selected = null; // by the reader
    this.shown = undefined; // whose output is open
    this.folded = new Map();
    this.pending = new Map(); // component -> what is under way, in words
    this.notes = new Map(); // component -> {text, hint} of what failed
    this.questions = new Map(); // component -> {action, text, yes, no} of what is asked about first
    this.listeners = new Set();
    this.log = new Log({
      ask: (action) => transport.request(action),
      follow: (selection) => transport.select(selection),
      changed: () => this.tell("log"),
    });
    this.unsubscribe = transport.subscribe({
      frames: (frames) => this.takeFrames(frames),
      link: (link) => this.takeLink(link),
    });
  }

  // Curves begin with what was kept; without it, they grow from here.
  async fetchHistory() {
    try {
      this.takeFrames([{ topic: "metrics", data: await this.transport.request({ do: "history" }) }]);
    } catch (error) {
      console.debug("no earlier samples:", error.message);
    }
  }

  // Nobody looks any more; or somebody does again.
  sleep() {
    this.asleep = true;
    this.shown = undefined;
    this.log.open(null);
  }

  wake() {
    this.asleep = false;
    if (this.state.known && this.shown === undefined) this.show();
    this.fetchHistory();
  }

  subscribe(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  tell(what) {
    for (const listener of this.listeners) listener(what);
  }

  close() {
    this.unsubscribe();
    this.transport.select(null);
  }

  // Seconds since the epoch, there.
  get time() {
    return this.state.time + (this.isLive ? (this.now() - this.at) / 1000 : 0);
  }

  get isLive() {
    return this.state.live && !this.lost && !this.state.away;
  }

  takeLink({ live, note = "", time, away = 0 }) {
    const { state } = this;
    const back = state.away && !away && live;
    const changed = state.live !== live || state.note !== note || state.away !== away || this.lost;
    Object.assign(state, { live, note, away });
    this.lost = false;
    this.heard = this.now();
    if (time && !away) {
      state.time = time;
      this.at = this.heard;
    }
    if (back) this.catchUp();
    if (changed) this.tell("status");
  }

  // The registry is back: what could not be had meanwhile can.
  catchUp() {
    this.log.catchUp();
    this.fetchHistory();
  }

  takeFrames(frames) {
    const told = new Set();
    const before = this.state.time;
    for (const frame of frames) {
      if (frame.topic === "output") this.log.take(frame.data);
      else if (frame.topic === "skipped") this.takeSkipped(frame.data);
      else applyFrame(this.state, frame);
      told.add(frame.topic);
    }
    this.heard = this.now();
    if (this.state.time !== before) this.at = this.heard;
    if (told.has("status")) this.show();
    for (const what of told) if (what !== "output" && what !== "skipped") this.tell(what);
  }

  takeSkipped({ topic, size }) {
    if (topic === "output") this.log.skip(size ?? 0);
  }

  // Called every second: whether anybody is there.
  look() {
    const silent = this.state.live && this.now() - this.heard > SILENCE;
    if (silent === this.lost) return;
    this.lost = silent;
    this.tell("status");
  }

  // ---- what is chosen

  get current() {
    return chosen(this.state, this.selected);
  }

  select(name) {
    this.selected = name;
    this.show();
    this.tell("status");
  }

  fold(component, closed) {
    this.folded.set(component, closed);
    this.tell("status");
  }

  // Open the output of what is chosen, if it is not.
  show() {
    if (this.asleep) return;
    const selection = this.selection();
    const key = JSON.stringify(selection);
    if (key === this.shown) return;
    this.shown = key;
    this.log.open(selection);
  }

  selection() {
    const name = this.current;
    const found = name === null ? null : processNamed(this.state, name);
    if (found && !found.component.own) return null;
    if (found && found.component.processes.length > 1) {
      return { component: found.component.name, name };
    }
    return name === null ? null : { component: found?.component.name ?? name };
  }

  // ---- what is done

  // Do it; or ask about it first, if that is worth a question and nobody has said that they are sure.
  async act(action, { sure = false } = {}) {
    const { component } = action;
    if (this.pending.has(component)) return;
    this.questions.delete(component);
    const asked = sure ? null : question(this.state, action);
    if (asked) {
      this.questions.set(component, { action, ...asked });
      this.tell("status");
      return;
    }
    this.pending.set(component, `${DOING[action.do]} ...`);
    this.notes.delete(component);
    this.tell("status");
    const waits = () => {
      this.pending.set(component, "The kernel is busy with a cell; this is done once it listens.");
      this.tell("status");
    };
    try {
      await this.transport.request(action, { waits });
    } catch (error) {
      this.notes.set(component, { text: `${error.message}`, hint: error.hint ?? "" });
    }
    this.pending.delete(component);
    this.tell("status");
  }

  // The answer to what was asked about a component.
  answer(component, sure) {
    const asked = this.questions.get(component);
    this.questions.delete(component);
    if (asked && sure) this.act(asked.action, { sure });
    else this.tell("status");
  }

  dismiss(component) {
    this.notes.delete(component);
    this.tell("status");
  }
}
