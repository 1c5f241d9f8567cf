// The registry's page: clusters, status, output and events, live over one WebSocket.
//
// Whatever a component says is text: it reaches the page through textContent only.

const KEPT_LINES = 2000;
const KEPT_EVENTS = 200;
const FIRST_PAUSE = 250; // milliseconds between two attempts to connect
const LAST_PAUSE = 5000;
const BACKLOG = 262144; // bytes of earlier output that are shown

const at = (id) => document.getElementById(id);
const address = (path) => new URL(path, document.baseURI);

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function clock(time) {
  return new Date(time * 1000).toLocaleTimeString([], { hour12: false });
}

// Escape sequences and control characters would only be noise, or a trick.
function printable(text) {
  return text
    .replace(/(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?/g, "")
    .replace(/(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?/g, "")
    .replace(/\x1b[ -/]*[0-~]?/g, "")
    .replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, "");
}

// What a progress bar wrote over is gone.
function lastVersion(line) {
  const trimmed = line.replace(/\r+$/, "");
  return trimmed.slice(trimmed.lastIndexOf("\r") + 1);
}

function bytesOf(record) {
  if (typeof record.text === "string") return new TextEncoder().encode(record.text);
  return Uint8Array.from(atob(record.bytes), (c) => c.charCodeAt(0));
}

// ---- status

function summary(status) {
  if (!status.components.length) return "No components.";
  if (status.ready) return "Ready: all that is wanted is there.";
  const why = status.missing.map((m) => `${m.count} of ${m.component} (${m.why})`);
  return `Missing: ${why.join("; ")}.`;
}

function row(kind, name, cells, state) {
  const tr = element("tr", kind);
  const head = element("th", "", name);
  head.scope = "row";
  tr.append(head);
  cells.forEach((cell, i) => {
    const td = element("td");
    if (i === 1) td.append(element("span", `state ${state}`, cell));
    else td.textContent = cell;
    tr.append(td);
  });
  return tr;
}

function showStatus(status) {
  at("summary").textContent = summary(status);
  const rows = [];
  for (const c of status.components) {
    const ready = `${c.actual} of ${c.desired}`;
    rows.push(row("", c.name, [c.role, c.state, ready, "", "", "", c.reason], c.state));
    for (const r of c.replicas) {
      const cells = ["", r.state, "", r.node, r.pid ?? "", r.restarts, r.reason];
      rows.push(row("replica", r.name, cells, r.state));
    }
  }
  at("components").replaceChildren(...rows);
  offer(at("component"), [["", "all"], ...status.components.map((c) => [c.name, c.name])]);
}

// Offer choices; what was chosen stays chosen.
function offer(select, choices) {
  const same = [...select.options].map((o) => o.value).join() === choices.map((c) => c[0]).join();
  if (same) return;
  const chosen = select.value;
  select.replaceChildren(
    ...choices.map(([value, text]) => {
      const option = element("option", "", text);
      option.value = value;
      return option;
    }),
  );
  if (choices.some(([value]) => value === chosen)) select.value = chosen;
}

// ---- output and events

class Output {
  constructor(root) {
    this.root = root;
    this.clear();
  }

  clear() {
    this.streams = new Map();
    this.root.replaceChildren();
  }

  append(records) {
    const lines = [];
    for (const record of records) {
      const key = `${record.instance}/${record.stream}`;
      let stream = this.streams.get(key);
      if (!stream) {
        stream = { decoder: new TextDecoder("utf-8"), open: null, text: "" };
        this.streams.set(key, stream);
      }
      if (record.lost) {
        const told = element("div", "skipped", (record.text ?? `${record.lost} bytes are lost`).trim());
        lines.push(told);
        this.streams.delete(key); // what follows begins a line, and a character, of its own
        continue;
      }
      const parts = stream.decoder.decode(bytesOf(record), { stream: true }).split("\n");
      parts.forEach((part, i) => {
        if (!stream.open) {
          if (i === parts.length - 1 && part === "") return;
          stream.open = element("div", record.stream);
          stream.open.append(element("b", "", record.name), element("span"));
          stream.text = "";
          lines.push(stream.open);
        }
        stream.text = (stream.text + part).slice(-65536);
        stream.open.lastChild.textContent = printable(lastVersion(stream.text));
        if (i < parts.length - 1) stream.open = null;
      });
    }
    this.add(lines);
  }

  add(lines) {
    this.root.append(...lines.slice(-KEPT_LINES));
    while (this.root.childElementCount > KEPT_LINES) this.root.firstChild.remove();
    if (at("follow").checked) this.root.scrollTop = this.root.scrollHeight;
  }

  skipped(data) {
    const text = data.size ? `${data.size} bytes were skipped: see the download` : "some was skipped";
    this.add([element("div", "skipped", text)]);
  }
}

function showEvent(event) {
  const item = element("li");
  const time = element("time", "", clock(event.time));
  time.dateTime = new Date(event.time * 1000).toISOString();
  item.append(time, printable(event.text));
  at("events").prepend(item);
  while (at("events").childElementCount > KEPT_EVENTS) at("events").lastChild.remove();
}

// ---- connection

class Live {
  constructor(cluster, output) {
    this.cluster = cluster;
    this.output = output;
    this.pause = FIRST_PAUSE;
    this.since = "start";
    this.ended = false;
    this.connect();
  }

  connect() {
    const url = address(`api/clusters/${encodeURIComponent(this.cluster)}/live`);
    url.protocol = url.protocol.replace("http", "ws");
    url.searchParams.set("since", this.since);
    url.searchParams.set("backlog", BACKLOG);
    if (at("component").value) url.searchParams.set("component", at("component").value);
    this.socket = new WebSocket(url);
    this.socket.onopen = () => {
      this.pause = FIRST_PAUSE;
      tell("live", false);
    };
    this.socket.onmessage = (message) => this.take(JSON.parse(message.data));
    this.socket.onclose = () => this.lost();
  }

  take(frame) {
    this.since = frame.cursor;
    if (frame.topic === "status") showStatus(frame.data);
    else if (frame.topic === "events") showEvent(frame.data);
    else if (frame.topic === "output") this.output.append(frame.data);
    else if (frame.topic === "skipped") this.output.skipped(frame.data);
  }

  lost() {
    if (this.ended) return;
    tell("connection lost, trying again", true);
    setTimeout(() => this.again(), this.pause);
    this.pause = Math.min(2 * this.pause, LAST_PAUSE);
  }

  async again() {
    if (this.ended) return;
    await listClusters().catch(() => {});
    if (!this.ended) this.connect();
  }

  end() {
    this.ended = true;
    this.socket.close();
  }
}

function tell(text, lost) {
  at("connection").textContent = text;
  at("connection").className = lost ? "lost" : "";
}

async function listClusters() {
  const answer = await fetch(address("api/clusters"));
  if (answer.status === 401) location.reload();
  const clusters = await answer.json();
  offer(at("clusters"), clusters.map((c) => [c.key, c.name]));
  return clusters;
}

let live = null;
const output = new Output(at("output"));

function watch() {
  live?.end();
  output.clear();
  at("events").replaceChildren();
  const cluster = at("clusters").value;
  if (!cluster) return;
  const download = address(`api/clusters/${encodeURIComponent(cluster)}/output/download`);
  if (at("component").value) download.searchParams.set("component", at("component").value);
  at("download").href = download;
  live = new Live(cluster, output);
}

async function begin() {
  const clusters = await listClusters().catch(() => null);
  if (clusters?.length) {
    watch();
    return;
  }
  tell(clusters ? "no clusters yet" : "no connection, trying again", !clusters);
  setTimeout(begin, 2000);
}

at("clusters").addEventListener("change", () => {
  at("component").replaceChildren();
  watch();
});
at("component").addEventListener("change", watch);
at("logout").addEventListener("click", async () => {
  const xsrf = document.querySelector('meta[name="xsrf"]').content;
  await fetch(address("logout"), { method: "POST", headers: { "X-XSRF-Token": xsrf } });
  location.reload();
});
begin();
