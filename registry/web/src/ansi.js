// What components print, made safe and readable: colours are kept, everything else that would move
// a cursor or hide something is taken out or shown.

const SEQUENCE = new RegExp(
  [
    "(?:\\x1b\\[|\\x9b)([0-?]*)([ -/]*)([@-~])", // CSI; an SGR if it ends in "m"
    "(?:\\x1b[\\]PX^_]|[\\x90\\x98\\x9d-\\x9f])[^\\x07\\x1b\\x9c]*(?:\\x07|\\x1b\\\\|\\x9c|$)", // titles, links
    "\\x1b[ -/]*[0-Z\\\\^-~]", // short ones
  ].join("|"),
  "g",
);
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/g;
const BIDI = /[\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

// What a progress bar wrote over is gone.
export function lastVersion(line) {
  const trimmed = line.replace(/\r+$/, "");
  return trimmed.slice(trimmed.lastIndexOf("\r") + 1);
}

// Controls become pictures of themselves, what turns or hides text its number.
export function visible(text) {
  return text
    .replace(CONTROLS, (c) => {
      const code = c.charCodeAt(0);
      if (code === 0x7f) return "\u2421";
      return code < 0x20 ? String.fromCharCode(0x2400 + code) : `\u27e8${code.toString(16)}\u27e9`;
    })
    .replace(BIDI, (c) => `\u27e8U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}\u27e9`);
}

export function plain(line) {
  return visible(lastVersion(line).replace(SEQUENCE, ""));
}

// Runs of one look: [{text, style}], style null where nothing is special.
export function runs(line) {
  const text = lastVersion(line);
  const found = [];
  let style = {};
  let from = 0;
  const push = (part) => {
    if (part) found.push({ text: visible(part), style: Object.keys(style).length ? style : null });
  };
  for (const match of text.matchAll(SEQUENCE)) {
    push(text.slice(from, match.index));
    from = match.index + match[0].length;
    if (match[3] === "m" && !match[2] && /^[0-9;:]*$/.test(match[1])) style = styled(style, match[1]);
  }
  push(text.slice(from));
  return found;
}

const ON = { 1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike" };
const OFF = { 22: ["bold", "dim"], 23: ["italic"], 24: ["underline"], 27: ["inverse"], 29: ["strike"], 39: ["fg"], 49: ["bg"] };

function styled(before, parameters) {
  const codes = parameters.split(/[;:]/).map(Number);
  let style = { ...before };
  for (let i = 0; i < codes.length; i += 1) {
    const code = codes[i];
    if (code === 0) style = {};
    else if (ON[code]) style[ON[code]] = true;
    else if (OFF[code]) for (const name of OFF[code]) delete style[name];
    else if (code >= 30 && code <= 37) style.fg = code - 30;
    else if (code >= 40 && code <= 47) style.bg = code - 40;
    else if (code >= 90 && code <= 97) style.fg = code - 82;
    else if (code >= 100 && code <= 107) style.bg = code - 92;
    else if (code === 38 || code === 48) {
      const [colour, used] = extended(codes.slice(i + 1));
      if (colour !== null) style[code === 38 ? "fg" : "bg"] = colour;
      i += used;
    }
  }
  return style;
}

// "5;n" is one of 256 colours, "2;r;g;b" any.
function extended([kind, ...rest]) {
  const byte = (n) => Number.isInteger(n) && n >= 0 && n <= 255;
  if (kind === 5 && byte(rest[0])) return [rest[0] < 16 ? rest[0] : cube(rest[0]), 2];
  if (kind === 2 && rest.slice(0, 3).length === 3 && rest.slice(0, 3).every(byte)) {
    return [`rgb(${rest.slice(0, 3).join(", ")})`, 4];
  }
  return [null, kind === 5 ? 2 : kind === 2 ? 4 : 0];
}

function cube(n) {
  if (n >= 232) return `rgb(${Array(3).fill(8 + 10 * (n - 232)).join(", ")})`;
  const level = (v) => (v ? 55 + 40 * v : 0);
  const k = n - 16;
  return `rgb(${level(Math.floor(k / 36))}, ${level(Math.floor(k / 6) % 6)}, ${level(k % 6)})`;
}
