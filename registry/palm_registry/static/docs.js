// The page of the API document: what openapi.json says, for people.
//
// The document is text like any other: it reaches the page through textContent only.

const TOKEN_FILE = '"${PALM_TOKEN_FILE:-$HOME/.local/state/palm/tokens/owner}"';
const SAMPLES = { key: "default", name: "foo", node: "here" }; // names in addresses of samples
const LARGE = 2 ** 31 - 1;
const DEEPEST = 4; // levels of a sample that is made from a shape

const at = (id) => document.getElementById(id);
const address = (path) => new URL(path, document.baseURI);

function element(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

// `Words` in backticks become code, as they are meant.
function prose(text) {
  const parts = text.split(/``?([^`]+)``?/);
  return parts.map((part, i) => (i % 2 ? element("code", "", part) : part));
}

function paragraphs(text, className) {
  return text
    .trim()
    .split(/\n\s*\n/)
    .map((part) => element("p", className ?? "", ...prose(part.replace(/\s+/g, " "))));
}

// ---- types

const nameOf = (shape) => shape.$ref?.split("/").pop();

function typeOf(shape) {
  if (!shape || !Object.keys(shape).length) return ["anything"];
  const name = nameOf(shape);
  if (name) {
    const link = element("a", "", name);
    link.href = `#${name}`;
    return [link];
  }
  if (shape.anyOf) return shape.anyOf.flatMap((one, i) => [...(i ? [" or "] : []), ...typeOf(one)]);
  if (shape.enum) return [shape.enum.map((value) => JSON.stringify(value)).join(" or ")];
  if (shape.type === "array") return ["list of ", ...typeOf(shape.items)];
  if (shape.type === "object") {
    const of = shape.additionalProperties;
    return of && typeof of === "object" ? ["names to ", ...typeOf(of)] : ["object"];
  }
  if (shape.contentEncoding) return [`bytes (${shape.contentEncoding})`];
  return [`${shape.type}${bounds(shape)}`];
}

function bounds(shape) {
  const { minimum, maxLength, maxItems } = shape;
  const maximum = shape.maximum < LARGE ? shape.maximum : undefined; // others are there to be safe
  if (minimum !== undefined && maximum !== undefined) return `, ${minimum} to ${maximum}`;
  if (minimum !== undefined) return `, from ${minimum}`;
  if (maximum !== undefined) return `, to ${maximum}`;
  if (maxLength !== undefined) return `, up to ${maxLength} characters`;
  return maxItems === undefined ? "" : `, up to ${maxItems}`;
}

function sampleOf(shape, shapes, depth = 0) {
  const name = nameOf(shape);
  if (name) return sampleOf(shapes[name], shapes, depth);
  if ("default" in shape) return shape.default;
  if (shape.anyOf) return sampleOf(shape.anyOf[0], shapes, depth);
  if (shape.enum) return shape.enum[0];
  if (shape.type === "array") {
    return depth < DEEPEST ? [sampleOf(shape.items, shapes, depth + 1)] : [];
  }
  if (shape.properties) {
    if (depth >= DEEPEST) return {};
    const entries = Object.entries(shape.properties);
    return Object.fromEntries(entries.map(([k, v]) => [k, sampleOf(v, shapes, depth + 1)]));
  }
  return { string: "", integer: 0, number: 0.0, boolean: false }[shape.type] ?? {};
}

// ---- parts of an operation

function table(className, heads, rows) {
  const head = element("tr", "", ...heads.map((text) => {
    const th = element("th", "", text);
    th.scope = "col";
    return th;
  }));
  const body = rows.map(([first, ...rest]) => {
    const th = element("th", "", ...first);
    th.scope = "row";
    const cells = rest.map((cell, i) => element("td", i ? "" : "type", ...cell));
    return element("tr", "", th, ...cells);
  });
  const whole = element("table", className, element("thead", "", head), element("tbody", "", ...body));
  return element("div", "scroll", whole);
}

function required(is) {
  return is ? [" ", element("span", "required", "required")] : [];
}

function parameters(given) {
  const rows = given.map((one) => [
    [element("code", "", one.name), ...required(one.required)],
    [one.in],
    typeOf(one.schema),
    prose(one.description ?? ""),
  ]);
  return table("", ["Name", "In", "Type", "Meaning"], rows);
}

function sample(text, label) {
  const box = element("div", "sample copied", element("pre", "", element("code", "", text)));
  const button = element("button", "", "Copy");
  button.type = "button";
  button.setAttribute("aria-label", `Copy ${label}`);
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  box.firstChild.tabIndex = 0;
  box.append(button);
  return box;
}

const json = (value) => JSON.stringify(value, null, 2);
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const jsonOf = (holder) => holder?.content?.["application/json"];

function curl(path, method, body) {
  const filled = path.replace(/\{(\w+)\}/g, (_, name) => SAMPLES[name] ?? name.toUpperCase());
  const url = address(`.${filled}`).href;
  const lines = [`printf 'Authorization: Bearer %s\\n' "$(cat ${TOKEN_FILE})" |`];
  const verb = method === "get" || (method === "post" && body !== undefined) ? "" : ` -X ${method.toUpperCase()}`;
  lines.push(`  curl -s -H @-${verb} ${quoted(url)}${body === undefined ? "" : " \\"}`);
  if (body !== undefined) {
    lines.push(`    -H 'Content-Type: application/json' -d ${quoted(JSON.stringify(body))}`);
  }
  return lines.join("\n");
}

function responses(given) {
  const rows = Object.entries(given).map(([status, one]) => {
    const [media, content] = Object.entries(one.content ?? {})[0] ?? [];
    const type = !media ? ["nothing"] : media === "application/json" ? typeOf(content.schema) : [media];
    return [[element("code", "", status)], type, [one.description]];
  });
  return table("", ["Status", "Body", "Meaning"], rows);
}

function inside(path, method, operation, shapes) {
  const box = element("div", "inside");
  const title = (text) => box.append(element("h3", "", text));
  if (!operation.security.length) box.append(element("p", "", "Open to all: no credential is needed."));
  if (operation.parameters.length) {
    title("Parameters");
    box.append(parameters(operation.parameters));
  }
  let body;
  const content = jsonOf(operation.requestBody);
  if (content) {
    title("Body");
    const may = operation.requestBody.required ? "" : " It may be left out.";
    box.append(element("p", "", "JSON: ", ...typeOf(content.schema), `.${may}`));
    body = content.example ?? sampleOf(content.schema, shapes);
    box.append(sample(json(body), "the body"));
  }
  title("Answers");
  box.append(responses(operation.responses));
  const answer = Object.values(operation.responses).map(jsonOf).find((one) => one);
  const success = Object.keys(operation.responses)[0];
  if (success < "300" && answer && Object.keys(answer.schema).length > 0 && nameOf(answer.schema) !== "ErrorBody") {
    title("Sample of an answer");
    box.append(sample(json(sampleOf(answer.schema, shapes)), "the answer"));
  }
  if (!("101" in operation.responses)) {
    title("By curl");
    box.append(sample(curl(path, method, body), "the command"));
  }
  return box;
}

// ---- the whole

const kindOf = (method, operation) => ("101" in operation.responses ? "ws" : method);

function pathParts(path) {
  return path.split(/(\{\w+\})/).map((part) => (part.startsWith("{") ? element("var", "", part) : part));
}

function operationEntry(path, method, operation, shapes) {
  const kind = kindOf(method, operation);
  const details = element("details");
  details.id = operation.operationId;
  const head = element(
    "summary",
    "",
    element("span", `method ${kind}`, kind.toUpperCase()),
    element("span", "path", ...pathParts(path)),
    element("span", "does", ...prose(operation.summary)),
  );
  details.append(head);
  // Filled when it is opened: most never are.
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) {
      details.append(inside(path, method, operation, shapes));
    }
  });
  const link = element(
    "a",
    "",
    element("span", `method ${kind}`, kind.toUpperCase()),
    element("span", "", shorter(path)),
  );
  link.href = `#${operation.operationId}`;
  const words = `${kind} ${method} ${path} ${operation.summary} ${operation.tags.join(" ")} ${operation.parameters.map((one) => one.name).join(" ")}`;
  return { details, item: element("li", "", link), words: words.toLowerCase() };
}

function shorter(path) {
  const below = path.replace(/^\/api\/clusters\/\{key\}/, "…");
  return below === "…" ? path.slice(1) : below.replace(/^\//, "") || "/";
}

function shapeEntry(name, shape) {
  const details = element("details");
  details.id = name;
  const head = element("summary", "shape", element("span", "path", name));
  details.append(head);
  const box = element("div", "inside", ...paragraphs(shape.description ?? ""));
  const needed = new Set(shape.required ?? []);
  const rows = Object.entries(shape.properties ?? {}).map(([field, of]) => [
    [element("code", "", field), ...required(needed.has(field))],
    typeOf(of),
    "default" in of ? [element("code", "", JSON.stringify(of.default))] : [],
  ]);
  if (rows.length) box.append(table("fields", ["Field", "Type", "Default"], rows));
  details.append(box);
  return details;
}

function show(api) {
  at("version").textContent = api.info.version;
  at("about").replaceChildren(...paragraphs(api.info.description));
  const shapes = api.components.schemas;
  const groups = [];
  for (const tag of api.tags) {
    const entries = [];
    for (const [path, methods] of Object.entries(api.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        if (operation.tags.includes(tag.name)) entries.push(operationEntry(path, method, operation, shapes));
      }
    }
    const title = element("h2", "", tag.name);
    title.id = `area-${tag.name}`;
    const section = element("section", "", title, element("p", "area", ...prose(tag.description)));
    section.setAttribute("aria-labelledby", title.id);
    section.append(...entries.map((entry) => entry.details));
    const contents = element("div", "", element("h2", "", tag.name));
    contents.append(element("ul", "", ...entries.map((entry) => entry.item)));
    groups.push({ section, contents, entries });
  }
  at("operations").replaceChildren(...groups.map((group) => group.section));
  at("contents").replaceChildren(...groups.map((group) => group.contents));
  const named = Object.entries(shapes).sort(([one], [other]) => one.localeCompare(other));
  at("shape-list").replaceChildren(...named.map(([name, shape]) => shapeEntry(name, shape)));
  at("shapes").hidden = false;
  return groups;
}

function search(groups) {
  const words = at("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  let all = 0;
  for (const { section, contents, entries } of groups) {
    let some = 0;
    for (const entry of entries) {
      const fits = words.every((word) => entry.words.includes(word));
      entry.details.hidden = entry.item.hidden = !fits;
      some += fits;
    }
    section.hidden = contents.hidden = !some;
    count += some;
    all += entries.length;
  }
  at("shapes").hidden = words.length > 0;
  at("found").textContent = words.length ? `${count} of ${all} addresses` : `${all} addresses`;
}

function openNamed() {
  const id = decodeURIComponent(location.hash.slice(1));
  const target = id && document.getElementById(id);
  for (const link of document.querySelectorAll("#contents a")) {
    link.setAttribute("aria-current", String(link.hash === location.hash));
  }
  if (target?.tagName !== "DETAILS") return;
  at("shapes").hidden = false;
  target.open = true;
  target.querySelector("summary").focus({ preventScroll: true });
  // Its inside comes with the event of its opening, and moves nothing above it.
  target.scrollIntoView();
}

function keys(groups) {
  at("search").addEventListener("input", () => search(groups));
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches?.("input, textarea, select");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      at("search").focus();
    } else if (event.key === "Escape" && event.target === at("search")) {
      at("search").value = "";
      search(groups);
    } else if (event.key === "Enter" && event.target === at("search")) {
      const first = groups.flatMap((group) => group.entries).find((entry) => !entry.details.hidden);
      if (!first) return;
      location.hash = first.details.id;
      openNamed();
    }
  });
  window.addEventListener("hashchange", openNamed);
}

async function main() {
  try {
    const answer = await fetch(address("openapi.json"), { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(answer.status === 401 ? "you are not logged in: palm ui" : `status ${answer.status}`);
    const groups = show(await answer.json());
    search(groups);
    keys(groups);
    openNamed();
  } catch (error) {
    at("found").textContent = `The document cannot be read: ${error.message}`;
  }
}

main();
