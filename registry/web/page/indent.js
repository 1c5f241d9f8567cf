// What Tab, and Shift with it, do to a text. No DOM.

const STEP = "  ";

// Return what to put in place of text.slice(from, to), and what is selected then.
export function indentation(text, start, end, back) {
  const several = text.slice(start, end).includes("\n");
  if (!several && !back) {
    return { from: start, to: end, insert: STEP, start: start + STEP.length, end: start + STEP.length };
  }
  const from = text.lastIndexOf("\n", start - 1) + 1;
  const last = several && text[end - 1] === "\n" ? end - 1 : end;
  const stop = text.indexOf("\n", last);
  const to = stop < 0 ? text.length : stop;
  const lines = text.slice(from, to).split("\n");
  const moved = lines.map((line) => (back ? line.replace(/^( {1,2}|\t)/, "") : line && STEP + line));
  const shift = (n) => moved[n].length - lines[n].length;
  const all = moved.reduce((sum, _, n) => sum + shift(n), 0);
  return {
    from,
    to,
    insert: moved.join("\n"),
    start: Math.max(from, start + shift(0)),
    end: Math.max(from, end + all),
  };
}
