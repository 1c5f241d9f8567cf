// One cluster while somebody looks at it: its live feed, for the panel and for all other screens of it.

import { PageTransport, Store } from "../src/main.js";
import { pathOf } from "./api.js";

export class Watched {
  // `gone` is called when there is no such cluster any more.
  constructor(api, key, { mayAct, banner, gone }) {
    Object.assign(this, { api, key, banner, gone, status: null, listeners: new Set() });
    this.transport = new PageTransport(key, {
      address: (path) => api.address(path),
      headers: () => api.headers(),
    });
    this.unsubscribe = this.transport.subscribe({
      frames: (frames) => this.takeFrames(frames),
      link: (link) => this.takeLink(link),
    });
    this.store = new Store(this.transport, { mayAct });
    this.store.sleep(); // until its panel is shown
  }

  subscribe(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  takeFrames(frames) {
    for (const frame of frames) {
      if (frame.topic === "status") this.status = frame.data;
      for (const listener of this.listeners) listener(frame);
    }
  }

  takeLink({ live, away = 0 }) {
    if (live && !away) {
      this.banner.clear();
      return;
    }
    this.banner.show("Connection lost. What runs goes on, and nothing that happens is missed. Trying again.");
    this.look();
  }

  // A connection that is refused does not say why; a request does.
  async look() {
    try {
      await this.api.get(pathOf(this.key));
    } catch (error) {
      if (error.status === 404) this.gone();
      else if (!error.isSilence) this.banner.show(error.message);
    }
  }

  close() {
    this.unsubscribe();
    this.store.close();
    this.transport.close();
    this.banner.clear();
  }
}
