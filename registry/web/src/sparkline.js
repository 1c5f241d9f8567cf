// A curve the size of a word. Hundreds of them are drawn, so it is one path and nothing else.

import { setAttribute, svg } from "./dom.js";
import { round } from "./format.js";

export const WIDTH = 48;
export const HEIGHT = 16;
const POINTS = 45;

// The line and the area below it; "" where there are fewer than two values.
export function paths(values, { width = WIDTH, height = HEIGHT, least = 0 } = {}) {
  const shown = values.slice(-POINTS);
  const known = shown.filter((value) => value !== null && value !== undefined);
  if (known.length < 2) return { line: "", area: "" };
  const top = Math.max(least, ...known) || 1;
  const step = (width - 2) / (POINTS - 1);
  const at = shown
    .map((value, i) => [width - 1 - (shown.length - 1 - i) * step, value])
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([x, value]) => [round(x), round(height - 1.5 - (value / top) * (height - 3))]);
  const line = at.map(([x, y], i) => `${i ? "L" : "M"}${x} ${y}`).join("");
  return { line, area: `${line}L${at[at.length - 1][0]} ${height}L${at[0][0]} ${height}Z` };
}

export function createSparkline(kind) {
  const area = svg("path", { class: "palm-area" });
  const line = svg("path", { class: "palm-curve" });
  const node = svg(
    "svg",
    { class: `palm-spark palm-spark-${kind}`, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" },
    area,
    line,
  );
  return {
    node,
    update(values, least) {
      const drawn = paths(values, { least });
      setAttribute(line, "d", drawn.line || null);
      setAttribute(area, "d", drawn.area || null);
    },
  };
}
