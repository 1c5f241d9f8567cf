// Numbers and times as a person reads them, never wider than their column.

export const NONE = "\u2013";

export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, "0");
  const minutes = Math.floor(whole / 60) % 60;
  const hours = Math.floor(whole / 3600);
  if (hours >= 24) return `${Math.floor(hours / 24)} d ${hours % 24} h`;
  if (hours) return `${hours}:${two(minutes)}:${two(whole % 60)}`;
  return `${minutes}:${two(whole % 60)}`;
}

// How long something takes, from microseconds up.
export function span(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} \u00b5s`;
  if (seconds < 1) return `${significant(seconds * 1000)} ms`;
  if (seconds < 60) return `${significant(seconds)} s`;
  return duration(seconds);
}

export function clock(time) {
  return new Date(time * 1000).toLocaleTimeString([], { hour12: false });
}

// A time of today; of another day, with its date.
export function moment(time, now) {
  const date = new Date(time * 1000);
  const today = date.toDateString() === new Date(now * 1000).toDateString();
  return today ? clock(time) : `${date.toLocaleDateString("sv")} ${clock(time)}`;
}

export function timestamp(time) {
  const date = new Date(time * 1000);
  const two = (n) => String(n).padStart(2, "0");
  const day = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return `${day}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

export function bytes(size) {
  if (size === null || size === undefined) return NONE;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  let value = size;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit ? significant(value) : Math.round(value)} ${units[unit]}`;
}

export function percent(value) {
  if (value === null || value === undefined) return NONE;
  return value > 0 && value < 0.95 ? `${value.toFixed(1)} %` : `${Math.round(value)} %`;
}

// 0, 0.4, 12, 340, 1.2k, 56k, 3.1M
export function short(value) {
  if (value === null || value === undefined) return NONE;
  if (value === 0) return "0";
  if (value < 9.95) return Number.isInteger(value) ? String(value) : value.toFixed(1);
  if (value < 999.5) return String(Math.round(value));
  const units = ["k", "M", "G"];
  let unit = -1;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${significant(value)}${units[unit]}`;
}

export function rate(value) {
  return value === null || value === undefined ? NONE : `${short(value)}/s`;
}

export function grouped(value) {
  return value.toLocaleString("en-US");
}

export function plural(count, one, many = `${one}s`) {
  return `${grouped(count)} ${count === 1 ? one : many}`;
}

// To a tenth: of a pixel, mostly.
export function round(value) {
  return Math.round(value * 10) / 10;
}

function significant(value) {
  return value < 9.95 ? value.toFixed(1) : String(Math.round(value));
}
