// Records of output as lines, each stream of each instance by itself. A line is
// {process, component, instance, stream, time, offset, text}; offset is the byte at which it begins.
// A record of bytes that nobody has any more is a line that says so, with `lost`, how many they are.

const LONGEST = 65536; // characters without a newline after which a line is shown all the same
const NEWLINE = 10;

const encoder = new TextEncoder();

export function bytesOf(record) {
  if (typeof record.text === "string") return encoder.encode(record.text);
  return Uint8Array.from(atob(record.bytes ?? ""), (c) => c.charCodeAt(0));
}

export function textOf(record) {
  return record.text ?? new TextDecoder().decode(bytesOf(record));
}

// A record that is a line by itself, as a page of lines has them.
export function lineOf(record) {
  const found = line(record, record.offset, textOf(record).replace(/\n$/, ""));
  return record.lost ? { ...found, lost: record.lost } : found;
}

function line(record, offset, text) {
  const { component, instance, stream, time } = record;
  return { process: record.name, component, instance, stream, time, offset, text };
}

// What was read of one stream: the line that has not ended, where it begins, and how many bytes of it
// came. `whole` says whether it did from its beginning; `decoder` has the rest of a cut character.
class Open {
  constructor(begin, whole) {
    Object.assign(this, { begin, size: 0, text: "", whole, decoder: null, record: null });
  }

  get end() {
    return this.begin + this.size;
  }

  // Take so many bytes, which are this text; return the line if it has `ended` with them.
  add(text, size, ended) {
    if (this.whole) this.text += text;
    this.size += size;
    if (!ended && this.text.length < LONGEST) return null;
    const found = this.whole ? line(this.record, this.begin, this.text) : null;
    Object.assign(this, { begin: this.end + (ended ? 1 : 0), size: 0, text: "", whole: true });
    return found;
  }

  get line() {
    return line(this.record, this.begin, this.text);
  }
}

export class LineReader {
  constructor() {
    this.streams = new Map();
  }

  // Go on after a record of a page; its line may not have ended.
  resume(record) {
    const open = this.open(record, record.offset + (record.lost ?? 0), true);
    if (!record.lost) take(open, record);
  }

  open(record, offset, whole) {
    const open = new Open(offset, whole);
    open.record = record;
    this.streams.set(keyOf(record), open);
    return open;
  }

  // What was written without a newline so far, as a line each.
  unfinished() {
    return [...this.streams.values()].filter((open) => open.text).map((open) => open.line);
  }

  read(record) {
    const ended = this.endLives(record);
    let open = this.streams.get(keyOf(record));
    if (record.lost) return [...ended, ...this.readGap(open, record)];
    if (!open || open.end !== record.offset) {
      // Bytes before it were left out. What belongs to a line that began there is not shown: that
      // line comes whole when it is looked for.
      open = this.open(record, record.offset, record.offset === 0);
    }
    return [...ended, ...take(open, record)];
  }

  // What came before lost bytes ends there, and what comes behind them begins there.
  readGap(open, record) {
    const cut = open?.text ? [open.line] : [];
    this.open(record, record.offset + record.lost, true);
    return [...cut, lineOf(record)];
  }

  // What an earlier life of the process left without a newline is a line, too.
  endLives({ name, instance }) {
    const over = [...this.streams].filter(([, o]) => o.record?.name === name && o.record.instance !== instance);
    for (const [key] of over) this.streams.delete(key);
    return over.filter(([, open]) => open.text).map(([, open]) => open.line);
  }
}

function keyOf({ instance, stream }) {
  return `${instance}/${stream}`;
}

// The lines that a record completes.
function take(open, record) {
  open.record = record;
  const isText = typeof record.text === "string" && !open.decoder;
  return isText ? takeText(open, record.text) : takeBytes(open, bytesOf(record));
}

// Nearly all output is text, and of a flood there is much: no bytes are made of it.
function takeText(open, text) {
  const parts = text.split("\n");
  const plain = !/[^\x00-\x7f]/.test(text);
  const found = [];
  parts.forEach((part, i) => {
    const size = plain ? part.length : encoder.encode(part).length;
    const whole = open.add(part, size, i < parts.length - 1);
    if (whole) found.push(whole);
  });
  return found;
}

function takeBytes(open, data) {
  const found = [];
  let from = 0;
  while (from < data.length) {
    const at = data.indexOf(NEWLINE, from);
    const part = data.subarray(from, at < 0 ? data.length : at);
    open.decoder ??= new TextDecoder("utf-8");
    const whole = open.add(open.decoder.decode(part, { stream: at < 0 }), part.length, at >= 0);
    if (whole) found.push(whole);
    if (at < 0) return found; // a character may go on
    open.decoder = null;
    from = at + 1;
  }
  return found;
}
