// Times and how long ago they were, as people read them. No DOM.

const UNITS = [
  [86400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
];

export function lasting(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [size, name] = UNITS.find(([least]) => whole >= least) ?? [1, "s"];
  return `${Math.floor(whole / size)} ${name}`;
}

export function ago(seconds) {
  return `${lasting(seconds)} ago`;
}

export function stamp(time) {
  const date = new Date(time * 1000);
  const two = (n) => String(n).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}
