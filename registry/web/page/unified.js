// The difference of two texts, as lines with their numbers. No DOM.

// {kind: "hunk" | "same" | "added" | "removed", old, new, text}, old and new are null where there is
// no such line. The two lines that name the files are left out.
export function linesOfDiff(unified) {
  const found = [];
  let before = 0;
  let after = 0;
  let inside = false;
  for (const line of unified.split("\n")) {
    const hunk = /^@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@/.exec(line);
    if (hunk) {
      [before, after] = [Number(hunk[1]), Number(hunk[2])];
      inside = true;
      found.push({ kind: "hunk", old: null, new: null, text: line });
    } else if (!inside || line === "" || line.startsWith("\\")) {
      continue;
    } else if (line[0] === "+") {
      found.push({ kind: "added", old: null, new: after++, text: line.slice(1) });
    } else if (line[0] === "-") {
      found.push({ kind: "removed", old: before++, new: null, text: line.slice(1) });
    } else {
      found.push({ kind: "same", old: before++, new: after++, text: line.slice(1) });
    }
  }
  return found;
}

export function countsOfDiff(lines) {
  const count = (kind) => lines.filter((line) => line.kind === kind).length;
  return { added: count("added"), removed: count("removed") };
}
