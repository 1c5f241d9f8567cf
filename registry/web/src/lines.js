// Records of output as lines, each stream of each instance by itself. A line is
// {process, component, instance, stream, time, offset, text}; offset is where it begins.

const LONGEST = 65536; // characters without a newline after which a line is shown all the same

export function bytesOf(record) {
  if (typeof record.text === "string") return new TextEncoder().encode(record.text);
  return Uint8Array.from(atob(record.bytes ?? ""), (c) => c.charCodeAt(0));
}

// A record that is a line by itself, as a page of lines has them.
export function lineOf(record) {
  const text = record.text ?? new TextDecoder().decode(bytesOf(record));
  return line(record, record.offset, text.replace(/\n$/, ""));
}

function line(record, offset, text) {
  const { component, instance, stream, time } = record;
  return { process: record.name, component, instance, stream, time, offset, text };
}

export class LineReader {
  constructor() {
    this.streams = new Map();
  }

  // Go on after a record of a page; its line may not have ended.
  resume(record) {
    const data = bytesOf(record);
    const ended = data[data.length - 1] === 10;
    const open = opened(ended ? record.offset + data.length : record.offset, true);
    this.streams.set(keyOf(record), open);
    if (!ended) this.split(record, open, data);
    open.end = record.offset + data.length;
  }

  // What was written without a newline so far, as a line each.
  unfinished() {
    return [...this.streams.values()].filter((open) => open.text).map(lineAt);
  }

  read(record) {
    const ended = this.endLives(record);
    const key = keyOf(record);
    let open = this.streams.get(key);
    if (!open || open.end !== record.offset) {
      // Bytes before it were left out. What belongs to a line that began there is not shown: that
      // line comes whole when it is looked for.
      open = opened(record.offset, record.offset === 0);
      this.streams.set(key, open);
    }
    const data = bytesOf(record);
    open.end += data.length;
    return [...ended, ...this.split(record, open, data)];
  }

  // What an earlier life of the process left without a newline is a line, too.
  endLives({ name, instance }) {
    const over = [...this.streams].filter(([, o]) => o.record?.name === name && o.record.instance !== instance);
    for (const [key] of over) this.streams.delete(key);
    return over.filter(([, open]) => open.text).map(([, open]) => lineAt(open));
  }

  split(record, open, data) {
    const found = [];
    open.record = record;
    let from = 0;
    for (;;) {
      const at = data.indexOf(10, from);
      const part = data.subarray(from, at < 0 ? data.length : at);
      if (open.whole) open.text += open.decoder.decode(part, { stream: at < 0 });
      open.size += part.length;
      if (at < 0 && open.text.length < LONGEST) return found;
      if (open.whole) found.push(line(record, open.begin, open.text));
      const ended = at < 0 ? 0 : 1;
      Object.assign(open, opened(open.begin + open.size + ended, true), { end: open.end });
      open.record = record;
      if (at < 0) return found;
      from = at + 1;
    }
  }
}

function keyOf({ instance, stream }) {
  return `${instance}/${stream}`;
}

function lineAt(open) {
  return line(open.record, open.begin, open.text);
}

function opened(begin, whole) {
  const decoder = new TextDecoder("utf-8");
  return { begin, end: begin, size: 0, text: "", decoder, whole };
}
