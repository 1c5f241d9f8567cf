// How far a job is: done, failed, retried, rate, remaining time, and what each worker does.

import { arrange, element, fact, setAttribute, setClass, setText, svg } from "./dom.js";
import { NONE, clock, duration, grouped, rate, span } from "./format.js";
import { createSparkline } from "./sparkline.js";

const CURVE = 60; // points of the curve
const WORKERS = 12; // that are shown; the rest is added up

const DOTS = { running: "starting", paused: "backing-off", done: "ready", cancelled: "stopped", failed: "failed" };

// The texts of a card.
export function factsOf(job) {
  const { done, failed, retried, total } = job;
  const facts = [["Done", total === null ? grouped(done) : `${grouped(done)} of ${grouped(total)}`]];
  facts.push(["Failed", grouped(failed)], ["Retried", grouped(retried)], ["Rate", rate(job.rate)]);
  const over = ["done", "cancelled", "failed"].includes(job.state);
  facts.push(over ? ["Took", took(job.elapsed)] : ["Remaining", job.remaining === null ? NONE : duration(job.remaining)]);
  return facts;
}

// How a job is: [state for the dot, words]. One that is done may have failed in part.
export function howIs({ state, failed }) {
  if (state === "done" && failed) return ["backing-off", `done, ${grouped(failed)} failed`];
  return [DOTS[state] ?? "starting", state];
}

function took(seconds) {
  return seconds < 60 ? span(seconds) : duration(seconds);
}

// Parts of the whole that are done and failed, from 0 to 1; null if there is no whole.
export function partsOf({ done, failed, total }) {
  if (!total) return null;
  return { good: (done - failed) / total, bad: failed / total };
}

// The busiest workers, and the rest as one.
export function workersOf(workers) {
  const sorted = [...workers].sort((a, b) => b.done - a.done || (a.name < b.name ? -1 : 1));
  if (sorted.length <= WORKERS) return sorted.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  const rest = sorted.splice(WORKERS - 1);
  const sum = (kind) => rest.reduce((n, each) => n + each[kind], 0);
  return [...sorted, { name: `${rest.length} others`, done: sum("done"), failed: sum("failed"), seconds: sum("seconds") }];
}

export function createJobCard(root) {
  const curve = [];
  const dot = element("span", "palm-dot");
  dot.setAttribute("aria-hidden", "true");
  const words = element("span");
  words.setAttribute("role", "status");
  const badge = element("span", "palm-state", dot, words);
  const title = element("strong");
  const spark = createSparkline("rate");
  const age = element("span", "palm-age");
  const head = element("header", "palm-head", element("span", "palm-title", "Job ", title), badge, age);
  const good = element("span", "palm-good");
  const bad = element("span", "palm-bad");
  const bar = element("div", "palm-progress", good, bad);
  bar.setAttribute("role", "progressbar");
  bar.setAttribute("aria-valuemin", 0);
  bar.setAttribute("aria-valuemax", 100);
  bar.setAttribute("aria-label", "Done");
  const facts = element("div", "palm-facts");
  const workers = element("div", "palm-shares");
  workers.setAttribute("role", "list");
  workers.setAttribute("aria-label", "Per worker");
  const error = element("p", "palm-job-error");
  const node = element("section", "palm-panel palm-job", head, bar, element("div", "palm-job-body", facts, spark.node), error, workers);
  root.append(node);
  const cells = new Map();
  const shares = new Map();

  function update(job) {
    node.setAttribute("aria-label", `job ${job.function}`);
    setText(title, job.function);
    const [state, said] = howIs(job);
    badge.dataset.state = state;
    setText(words, said);
    setText(age, job.live ? "live" : `as of ${clock(job.time)}`);
    drawBar(job);
    arrange(facts, factsOf(job).map(([name, value]) => drawFact(name, value, job)));
    if (job.state === "running" && job.recent !== null) curve.push(job.recent);
    if (curve.length > CURVE) curve.shift();
    spark.update(curve, 1);
    error.hidden = !job.error;
    setText(error, job.error);
    drawShares(workersOf(job.workers));
  }

  function drawBar(job) {
    const parts = partsOf(job);
    setClass(bar, "palm-unknown", !parts && job.state === "running");
    const share = parts ?? { good: job.state === "done" ? 1 : 0, bad: 0 };
    good.style.width = `${100 * share.good}%`;
    bad.style.width = `${100 * share.bad}%`;
    setAttribute(bar, "aria-valuenow", parts ? Math.round(100 * (share.good + share.bad)) : null);
  }

  function drawFact(name, value, job) {
    if (!cells.has(name)) {
      const text = element("span", "palm-fact-value");
      cells.set(name, { text, node: fact(name, text) });
    }
    const cell = cells.get(name);
    setText(cell.text, value);
    setClass(cell.node, "palm-noted", name === "Failed" && job.failed > 0);
    return cell.node;
  }

  function drawShares(list) {
    workers.hidden = !list.length;
    const most = Math.max(1, ...list.map((each) => each.done));
    for (const name of [...shares.keys()]) if (!list.some((each) => each.name === name)) shares.delete(name);
    arrange(workers, list.map((each) => {
      if (!shares.has(each.name)) shares.set(each.name, createShare());
      return shares.get(each.name).update(each, most);
    }));
  }

  return { update, destroy: () => node.remove() };
}

function createShare() {
  const name = element("span", "palm-share-name");
  const part = svg("rect", { height: 6, rx: 3 });
  const bar = svg("svg", { class: "palm-share-bar", preserveAspectRatio: "none", viewBox: "0 0 100 6", "aria-hidden": "true" }, part);
  const text = element("span", "palm-share-text");
  const node = element("div", "palm-share", name, bar, text);
  node.setAttribute("role", "listitem");
  return {
    update(worker, most) {
      setText(name, worker.name);
      setAttribute(part, "width", Math.round((1000 * worker.done) / most) / 10);
      const failed = worker.failed ? `, ${grouped(worker.failed)} failed` : "";
      const each = worker.done ? `, ${span(worker.seconds / worker.done)} each` : "";
      setText(text, `${grouped(worker.done)}${failed}${each}`);
      return node;
    },
  };
}
