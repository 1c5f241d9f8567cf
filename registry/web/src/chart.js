// The curves of what is chosen, large: processor, memory, rate and queue of the last minutes.

import uPlot from "../vendor/uPlot.js";
import { element, setText } from "./dom.js";
import { bytes, clock, percent, rate, short } from "./format.js";
import { KINDS, together } from "./series.js";
import { processNamed, seriesOf } from "./state.js";

const TITLES = { cpu: "CPU", rss: "Memory", rate: "Results", queue: "Queue" };
const TEXTS = { cpu: percent, rss: bytes, rate, queue: short };
const CHART_HEIGHT = 132;
const AXIS = 56;

export function createCharts(store) {
  const charts = KINDS.map((kind) => createChart(kind));
  const empty = element("p", "palm-quiet");
  const grid = element("div", "palm-charts", ...charts.map((each) => each.node));
  const node = element("div", "", empty, grid);
  const watched = new ResizeObserver(() => charts.forEach((each) => each.fit()));
  watched.observe(grid);

  function update() {
    const series = seriesNamed(store.state, store.current);
    const known = series.time.length > 1;
    empty.hidden = known;
    grid.hidden = !known;
    setText(empty, store.current === null ? "" : "No samples yet: they come every two seconds from what runs here.");
    if (known) for (const each of charts) each.update(series);
  }

  return { node, update, close: () => watched.disconnect() };
}

function seriesNamed(state, name) {
  const found = processNamed(state, name ?? "");
  if (found) return seriesOf(state, name);
  const component = state.components.find((c) => c.name === name);
  return together((component?.processes ?? []).map((p) => seriesOf(state, p.name)));
}

function createChart(kind) {
  const value = element("span", "palm-value");
  const head = element("div", "palm-chart-head", TITLES[kind], value);
  const place = element("div", "palm-chart-place");
  const node = element("figure", `palm-chart palm-chart-${kind}`, head, place);
  node.setAttribute("aria-label", TITLES[kind]);
  let plot = null;
  let colours = "";

  function update(series) {
    setText(value, TEXTS[kind](series[kind][series[kind].length - 1]));
    const data = [series.time, series[kind]];
    // The theme may have changed: a canvas does not follow it.
    const now = colour(node, "--palm-curve") + colour(node, "--palm-muted");
    if (plot && now === colours) {
      plot.setData(data);
      return;
    }
    plot?.destroy();
    colours = now;
    plot = place.clientWidth ? new uPlot(options(node, kind, place.clientWidth), data, place) : null;
  }

  return {
    node,
    update,
    fit() {
      const width = place.clientWidth;
      if (plot && width && plot.width !== width) plot.setSize({ width, height: CHART_HEIGHT });
    },
  };
}

function colour(node, name) {
  return getComputedStyle(node).getPropertyValue(name).trim();
}

function options(node, kind, width) {
  const [curve, muted, line] = ["--palm-curve", "--palm-muted", "--palm-grid"].map((n) => colour(node, n));
  const font = "11px system-ui, sans-serif";
  const axis = { stroke: muted, font, ticks: { show: false }, grid: { stroke: line, width: 1 } };
  return {
    width,
    height: CHART_HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: { y: { range: (_plot, _low, high) => [0, Math.max(high ?? 0, 1) * 1.1] } },
    axes: [
      { ...axis, space: 80, grid: { show: false }, values: (_plot, ticks) => ticks.map(clock) },
      { ...axis, size: AXIS, space: 28, values: (_plot, ticks) => ticks.map((tick) => TEXTS[kind](tick)) },
    ],
    series: [{}, { stroke: curve, width: 1.5, points: { show: false }, spanGaps: true }],
  };
}
