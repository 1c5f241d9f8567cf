// The registry's API as a page of it uses it, with the cookie that it has.

// What the registry refused; status 0: it did not answer.
export class Refusal extends Error {
  constructor(text, { hint = "", status = 0, code = "", data = {} } = {}) {
    super(text);
    Object.assign(this, { hint, status, code, data });
  }

  get isSilence() {
    return this.status === 0 || this.status === 502 || this.status === 503 || this.status === 504;
  }
}

export function inWords({ message, hint }) {
  return hint ? `${message} (${hint})` : message;
}

// `over` is called once the browser's session is: nothing can be asked any more.
export class Api {
  constructor({ base, xsrf, over, ask = (url, options) => fetch(url, options) }) {
    Object.assign(this, { base, xsrf, over, ask, skew: 0 });
  }

  address(path) {
    return new URL(path, this.base);
  }

  // Seconds since the epoch, by the registry's clock as far as its answers tell it.
  now() {
    return Date.now() / 1000 + this.skew;
  }

  headers() {
    return { "X-XSRF-Token": this.xsrf };
  }

  get(path, query = {}) {
    const url = this.address(path);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, value);
    }
    return this.answer(url, {});
  }

  post(path, body) {
    return this.change("POST", path, body);
  }

  put(path, body) {
    return this.change("PUT", path, body);
  }

  delete(path) {
    return this.change("DELETE", path);
  }

  change(method, path, body) {
    const headers = this.headers();
    if (body === undefined) return this.answer(this.address(path), { method, headers });
    headers["Content-Type"] = "application/json";
    return this.answer(this.address(path), { method, headers, body: JSON.stringify(body) });
  }

  async answer(url, options) {
    let response;
    try {
      response = await this.ask(url, options);
    } catch {
      throw new Refusal("the registry does not answer", { hint: "it may be starting anew: try again" });
    }
    this.setClock(response.headers.get("Date"));
    if (response.status === 204) return null;
    const value = await response.json().catch(() => null);
    if (response.ok) return value;
    const { text, hint, code, data } = value?.error ?? {};
    const { status } = response;
    if (status === 401) this.over(code === "session" ? "" : text);
    throw new Refusal(text ?? `the registry answered ${status}`, { hint, status, code, data });
  }

  setClock(date) {
    const skew = (Date.parse(date) - Date.now()) / 1000;
    if (Number.isFinite(skew)) this.skew = Math.abs(skew) > 3 ? skew : 0; // it tells whole seconds
  }
}

export const pathOf = (key, ...parts) => ["api/clusters", key, ...parts].map((part, n) => (n ? encodeURIComponent(part) : part)).join("/");

const ALLOWED = {
  viewer: ["viewer"],
  operator: ["viewer", "operator"],
  runner: [],
  admin: ["viewer", "operator", "admin"],
};

export function may(caller, scope) {
  return (ALLOWED[caller.scope] ?? []).includes(scope);
}
