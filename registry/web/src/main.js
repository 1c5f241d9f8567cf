// palm's panel: one ES module, drawn by anywidget in a notebook and loaded by the registry's page.
//
//   createPanel(root, new Store(transport)) -> {destroy()}     a cluster
//   createJobCard(root) -> {update(job), destroy()}            a job
//
// The default export connects them to a widget's model. Its trait "kind" says which, "snapshot" what
// there is to begin with; see ModelTransport for its messages.
//
// Whatever a component says is text: it reaches the page through text nodes only.

import { createJobCard } from "./jobcard.js";
import { createPanel } from "./panel.js";
import { summary } from "./rows.js";
import { Store } from "./store.js";
import { Failure, ModelTransport, PageTransport } from "./transport.js";

const shared = new WeakMap(); // model -> what its views share

function storeOf(model) {
  let known = shared.get(model);
  if (known) return known;
  const transport = new ModelTransport(model);
  const store = new Store(transport);
  known = { transport, store, views: 0 };
  shared.set(model, known);
  const begin = model.get("snapshot");
  if (begin?.chosen) store.selected = begin.chosen;
  if (begin?.frames) transport.tell(begin, begin.frames);
  return known;
}

function renderCluster({ model, el }) {
  const known = storeOf(model);
  const panel = createPanel(el, known.store);
  known.views += 1;
  known.transport.ready();
  if (known.views === 1) known.store.wake();
  return () => {
    panel.destroy();
    known.views -= 1;
    if (!known.views) known.store.sleep();
  };
}

function renderJob({ model, el }) {
  const card = createJobCard(el);
  const onMessage = (message) => {
    if (message.type === "job") card.update(message.job);
  };
  model.on("msg:custom", onMessage);
  card.update(model.get("snapshot"));
  model.send({ type: "ready" });
  return () => {
    model.off("msg:custom", onMessage);
    card.destroy();
  };
}

export { Failure, ModelTransport, PageTransport, Store, createJobCard, createPanel, summary };

export default {
  initialize({ model }) {
    if (model.get("kind") !== "job") storeOf(model);
  },
  render(given) {
    return given.model.get("kind") === "job" ? renderJob(given) : renderCluster(given);
  },
};
