// The last few minutes of each process as numbers, oldest first.

export const KEPT = 150; // points: five minutes, as runners sample every two seconds
export const KINDS = ["cpu", "rss", "rate", "queue"];

export function emptySeries() {
  return { time: [], cpu: [], rss: [], rate: [], queue: [] };
}

// The numbers of a sample, or of a point that was kept, as they are drawn.
export function measures(sample) {
  return {
    cpu: sample.cpu ?? null,
    rss: sample.rss ?? null,
    rate: sample.rate_out ?? sample.rate_in ?? null,
    queue: (sample.queued ?? 0) + (sample.running ?? 0),
  };
}

export function addPoint(series, time, values) {
  const last = series.time[series.time.length - 1];
  if (last !== undefined && time <= last) return; // the same one again, after a new connection
  series.time.push(time);
  for (const kind of KINDS) series[kind].push(values[kind]);
  if (series.time.length > KEPT) for (const kind of ["time", ...KINDS]) series[kind].shift();
}

// Several processes as one: sums, on the times of the longest. Runners sample all at once, so points
// of the same number belong together.
export function together(all) {
  const filled = all.filter((each) => each.time.length);
  if (filled.length < 2) return filled[0] ?? emptySeries();
  const longest = filled.reduce((a, b) => (b.time.length > a.time.length ? b : a));
  const n = longest.time.length;
  const joint = { ...emptySeries(), time: longest.time };
  for (const kind of KINDS) {
    joint[kind] = Array.from({ length: n }, (_, i) =>
      total(filled.map((each) => each[kind][each.time.length - n + i] ?? null)),
    );
  }
  return joint;
}

export function total(values) {
  const known = values.filter((value) => value !== null && value !== undefined);
  return known.length ? known.reduce((a, b) => a + b, 0) : null;
}
