// Who gets in: tokens, for admins.

import { visible } from "../src/ansi.js";
import { element, setAttribute, setText } from "../src/dom.js";
import { plural } from "../src/format.js";
import { ask, tell } from "./dialog.js";
import { createGrid } from "./grid.js";
import { choice, field, input, press, timeAgo } from "./parts.js";
import { poll } from "./poll.js";
import { lasting, stamp } from "./times.js";

const SCOPES = [
  ["viewer", "read (viewer)"],
  ["operator", "read and change clusters (operator)"],
  ["runner", "join one cluster as a node (runner)"],
  ["admin", "do everything, for all (admin)"],
];
const LIVES = [
  ["2592000", "30 days"],
  ["86400", "1 day"],
  ["31536000", "1 year"],
  ["", "for ever"],
];
const DAY = 86400;
const OWN = "owner"; // in the file of whose registry it is

export function createTokens(page) {
  const make = press("New token", () => makeToken(page).then(() => polling.now()), "palm-button page-primary");
  const count = element("p", "page-count");
  const head = element("div", "page-head", element("h1", "", "Tokens"), count, make);
  const problem = element("p", "page-problem");
  const now = () => page.api.now();
  const grid = createGrid({
    caption: "Tokens",
    columns: [
      { title: "Name", text: (token) => token.name },
      { title: "Scope", text: (token) => token.scope },
      { title: "User", text: (token) => token.user },
      { title: "Cluster", text: (token) => token.cluster || "all" },
      { title: "Made by", text: (token) => token.creator || "\u2013" },
      { title: "Made", className: "page-quiet page-number", make: () => momentCell(now, "created") },
      { title: "Last used", className: "page-quiet page-number", make: () => momentCell(now, "used") },
      { title: "Expires", className: "page-quiet page-rest", text: (token) => expiryOf(token, now()) },
      { title: "Actions", quiet: true, className: "page-actions", make: (current) => revokeCell(page, current, () => polling.now()) },
    ],
    keyOf: (token) => token.name,
  });
  const polling = poll(
    async () => {
      const found = await page.api.get("api/tokens");
      setText(problem, "");
      setText(count, plural(found.length, "token"));
      grid.update(found);
    },
    { seconds: 5, banner: page.banner, failed: (error) => setText(problem, visible(error.message)) },
  );
  return { node: element("section", "page-screen", head, problem, grid.node), close: polling.close };
}

export function expiryOf({ expires }, now) {
  if (expires === null) return "never";
  const left = expires - now;
  if (left <= 0) return "over";
  return `in ${lasting(left > DAY ? DAY * Math.round(left / DAY) : left)}`;
}

function momentCell(now, name) {
  const time = timeAgo();
  const never = element("span", "", "never");
  return {
    node: element("span", "", time.node, never),
    update(token) {
      const known = token[name] !== null;
      time.node.hidden = !known;
      never.hidden = known;
      if (known) time.update(token[name], now());
    },
  };
}

function revokeCell(page, current, again) {
  const revoke = press("Revoke", () => revokeToken(page, current()).then(again));
  return {
    node: revoke,
    update(token) {
      revoke.hidden = token.name === OWN;
      setAttribute(revoke, "aria-label", `Revoke ${token.name}`);
    },
  };
}

function revokeToken(page, { name }) {
  const mine = name === page.caller.token ? " This page is open by it, and ends, too." : "";
  return ask({
    title: `Revoke ${name}?`,
    children: [element("p", "", `Whoever has it is let in no more, and what is open by it ends at once.${mine}`)],
    verb: "Revoke",
    danger: true,
    act: async () => {
      await page.api.delete(`api/tokens/${encodeURIComponent(name)}`);
      page.say(`${name} is revoked.`);
    },
  });
}

async function makeToken(page) {
  const name = input({ type: "text", name: "name", required: true, pattern: "[A-Za-z0-9_\\-]+", maxLength: 64 });
  const scope = choice(SCOPES, "viewer");
  const keys = (await page.api.get("api/clusters")).map((info) => [info.key, info.key]);
  const cluster = choice([["", "all"], ...keys]);
  const life = choice(LIVES);
  const made = await ask({
    title: "New token",
    children: [
      field("Name", name, "Letters, digits, - and _"),
      field("It may", scope),
      field("Cluster", cluster, "A runner's is for one cluster"),
      field("Good for", life),
    ],
    verb: "Make",
    complete: () => name.validity.valid && (scope.value !== "runner" || cluster.value !== ""),
    act: () => page.api.post("api/tokens", {
      name: name.value, scope: scope.value, cluster: cluster.value,
      ttl: life.value ? Number(life.value) : null,
    }),
  });
  if (made) await showSecret(made);
}

function showSecret({ name, token, expires }) {
  const secret = input({ type: "text", readOnly: true, value: token, className: "page-input page-secret" });
  secret.setAttribute("aria-label", "The token");
  secret.addEventListener("focus", () => secret.select());
  const copied = element("span", "page-hint");
  copied.setAttribute("role", "status");
  const copy = press("Copy", async () => {
    secret.select();
    try {
      await navigator.clipboard.writeText(token);
    } catch {
      document.execCommand("copy"); // without TLS browsers give no clipboard
    }
    setText(copied, "Copied.");
  });
  const until = expires === null ? "It does not expire." : `It is good until ${stamp(expires)}.`;
  return tell({
    title: `Token ${name}`,
    children: [
      element("p", "", `This is the only time that it is shown: keep it in a file that only you can read. ${until}`),
      element("div", "page-secret-row", secret, copy),
      copied,
    ],
  });
}
