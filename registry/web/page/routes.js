// Where one is, in the part of the address behind "#": it works below any path. No DOM.

export const TABS = {
  overview: "Overview",
  configuration: "Configuration",
  versions: "Versions",
  nodes: "Nodes",
  events: "Events",
};
export const PLACES = { clusters: "Clusters", tokens: "Tokens", audit: "Audit" };

export function parseRoute(hash) {
  const [path, search = ""] = hash.replace(/^#?\/?/, "").split("?");
  const query = Object.fromEntries(new URLSearchParams(search));
  const parts = path.split("/").filter(Boolean).map(decoded);
  const [place = "clusters", key, tab = "overview"] = parts;
  if (parts.length <= 1 && Object.hasOwn(PLACES, place)) return { place, query };
  if (place === "clusters" && parts.length <= 3 && Object.hasOwn(TABS, tab)) {
    return { place: "cluster", key, tab, query };
  }
  return { place: "nowhere", query };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export function addressOf({ place, key, tab = "overview", query = {} }) {
  const parts = place === "cluster" ? ["clusters", key, ...(tab === "overview" ? [] : [tab])] : [place];
  const path = place === "clusters" ? "" : parts.map(encodeURIComponent).join("/");
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== undefined);
  const search = new URLSearchParams(given).toString();
  return `#/${path}${search ? `?${search}` : ""}`;
}

export function titleOf({ place, key, tab }) {
  if (place === "cluster") return tab === "overview" ? `${key} - palm` : `${key}: ${TABS[tab]} - palm`;
  return `${PLACES[place] ?? "Not found"} - palm`;
}
