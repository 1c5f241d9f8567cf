// How a panel speaks to whoever knows the cluster. A transport is
//
//   subscribe({frames(list), link({live, note, time, away})}) -> unsubscribe
//   request(action) -> Promise of its answer, or a Failure
//   select({component, name?, since}) or select(null): whose output is to come
//
// A link says whether the panel lives, and if not, why; and since when the registry does not answer, in
// seconds since the epoch, 0 if it does.
//
// An action is {do: "stop" | "start" | "restart", component}, {do: "scale", component, replicas},
// {do: "output", component, name, lines, before, until, stream, grep} or {do: "history"}.

export class Failure extends Error {
  constructor(text, hint = "") {
    super(text);
    this.hint = hint;
  }
}

const PATIENCE = 1500; // milliseconds after which it is worth saying that nobody has listened yet

// Over the messages of a widget's model. The kernel sends {type: "frames", time, live, note, away} with the
// frames as JSON in a buffer, {type: "accepted", request} and {type: "reply", request} likewise.
export class ModelTransport {
  constructor(model) {
    this.model = model;
    this.listeners = new Set();
    this.waiting = new Map();
    this.count = 0;
    this.run = Math.random().toString(36).slice(2, 8); // pages of one model number for themselves
    model.on("msg:custom", (message, buffers) => this.take(message, buffers));
  }

  subscribe(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  request(action, { waits = () => {} } = {}) {
    this.count += 1;
    const request = `${this.run}-${this.count}`;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(waits, PATIENCE);
      this.waiting.set(request, { resolve, reject, timer });
      this.model.send({ type: "request", request, action });
    });
  }

  select(selection) {
    this.model.send({ type: "select", selection });
  }

  ready() {
    this.model.send({ type: "ready" });
  }

  take(message, buffers = []) {
    if (message.type === "frames") {
      this.tell(message, buffers.length ? parse(buffers[0]) : (message.frames ?? []));
    } else if (message.type === "accepted") {
      clearTimeout(this.waiting.get(message.request)?.timer);
    } else if (message.type === "reply") {
      const asked = this.waiting.get(message.request);
      if (!asked) return;
      this.waiting.delete(message.request);
      clearTimeout(asked.timer);
      if (message.error) asked.reject(new Failure(message.error.text, message.error.hint));
      else asked.resolve(buffers.length ? parse(buffers[0]) : message.result);
    }
  }

  tell(link, frames) {
    for (const listener of this.listeners) {
      listener.link(link);
      listener.frames(frames);
    }
  }
}

function parse(buffer) {
  const { buffer: bytes, byteOffset, byteLength } = buffer;
  const view = bytes ? new Uint8Array(bytes, byteOffset, byteLength) : new Uint8Array(buffer);
  return JSON.parse(new TextDecoder().decode(view));
}

const CONNECTING = 0; // WebSocket.CONNECTING
const FIRST_PAUSE = 250; // milliseconds between two attempts to connect
const LAST_PAUSE = 5000;
const BACKLOG = 262144; // bytes of output that a page may be behind
const ACTIONS = { stop: "stop", start: "start", restart: "restart", scale: "scale" };

// Over the registry's own HTTP and WebSockets. address(path) makes a URL of one below the registry's
// page, headers() gives what goes with requests that change something.
export class PageTransport {
  constructor(cluster, { address, headers = () => ({}), socket = (url) => new WebSocket(url) }) {
    this.base = `api/clusters/${encodeURIComponent(cluster)}`;
    this.address = address;
    this.headers = headers;
    this.socket = socket;
    this.listeners = new Set();
    this.main = null;
    this.output = null;
  }

  subscribe(listener) {
    this.listeners.add(listener);
    this.main ??= this.live({ topics: "status,metrics,events", since: "start" }, (link) => this.tell(link, []));
    return () => {
      this.listeners.delete(listener);
      if (!this.listeners.size) this.close();
    };
  }

  select(selection) {
    this.output?.end();
    this.output = null;
    if (!selection) return;
    const { component, since } = selection;
    this.output = this.live({ topics: "output", component, since, backlog: BACKLOG });
  }

  close() {
    this.main?.end();
    this.output?.end();
    this.main = this.output = null;
  }

  live(query, linked = () => {}) {
    const url = this.address(`${this.base}/live`);
    url.protocol = url.protocol.replace("http", "ws");
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    return new Connection(url, this.socket, { linked, take: (frame) => this.tell(null, [frame]) });
  }

  tell(link, frames) {
    for (const listener of this.listeners) {
      if (link) listener.link(link);
      if (frames.length) listener.frames(frames);
    }
  }

  async request(action) {
    if (action.do === "output") return this.get("output", without(action, ["do"]));
    if (action.do === "history") return this.get("metrics", { history: 1 });
    const verb = ACTIONS[action.do];
    if (!verb) throw new Failure(`a page cannot do ${action.do}`);
    const path = `${this.base}/components/${encodeURIComponent(action.component)}/${verb}`;
    const body = action.do === "scale" ? { replicas: action.replicas } : {};
    return this.answer(
      fetch(this.address(path), {
        method: "POST",
        headers: { "Content-Type": "application/json", ...this.headers() },
        body: JSON.stringify(body),
      }),
    );
  }

  get(path, query) {
    const url = this.address(`${this.base}/${path}`);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined && value !== "") url.searchParams.set(name, value);
    }
    return this.answer(fetch(url));
  }

  async answer(asked) {
    let response;
    try {
      response = await asked;
    } catch {
      throw new Failure("the registry does not answer", "it may be starting anew: try again");
    }
    const value = response.status === 204 ? null : await response.json();
    if (response.ok) return value;
    throw new Failure(value?.error?.text ?? `the registry answered ${response.status}`, value?.error?.hint);
  }
}

// One WebSocket, made again after each break from the cursor of the last frame.
class Connection {
  constructor(url, socket, { linked, take }) {
    Object.assign(this, { url, make: socket, linked, take, pause: FIRST_PAUSE, away: 0, ended: false });
    this.connect();
  }

  connect() {
    this.socket = this.make(this.url);
    this.socket.onopen = () => {
      this.pause = FIRST_PAUSE;
      this.away = 0;
      this.linked({ live: true });
    };
    this.socket.onmessage = (message) => {
      const frame = JSON.parse(message.data);
      this.url.searchParams.set("since", frame.cursor);
      this.take(frame);
    };
    this.socket.onclose = () => this.lost();
  }

  lost() {
    if (this.ended) return;
    this.away ||= Date.now() / 1000;
    this.linked({ live: true, away: this.away });
    this.timer = setTimeout(() => this.connect(), this.pause);
    this.pause = Math.min(2 * this.pause, LAST_PAUSE);
  }

  end() {
    this.ended = true;
    clearTimeout(this.timer);
    this.socket.onmessage = null;
    // A browser complains of a socket that is closed before it is open.
    if (this.socket.readyState === CONNECTING) this.socket.onopen = () => this.socket.close();
    else this.socket.close();
  }
}

function without(values, names) {
  return Object.fromEntries(Object.entries(values).filter(([name]) => !names.includes(name)));
}
