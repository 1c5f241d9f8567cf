// Joined from registry/web by tools/join_panel.py: change the sources, and join them again.

// ---- dom.js

// Making and changing elements. Whatever comes from outside goes through textContent.

const SVG = "http://www.w3.org/2000/svg";

function element(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Assigning what is there already would cost layout, and the reader's selection.
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

function setClass(node, name, on) {
  if (node.classList.contains(name) !== Boolean(on)) node.classList.toggle(name, Boolean(on));
}

// Make the children of a node these, in this order; those that stay are not touched.
function arrange(parent, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  nodes.forEach((node, i) => {
    if (parent.children[i] !== node) parent.insertBefore(node, parent.children[i] ?? null);
  });
}

// Call back when the colours of the page change: what is drawn on a canvas does not follow them.
function watchTheme(callback) {
  const watched = new MutationObserver(callback);
  const options = { attributes: true, attributeFilter: ["class", "data-jp-theme-light", "data-theme"] };
  watched.observe(document.body, options);
  watched.observe(document.documentElement, options);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", callback);
  return () => {
    watched.disconnect();
    dark.removeEventListener("change", callback);
  };
}

// Keep plain keys that are pressed within a node from what else listens to them: a notebook would take an
// arrow for "next cell", and two d for "delete this cell". Keys with Ctrl, Alt or Meta are left to it.
// JupyterLab listens at the document before anybody in it, and asks what has the focus for this attribute.
function keepKeys(node) {
  const onKey = (event) => {
    if (!node.contains(event.target)) return;
    const plain = !(event.ctrlKey || event.altKey || event.metaKey);
    event.target.toggleAttribute("data-lm-suppress-shortcuts", plain);
  };
  window.addEventListener("keydown", onKey, true);
  return () => window.removeEventListener("keydown", onKey, true);
}

// A name and its value; not a list of definitions, which notebooks give a look of their own.
function fact(name, value) {
  return element("div", "palm-fact", element("span", "palm-fact-name", name), " ", value);
}

function button(className, label, onClick, ...children) {
  const node = element("button", className, ...children);
  node.type = "button";
  if (label) {
    node.setAttribute("aria-label", label);
    node.title = label;
  }
  node.addEventListener("click", onClick);
  return node;
}

const ICONS = {
  stop: "M4 4h8v8H4z",
  start: "M5 3.2v9.6L12.6 8z",
  restart: "M8 2.5A5.5 5.5 0 1 0 13.5 8h-1.6A3.9 3.9 0 1 1 8 4.1V6.4l3.7-3.1L8 .3z",
  less: "M3.5 7.2h9v1.6h-9z",
  more: "M7.2 3.5h1.6v3.7h3.7v1.6H8.8v3.7H7.2V8.8H3.5V7.2h3.7z",
  close: "M4.3 3.2 8 6.9l3.7-3.7 1.1 1.1L9.1 8l3.7 3.7-1.1 1.1L8 9.1l-3.7 3.7-1.1-1.1L6.9 8 3.2 4.3z",
};

function icon(name) {
  const path = svg("path", { d: ICONS[name] });
  return svg("svg", { viewBox: "0 0 16 16", class: "palm-icon", "aria-hidden": "true" }, path);
}

// ---- format.js

// Numbers and times as a person reads them, never wider than their column.

const NONE = "\u2013";

function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, "0");
  const minutes = Math.floor(whole / 60) % 60;
  const hours = Math.floor(whole / 3600);
  if (hours >= 24) return `${Math.floor(hours / 24)} d ${hours % 24} h`;
  if (hours) return `${hours}:${two(minutes)}:${two(whole % 60)}`;
  return `${minutes}:${two(whole % 60)}`;
}

// How long something takes, from microseconds up.
function span(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} \u00b5s`;
  if (seconds < 1) return `${significant(seconds * 1000)} ms`;
  if (seconds < 60) return `${significant(seconds)} s`;
  return duration(seconds);
}

function clock(time) {
  return new Date(time * 1000).toLocaleTimeString([], { hour12: false });
}

// A time of today; of another day, with its date.
function moment(time, now) {
  const date = new Date(time * 1000);
  const today = date.toDateString() === new Date(now * 1000).toDateString();
  return today ? clock(time) : `${date.toLocaleDateString("sv")} ${clock(time)}`;
}

function timestamp(time) {
  const date = new Date(time * 1000);
  const two = (n) => String(n).padStart(2, "0");
  const day = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return `${day}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

function bytes(size) {
  if (size === null || size === undefined) return NONE;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  let value = size;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit ? significant(value) : Math.round(value)} ${units[unit]}`;
}

function percent(value) {
  if (value === null || value === undefined) return NONE;
  return value > 0 && value < 0.95 ? `${value.toFixed(1)} %` : `${Math.round(value)} %`;
}

// 0, 0.4, 12, 340, 1.2k, 56k, 3.1M
function short(value) {
  if (value === null || value === undefined) return NONE;
  if (value === 0) return "0";
  if (value < 9.95) return Number.isInteger(value) ? String(value) : value.toFixed(1);
  if (value < 999.5) return String(Math.round(value));
  const units = ["k", "M", "G"];
  let unit = -1;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${significant(value)}${units[unit]}`;
}

function rate(value) {
  return value === null || value === undefined ? NONE : `${short(value)}/s`;
}

function grouped(value) {
  return value.toLocaleString("en-US");
}

function plural(count, one, many = `${one}s`) {
  return `${grouped(count)} ${count === 1 ? one : many}`;
}

// To a tenth: of a pixel, mostly.
function round(value) {
  return Math.round(value * 10) / 10;
}

function significant(value) {
  return value < 9.95 ? value.toFixed(1) : String(Math.round(value));
}

// ---- sparkline.js

// A curve the size of a word. Hundreds of them are drawn, so it is one path and nothing else.


const WIDTH = 48;
const HEIGHT = 16;
const POINTS = 45;

// The line and the area below it; "" where there are fewer than two values.
function paths(values, { width = WIDTH, height = HEIGHT, least = 0 } = {}) {
  const shown = values.slice(-POINTS);
  const known = shown.filter((value) => value !== null && value !== undefined);
  if (known.length < 2) return { line: "", area: "" };
  const top = Math.max(least, ...known) || 1;
  const step = (width - 2) / (POINTS - 1);
  const at = shown
    .map((value, i) => [width - 1 - (shown.length - 1 - i) * step, value])
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([x, value]) => [round(x), round(height - 1.5 - (value / top) * (height - 3))]);
  const line = at.map(([x, y], i) => `${i ? "L" : "M"}${x} ${y}`).join("");
  return { line, area: `${line}L${at[at.length - 1][0]} ${height}L${at[0][0]} ${height}Z` };
}

function createSparkline(kind) {
  const area = svg("path", { class: "palm-area" });
  const line = svg("path", { class: "palm-curve" });
  const node = svg(
    "svg",
    { class: `palm-spark palm-spark-${kind}`, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" },
    area,
    line,
  );
  return {
    node,
    update(values, least) {
      const drawn = paths(values, { least });
      setAttribute(line, "d", drawn.line || null);
      setAttribute(area, "d", drawn.area || null);
    },
  };
}

// ---- jobcard.js

// How far a job is: done, failed, retried, rate, remaining time, and what each worker does.


const CURVE = 60; // points of the curve
const WORKERS = 12; // that are shown; the rest is added up

const DOTS = { running: "starting", paused: "backing-off", done: "ready", cancelled: "stopped", failed: "failed" };

// The texts of a card.
function factsOf(job) {
  const { done, failed, retried, total } = job;
  const facts = [["Done", total === null ? grouped(done) : `${grouped(done)} of ${grouped(total)}`]];
  facts.push(["Failed", grouped(failed)], ["Retried", grouped(retried)], ["Rate", rate(job.rate)]);
  const over = ["done", "cancelled", "failed"].includes(job.state);
  facts.push(over ? ["Took", took(job.elapsed)] : ["Remaining", job.remaining === null ? NONE : duration(job.remaining)]);
  return facts;
}

// How a job is: [state for the dot, words]. One that is done may have failed in part.
function howIs({ state, failed }) {
  if (state === "done" && failed) return ["backing-off", `done, ${grouped(failed)} failed`];
  return [DOTS[state] ?? "starting", state];
}

function took(seconds) {
  return seconds < 60 ? span(seconds) : duration(seconds);
}

// Parts of the whole that are done and failed, from 0 to 1; null if there is no whole.
function partsOf({ done, failed, total }) {
  if (!total) return null;
  return { good: (done - failed) / total, bad: failed / total };
}

// The busiest workers, and the rest as one.
function workersOf(workers) {
  const sorted = [...workers].sort((a, b) => b.done - a.done || (a.name < b.name ? -1 : 1));
  if (sorted.length <= WORKERS) return sorted.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  const rest = sorted.splice(WORKERS - 1);
  const sum = (kind) => rest.reduce((n, each) => n + each[kind], 0);
  return [...sorted, { name: `${rest.length} others`, done: sum("done"), failed: sum("failed"), seconds: sum("seconds") }];
}

function createJobCard(root) {
  const curve = [];
  const dot = element("span", "palm-dot");
  dot.setAttribute("aria-hidden", "true");
  const words = element("span");
  words.setAttribute("role", "status");
  const badge = element("span", "palm-state", dot, words);
  const title = element("strong");
  const spark = createSparkline("rate");
  const age = element("span", "palm-age");
  const head = element("header", "palm-head", element("span", "palm-title", "Job ", title), badge, age);
  const good = element("span", "palm-good");
  const bad = element("span", "palm-bad");
  const bar = element("div", "palm-progress", good, bad);
  bar.setAttribute("role", "progressbar");
  bar.setAttribute("aria-valuemin", 0);
  bar.setAttribute("aria-valuemax", 100);
  bar.setAttribute("aria-label", "Done");
  const facts = element("div", "palm-facts");
  const workers = element("div", "palm-shares");
  workers.setAttribute("role", "list");
  workers.setAttribute("aria-label", "Per worker");
  const error = element("p", "palm-job-error");
  const node = element("section", "palm-panel palm-job", head, bar, element("div", "palm-job-body", facts, spark.node), error, workers);
  root.append(node);
  const cells = new Map();
  const shares = new Map();

  function update(job) {
    node.setAttribute("aria-label", `job ${job.function}`);
    setText(title, job.function);
    const [state, said] = howIs(job);
    badge.dataset.state = state;
    setText(words, said);
    setText(age, job.live ? "live" : `as of ${clock(job.time)}`);
    drawBar(job);
    arrange(facts, factsOf(job).map(([name, value]) => drawFact(name, value, job)));
    if (job.state === "running" && job.recent !== null) curve.push(job.recent);
    if (curve.length > CURVE) curve.shift();
    spark.update(curve, 1);
    error.hidden = !job.error;
    setText(error, job.error);
    drawShares(workersOf(job.workers));
  }

  function drawBar(job) {
    const parts = partsOf(job);
    setClass(bar, "palm-unknown", !parts && job.state === "running");
    const share = parts ?? { good: job.state === "done" ? 1 : 0, bad: 0 };
    good.style.width = `${100 * share.good}%`;
    bad.style.width = `${100 * share.bad}%`;
    setAttribute(bar, "aria-valuenow", parts ? Math.round(100 * (share.good + share.bad)) : null);
  }

  function drawFact(name, value, job) {
    if (!cells.has(name)) {
      const text = element("span", "palm-fact-value");
      cells.set(name, { text, node: fact(name, text) });
    }
    const cell = cells.get(name);
    setText(cell.text, value);
    setClass(cell.node, "palm-noted", name === "Failed" && job.failed > 0);
    return cell.node;
  }

  function drawShares(list) {
    workers.hidden = !list.length;
    const most = Math.max(1, ...list.map((each) => each.done));
    for (const name of [...shares.keys()]) if (!list.some((each) => each.name === name)) shares.delete(name);
    arrange(workers, list.map((each) => {
      if (!shares.has(each.name)) shares.set(each.name, createShare());
      return shares.get(each.name).update(each, most);
    }));
  }

  return { update, destroy: () => node.remove() };
}

function createShare() {
  const name = element("span", "palm-share-name");
  const part = svg("rect", { height: 6, rx: 3 });
  const bar = svg("svg", { class: "palm-share-bar", preserveAspectRatio: "none", viewBox: "0 0 100 6", "aria-hidden": "true" }, part);
  const text = element("span", "palm-share-text");
  const node = element("div", "palm-share", name, bar, text);
  node.setAttribute("role", "listitem");
  return {
    update(worker, most) {
      setText(name, worker.name);
      setAttribute(part, "width", Math.round((1000 * worker.done) / most) / 10);
      const failed = worker.failed ? `, ${grouped(worker.failed)} failed` : "";
      const each = worker.done ? `, ${span(worker.seconds / worker.done)} each` : "";
      setText(text, `${grouped(worker.done)}${failed}${each}`);
      return node;
    },
  };
}

// ---- uPlot.js

const uPlot = (() => {
/*! https://github.com/leeoniya/uPlot (v1.6.32) */
var uPlot=function(){"use strict";const l="u-off",e="u-label",t="width",n="height",i="top",o="bottom",s="left",r="right",u="#000",a=u+"0",f="mousemove",c="mousedown",h="mouseup",d="mouseenter",p="mouseleave",m="dblclick",g="change",x="dppxchange",w="--",_="undefined"!=typeof window,b=_?document:null,v=_?window:null,k=_?navigator:null;let y,M;function S(l,e){if(null!=e){let t=l.classList;!t.contains(e)&&t.add(e)}}function T(l,e){let t=l.classList;t.contains(e)&&t.remove(e)}function E(l,e,t){l.style[e]=t+"px"}function z(l,e,t,n){let i=b.createElement(l);return null!=e&&S(i,e),null!=t&&t.insertBefore(i,n),i}function D(l,e){return z("div",l,e)}const P=new WeakMap;function A(e,t,n,i,o){let s="translate("+t+"px,"+n+"px)";s!=P.get(e)&&(e.style.transform=s,P.set(e,s),0>t||0>n||t>i||n>o?S(e,l):T(e,l))}const W=new WeakMap;function Y(l,e,t){let n=e+t;n!=W.get(l)&&(W.set(l,n),l.style.background=e,l.style.borderColor=t)}const C=new WeakMap;function H(l,e,t,n){let i=e+""+t;i!=C.get(l)&&(C.set(l,i),l.style.height=t+"px",l.style.width=e+"px",l.style.marginLeft=n?-e/2+"px":0,l.style.marginTop=n?-t/2+"px":0)}const F={passive:!0},R={...F,capture:!0};function G(l,e,t,n){e.addEventListener(l,t,n?R:F)}function I(l,e,t){e.removeEventListener(l,t,F)}function L(l,e,t,n){let i;t=t||0;let o=2147483647>=(n=n||e.length-1);for(;n-t>1;)i=o?t+n>>1:sl((t+n)/2),l>e[i]?t=i:n=i;return l-e[t]>e[n]-l?n:t}function O(l){return(e,t,n)=>{let i=-1,o=-1;for(let o=t;n>=o;o++)if(l(e[o])){i=o;break}for(let i=n;i>=t;i--)if(l(e[i])){o=i;break}return[i,o]}}_&&function l(){let e=devicePixelRatio;y!=e&&(y=e,M&&I(g,M,l),M=matchMedia(`(min-resolution: ${y-.001}dppx) and (max-resolution: ${y+.001}dppx)`),G(g,M,l),v.dispatchEvent(new CustomEvent(x)))}();const N=l=>null!=l,j=l=>null!=l&&l>0,U=O(N),V=O(j);function B(l,e,t,n){let i=hl(l),o=hl(e);l==e&&(-1==i?(l*=t,e/=t):(l/=t,e*=t));let s=10==t?dl:pl,r=1==o?ul:sl,u=(1==i?sl:ul)(s(ol(l))),a=r(s(ol(e))),f=cl(t,u),c=cl(t,a);return 10==t&&(0>u&&(f=Al(f,-u)),0>a&&(c=Al(c,-a))),n||2==t?(l=f*i,e=c*o):(l=Pl(l,f),e=Dl(e,c)),[l,e]}function $(l,e,t,n){let i=B(l,e,t,n);return 0==l&&(i[0]=0),0==e&&(i[1]=0),i}const J=.1,q={mode:3,pad:J},K={pad:0,soft:null,mode:0},X={min:K,max:K};function Z(l,e,t,n){return Ol(t)?ll(l,e,t):(K.pad=t,K.soft=n?0:null,K.mode=n?3:0,ll(l,e,X))}function Q(l,e){return null==l?e:l}function ll(l,e,t){let n=t.min,i=t.max,o=Q(n.pad,0),s=Q(i.pad,0),r=Q(n.hard,-gl),u=Q(i.hard,gl),a=Q(n.soft,gl),f=Q(i.soft,-gl),c=Q(n.mode,0),h=Q(i.mode,0),d=e-l,p=dl(d),m=fl(ol(l),ol(e)),g=dl(m),x=ol(g-p);(1e-24>d||x>10)&&(d=0,0!=l&&0!=e||(d=1e-24,2==c&&a!=gl&&(o=0),2==h&&f!=-gl&&(s=0)));let w=d||m||1e3,_=dl(w),b=cl(10,sl(_)),v=Al(Pl(l-w*(0==d?0==l?.1:1:o),b/10),24),k=a>l||1!=c&&(3!=c||v>a)&&(2!=c||a>v)?gl:a,y=fl(r,k>v&&l>=k?k:al(k,v)),M=Al(Dl(e+w*(0==d?0==e?.1:1:s),b/10),24),S=e>f||1!=h&&(3!=h||f>M)&&(2!=h||M>f)?-gl:f,T=al(u,M>S&&S>=e?S:fl(S,M));return y==T&&0==y&&(T=100),[y,T]}const el=new Intl.NumberFormat(_?k.language:"en-US"),tl=l=>el.format(l),nl=Math,il=nl.PI,ol=nl.abs,sl=nl.floor,rl=nl.round,ul=nl.ceil,al=nl.min,fl=nl.max,cl=nl.pow,hl=nl.sign,dl=nl.log10,pl=nl.log2,ml=(l,e=1)=>nl.asinh(l/e),gl=1/0;function xl(l){return 1+(0|dl((l^l>>31)-(l>>31)))}function wl(l,e,t){return al(fl(l,e),t)}function _l(l){return"function"==typeof l}function bl(l){return _l(l)?l:()=>l}const vl=l=>l,kl=(l,e)=>e,yl=()=>null,Ml=()=>!0,Sl=(l,e)=>l==e,Tl=/\.\d*?(?=9{6,}|0{6,})/gm,El=l=>{if(Il(l)||Wl.has(l))return l;const e=""+l,t=e.match(Tl);if(null==t)return l;let n=t[0].length-1;if(-1!=e.indexOf("e-")){let[l,t]=e.split("e");return+`${El(l)}e${t}`}return Al(l,n)};function zl(l,e){return El(Al(El(l/e))*e)}function Dl(l,e){return El(ul(El(l/e))*e)}function Pl(l,e){return El(sl(El(l/e))*e)}function Al(l,e=0){if(Il(l))return l;let t=10**e;return rl(l*t*(1+Number.EPSILON))/t}const Wl=new Map;function Yl(l){return((""+l).split(".")[1]||"").length}function Cl(l,e,t,n){let i=[],o=n.map(Yl);for(let s=e;t>s;s++){let e=ol(s),t=Al(cl(l,s),e);for(let r=0;n.length>r;r++){let u=10==l?+`${n[r]}e${s}`:n[r]*t,a=(0>s?e:0)+(o[r]>s?o[r]:0),f=10==l?u:Al(u,a);i.push(f),Wl.set(f,a)}}return i}const Hl={},Fl=[],Rl=[null,null],Gl=Array.isArray,Il=Number.isInteger;function Ll(l){return"string"==typeof l}function Ol(l){let e=!1;if(null!=l){let t=l.constructor;e=null==t||t==Object}return e}function Nl(l){return null!=l&&"object"==typeof l}const jl=Object.getPrototypeOf(Uint8Array),Ul="__proto__";function Vl(l,e=Ol){let t;if(Gl(l)){let n=l.find((l=>null!=l));if(Gl(n)||e(n)){t=Array(l.length);for(let n=0;l.length>n;n++)t[n]=Vl(l[n],e)}else t=l.slice()}else if(l instanceof jl)t=l.slice();else if(e(l)){t={};for(let n in l)n!=Ul&&(t[n]=Vl(l[n],e))}else t=l;return t}function Bl(l){let e=arguments;for(let t=1;e.length>t;t++){let n=e[t];for(let e in n)e!=Ul&&(Ol(l[e])?Bl(l[e],Vl(n[e])):l[e]=Vl(n[e]))}return l}function $l(l,e,t){for(let n,i=0,o=-1;e.length>i;i++){let s=e[i];if(s>o){for(n=s-1;n>=0&&null==l[n];)l[n--]=null;for(n=s+1;t>n&&null==l[n];)l[o=n++]=null}}}const Jl="undefined"==typeof queueMicrotask?l=>Promise.resolve().then(l):queueMicrotask,ql=["January","February","March","April","May","June","July","August","September","October","November","December"],Kl=["Sunday","Monday","Tuesday","Wednesday","Thursday","Friday","Saturday"];function Xl(l){return l.slice(0,3)}const Zl=Kl.map(Xl),Ql=ql.map(Xl),le={MMMM:ql,MMM:Ql,WWWW:Kl,WWW:Zl};function ee(l){return(10>l?"0":"")+l}const te={YYYY:l=>l.getFullYear(),YY:l=>(l.getFullYear()+"").slice(2),MMMM:(l,e)=>e.MMMM[l.getMonth()],MMM:(l,e)=>e.MMM[l.getMonth()],MM:l=>ee(l.getMonth()+1),M:l=>l.getMonth()+1,DD:l=>ee(l.getDate()),D:l=>l.getDate(),WWWW:(l,e)=>e.WWWW[l.getDay()],WWW:(l,e)=>e.WWW[l.getDay()],HH:l=>ee(l.getHours()),H:l=>l.getHours(),h:l=>{let e=l.getHours();return 0==e?12:e>12?e-12:e},AA:l=>12>l.getHours()?"AM":"PM",aa:l=>12>l.getHours()?"am":"pm",a:l=>12>l.getHours()?"a":"p",mm:l=>ee(l.getMinutes()),m:l=>l.getMinutes(),ss:l=>ee(l.getSeconds()),s:l=>l.getSeconds(),fff:l=>function(l){return(10>l?"00":100>l?"0":"")+l}(l.getMilliseconds())};function ne(l,e){e=e||le;let t,n=[],i=/\{([a-z]+)\}|[^{]+/gi;for(;t=i.exec(l);)n.push("{"==t[0][0]?te[t[1]]:t[0]);return l=>{let t="";for(let i=0;n.length>i;i++)t+="string"==typeof n[i]?n[i]:n[i](l,e);return t}}const ie=(new Intl.DateTimeFormat).resolvedOptions().timeZone,oe=l=>l%1==0,se=[1,2,2.5,5],re=Cl(10,-32,0,se),ue=Cl(10,0,32,se),ae=ue.filter(oe),fe=re.concat(ue),ce="{YYYY}",he="\n"+ce,de="{M}/{D}",pe="\n"+de,me=pe+"/{YY}",ge="{aa}",xe="{h}:{mm}"+ge,we="\n"+xe,_e=":{ss}",be=null;function ve(l){let e=1e3*l,t=60*e,n=60*t,i=24*n,o=30*i,s=365*i;return[(1==l?Cl(10,0,3,se).filter(oe):Cl(10,-3,0,se)).concat([e,5*e,10*e,15*e,30*e,t,5*t,10*t,15*t,30*t,n,2*n,3*n,4*n,6*n,8*n,12*n,i,2*i,3*i,4*i,5*i,6*i,7*i,8*i,9*i,10*i,15*i,o,2*o,3*o,4*o,6*o,s,2*s,5*s,10*s,25*s,50*s,100*s]),[[s,ce,be,be,be,be,be,be,1],[28*i,"{MMM}",he,be,be,be,be,be,1],[i,de,he,be,be,be,be,be,1],[n,"{h}"+ge,me,be,pe,be,be,be,1],[t,xe,me,be,pe,be,be,be,1],[e,_e,me+" "+xe,be,pe+" "+xe,be,we,be,1],[l,_e+".{fff}",me+" "+xe,be,pe+" "+xe,be,we,be,1]],function(e){return(r,u,a,f,c,h)=>{let d=[],p=c>=s,m=c>=o&&s>c,g=e(a),x=Al(g*l,3),w=Pe(g.getFullYear(),p?0:g.getMonth(),m||p?1:g.getDate()),_=Al(w*l,3);if(m||p){let t=m?c/o:0,n=p?c/s:0,i=x==_?x:Al(Pe(w.getFullYear()+n,w.getMonth()+t,1)*l,3),r=new Date(rl(i/l)),u=r.getFullYear(),a=r.getMonth();for(let o=0;f>=i;o++){let s=Pe(u+n*o,a+t*o,1),r=s-e(Al(s*l,3));i=Al((+s+r)*l,3),i>f||d.push(i)}}else{let o=i>c?c:i,s=_+(sl(a)-sl(x))+Dl(x-_,o);d.push(s);let p=e(s),m=p.getHours()+p.getMinutes()/t+p.getSeconds()/n,g=c/n,w=h/r.axes[u]._space;for(;s=Al(s+c,1==l?0:3),f>=s;)if(g>1){let l=sl(Al(m+g,6))%24,t=e(s).getHours()-l;t>1&&(t=-1),s-=t*n,m=(m+g)%24,.7>Al((s-d[d.length-1])/c,3)*w||d.push(s)}else d.push(s)}return d}}]}const[ke,ye,Me]=ve(1),[Se,Te,Ee]=ve(.001);function ze(l,e){return l.map((l=>l.map(((t,n)=>0==n||8==n||null==t?t:e(1==n||0==l[8]?t:l[1]+t)))))}function De(l,e){return(t,n,i,o,s)=>{let r,u,a,f,c,h,d=e.find((l=>s>=l[0]))||e[e.length-1];return n.map((e=>{let t=l(e),n=t.getFullYear(),i=t.getMonth(),o=t.getDate(),s=t.getHours(),p=t.getMinutes(),m=t.getSeconds(),g=n!=r&&d[2]||i!=u&&d[3]||o!=a&&d[4]||s!=f&&d[5]||p!=c&&d[6]||m!=h&&d[7]||d[1];return r=n,u=i,a=o,f=s,c=p,h=m,g(t)}))}}function Pe(l,e,t){return new Date(l,e,t)}function Ae(l,e){return e(l)}function We(l,e){return(t,n,i,o)=>null==o?w:e(l(n))}Cl(2,-53,53,[1]);const Ye={show:!0,live:!0,isolate:!1,mount:()=>{},markers:{show:!0,width:2,stroke:function(l,e){let t=l.series[e];return t.width?t.stroke(l,e):t.points.width?t.points.stroke(l,e):null},fill:function(l,e){return l.series[e].fill(l,e)},dash:"solid"},idx:null,idxs:null,values:[]},Ce=[0,0];function He(l,e,t,n=!0){return l=>{0==l.button&&(!n||l.target==e)&&t(l)}}function Fe(l,e,t,n=!0){return l=>{(!n||l.target==e)&&t(l)}}const Re={show:!0,x:!0,y:!0,lock:!1,move:function(l,e,t){return Ce[0]=e,Ce[1]=t,Ce},points:{one:!1,show:function(l,e){let i=l.cursor.points,o=D(),s=i.size(l,e);E(o,t,s),E(o,n,s);let r=s/-2;E(o,"marginLeft",r),E(o,"marginTop",r);let u=i.width(l,e,s);return u&&E(o,"borderWidth",u),o},size:function(l,e){return l.series[e].points.size},width:0,stroke:function(l,e){let t=l.series[e].points;return t._stroke||t._fill},fill:function(l,e){let t=l.series[e].points;return t._fill||t._stroke}},bind:{mousedown:He,mouseup:He,click:He,dblclick:He,mousemove:Fe,mouseleave:Fe,mouseenter:Fe},drag:{setScale:!0,x:!0,y:!1,dist:0,uni:null,click:(l,e)=>{e.stopPropagation(),e.stopImmediatePropagation()},_x:!1,_y:!1},focus:{dist:(l,e,t,n,i)=>n-i,prox:-1,bias:0},hover:{skip:[void 0],prox:null,bias:0},left:-10,top:-10,idx:null,dataIdx:null,idxs:null,event:null},Ge={show:!0,stroke:"rgba(0,0,0,0.07)",width:2},Ie=Bl({},Ge,{filter:kl}),Le=Bl({},Ie,{size:10}),Oe=Bl({},Ge,{show:!1}),Ne='12px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Noto Sans", sans-serif, "Apple Color Emoji", "Segoe UI Emoji", "Segoe UI Symbol", "Noto Color Emoji"',je="bold "+Ne,Ue={show:!0,scale:"x",stroke:u,space:50,gap:5,alignTo:1,size:50,labelGap:0,labelSize:30,labelFont:je,side:2,grid:Ie,ticks:Le,border:Oe,font:Ne,lineGap:1.5,rotate:0},Ve={show:!0,scale:"x",auto:!1,sorted:1,min:gl,max:-gl,idxs:[]};function Be(l,e){return e.map((l=>null==l?"":tl(l)))}function $e(l,e,t,n,i,o,s){let r=[],u=Wl.get(i)||0;for(let l=t=s?t:Al(Dl(t,i),u);n>=l;l=Al(l+i,u))r.push(Object.is(l,-0)?0:l);return r}function Je(l,e,t,n,i){const o=[],s=l.scales[l.axes[e].scale].log,r=sl((10==s?dl:pl)(t));i=cl(s,r),10==s&&(i=fe[L(i,fe)]);let u=t,a=i*s;10==s&&(a=fe[L(a,fe)]);do{o.push(u),u+=i,10!=s||Wl.has(u)||(u=Al(u,Wl.get(i))),a>u||(a=(i=u)*s,10==s&&(a=fe[L(a,fe)]))}while(n>=u);return o}function qe(l,e,t,n,i){let o=l.scales[l.axes[e].scale].asinh,s=n>o?Je(l,e,fl(o,t),n,i):[o],r=0>n||t>0?[]:[0];return(-o>t?Je(l,e,fl(o,-n),-t,i):[o]).reverse().map((l=>-l)).concat(r,s)}const Ke=/./,Xe=/[12357]/,Ze=/[125]/,Qe=/1/,lt=(l,e,t,n)=>l.map(((l,i)=>4==e&&0==l||i%n==0&&t.test(l.toExponential()[0>l?1:0])?l:null));function et(l,e,t){let n=l.axes[t],i=n.scale,o=l.scales[i],s=l.valToPos,r=n._space,u=s(10,i),a=s(9,i)-u<r?s(7,i)-u<r?s(5,i)-u<r?Qe:Ze:Xe:Ke;if(a==Qe){let l=ol(s(1,i)-u);if(r>l)return lt(e.slice().reverse(),o.distr,a,ul(r/l)).reverse()}return lt(e,o.distr,a,1)}function tt(l,e,t){let n=l.axes[t],i=n.scale,o=n._space,s=l.valToPos,r=ol(s(1,i)-s(2,i));return o>r?lt(e.slice().reverse(),3,Ke,ul(o/r)).reverse():e}function nt(l,e,t,n){return null==n?w:null==e?"":tl(e)}const it={show:!0,scale:"y",stroke:u,space:30,gap:5,alignTo:1,size:50,labelGap:0,labelSize:30,labelFont:je,side:3,grid:Ie,ticks:Le,border:Oe,font:Ne,lineGap:1.5,rotate:0},ot={scale:null,auto:!0,sorted:0,min:gl,max:-gl},st=(l,e,t,n,i)=>i,rt={show:!0,auto:!0,sorted:0,gaps:st,alpha:1,facets:[Bl({},ot,{scale:"x"}),Bl({},ot,{scale:"y"})]},ut={scale:"y",auto:!0,sorted:0,show:!0,spanGaps:!1,gaps:st,alpha:1,points:{show:function(l,e){let{scale:t,idxs:n}=l.series[0],i=l._data[0],o=l.valToPos(i[n[0]],t,!0),s=l.valToPos(i[n[1]],t,!0);return ol(s-o)/(l.series[e].points.space*y)>=n[1]-n[0]},filter:null},values:null,min:gl,max:-gl,idxs:[],path:null,clip:null};function at(l,e,t){return t/10}const ft={time:!0,auto:!0,distr:1,log:10,asinh:1,min:null,max:null,dir:1,ori:0},ct=Bl({},ft,{time:!1,ori:1}),ht={};function dt(l){let e=ht[l];return e||(e={key:l,plots:[],sub(l){e.plots.push(l)},unsub(l){e.plots=e.plots.filter((e=>e!=l))},pub(l,t,n,i,o,s,r){for(let u=0;e.plots.length>u;u++)e.plots[u]!=t&&e.plots[u].pub(l,t,n,i,o,s,r)}},null!=l&&(ht[l]=e)),e}function pt(l,e,t){const n=l.mode,i=l.series[e],o=2==n?l._data[e]:l._data,s=l.scales,r=l.bbox;let u=o[0],a=2==n?o[1]:o[e],f=2==n?s[i.facets[0].scale]:s[l.series[0].scale],c=2==n?s[i.facets[1].scale]:s[i.scale],h=r.left,d=r.top,p=r.width,m=r.height,g=l.valToPosH,x=l.valToPosV;return 0==f.ori?t(i,u,a,f,c,g,x,h,d,p,m,kt,Mt,Tt,zt,Pt):t(i,u,a,f,c,x,g,d,h,m,p,yt,St,Et,Dt,At)}function mt(l,e){let t=0,n=0,i=Q(l.bands,Fl);for(let l=0;i.length>l;l++){let o=i[l];o.series[0]==e?t=o.dir:o.series[1]==e&&(n|=1==o.dir?1:2)}return[t,1==n?-1:2==n?1:3==n?2:0]}function gt(l,e,t,n,i){let o=l.series[e],s=l.scales[2==l.mode?o.facets[1].scale:o.scale];return-1==i?s.min:1==i?s.max:3==s.distr?1==s.dir?s.min:s.max:0}function xt(l,e,t,n,i,o){return pt(l,e,((l,e,s,r,u,a,f,c,h,d,p)=>{let m=l.pxRound;const g=0==r.ori?Mt:St;let x,w;1==r.dir*(0==r.ori?1:-1)?(x=t,w=n):(x=n,w=t);let _=m(a(e[x],r,d,c)),b=m(f(s[x],u,p,h)),v=m(a(e[w],r,d,c)),k=m(f(1==o?u.max:u.min,u,p,h)),y=new Path2D(i);return g(y,v,k),g(y,_,k),g(y,_,b),y}))}function wt(l,e,t,n,i,o){let s=null;if(l.length>0){s=new Path2D;const r=0==e?Tt:Et;let u=t;for(let e=0;l.length>e;e++){let t=l[e];if(t[1]>t[0]){let l=t[0]-u;l>0&&r(s,u,n,l,n+o),u=t[1]}}let a=t+i-u,f=10;a>0&&r(s,u,n-f/2,a,n+o+f)}return s}function _t(l,e,t,n,i,o,s){let r=[],u=l.length;for(let a=1==i?t:n;a>=t&&n>=a;a+=i)if(null===e[a]){let f=a,c=a;if(1==i)for(;++a<=n&&null===e[a];)c=a;else for(;--a>=t&&null===e[a];)c=a;let h=o(l[f]),d=c==f?h:o(l[c]),p=f-i;h=s>0||0>p||p>=u?h:o(l[p]);let m=c+i;d=0>s||0>m||m>=u?d:o(l[m]),h>d||r.push([h,d])}return r}function bt(l){return 0==l?vl:1==l?rl:e=>zl(e,l)}function vt(l){let e=0==l?kt:yt,t=0==l?(l,e,t,n,i,o)=>{l.arcTo(e,t,n,i,o)}:(l,e,t,n,i,o)=>{l.arcTo(t,e,i,n,o)},n=0==l?(l,e,t,n,i)=>{l.rect(e,t,n,i)}:(l,e,t,n,i)=>{l.rect(t,e,i,n)};return(l,i,o,s,r,u=0,a=0)=>{0==u&&0==a?n(l,i,o,s,r):(u=al(u,s/2,r/2),a=al(a,s/2,r/2),e(l,i+u,o),t(l,i+s,o,i+s,o+r,u),t(l,i+s,o+r,i,o+r,a),t(l,i,o+r,i,o,a),t(l,i,o,i+s,o,u),l.closePath())}}const kt=(l,e,t)=>{l.moveTo(e,t)},yt=(l,e,t)=>{l.moveTo(t,e)},Mt=(l,e,t)=>{l.lineTo(e,t)},St=(l,e,t)=>{l.lineTo(t,e)},Tt=vt(0),Et=vt(1),zt=(l,e,t,n,i,o)=>{l.arc(e,t,n,i,o)},Dt=(l,e,t,n,i,o)=>{l.arc(t,e,n,i,o)},Pt=(l,e,t,n,i,o,s)=>{l.bezierCurveTo(e,t,n,i,o,s)},At=(l,e,t,n,i,o,s)=>{l.bezierCurveTo(t,e,i,n,s,o)};function Wt(){return(l,e,t,n,i)=>pt(l,e,((e,o,s,r,u,a,f,c,h,d,p)=>{let m,g,{pxRound:x,points:w}=e;0==r.ori?(m=kt,g=zt):(m=yt,g=Dt);const _=Al(w.width*y,3);let b=(w.size-w.width)/2*y,v=Al(2*b,3),k=new Path2D,M=new Path2D,{left:S,top:T,width:E,height:z}=l.bbox;Tt(M,S-v,T-v,E+2*v,z+2*v);const D=l=>{if(null!=s[l]){let e=x(a(o[l],r,d,c)),t=x(f(s[l],u,p,h));m(k,e+b,t),g(k,e,t,b,0,2*il)}};if(i)i.forEach(D);else for(let l=t;n>=l;l++)D(l);return{stroke:_>0?k:null,fill:k,clip:M,flags:3}}))}function Yt(l){return(e,t,n,i,o,s)=>{n!=i&&(o!=n&&s!=n&&l(e,t,n),o!=i&&s!=i&&l(e,t,i),l(e,t,s))}}const Ct=Yt(Mt),Ht=Yt(St);function Ft(l){const e=Q(l?.alignGaps,0);return(l,t,n,i)=>pt(l,t,((o,s,r,u,a,f,c,h,d,p,m)=>{[n,i]=U(r,n,i);let g,x,w=o.pxRound,_=l=>w(f(l,u,p,h)),b=l=>w(c(l,a,m,d));0==u.ori?(g=Mt,x=Ct):(g=St,x=Ht);const v=u.dir*(0==u.ori?1:-1),k={stroke:new Path2D,fill:null,clip:null,band:null,gaps:null,flags:1},y=k.stroke;let M=!1;if(i-n<4*p)for(let l=1==v?n:i;l>=n&&i>=l;l+=v){let e=r[l];null===e?M=!0:null!=e&&g(y,_(s[l]),b(e))}else{let e,t,o,a=e=>l.posToVal(e,u.key,!0),f=null,c=null,h=_(s[1==v?n:i]),d=_(s[n]),p=_(s[i]),m=a(1==v?d+1:p-1);for(let l=1==v?n:i;l>=n&&i>=l;l+=v){let n=s[l],i=(1==v?m>n:n>m)?h:_(n),o=r[l];i==h?null!=o?(t=o,null==f?(g(y,i,b(t)),e=f=c=t):f>t?f=t:t>c&&(c=t)):null===o&&(M=!0):(null!=f&&x(y,h,b(f),b(c),b(e),b(t)),null!=o?(t=o,g(y,i,b(t)),f=c=e=t):(f=c=null,null===o&&(M=!0)),h=i,m=a(h+v))}null!=f&&f!=c&&o!=h&&x(y,h,b(f),b(c),b(e),b(t))}let[S,T]=mt(l,t);if(null!=o.fill||0!=S){let e=k.fill=new Path2D(y),r=b(o.fillTo(l,t,o.min,o.max,S)),u=_(s[n]),a=_(s[i]);-1==v&&([a,u]=[u,a]),g(e,a,r),g(e,u,r)}if(!o.spanGaps){let a=[];M&&a.push(..._t(s,r,n,i,v,_,e)),k.gaps=a=o.gaps(l,t,n,i,a),k.clip=wt(a,u.ori,h,d,p,m)}return 0!=T&&(k.band=2==T?[xt(l,t,n,i,y,-1),xt(l,t,n,i,y,1)]:xt(l,t,n,i,y,T)),k}))}function Rt(l,e,t,n,i,o,s=gl){if(l.length>1){let r=null;for(let u=0,a=1/0;l.length>u;u++)if(void 0!==e[u]){if(null!=r){let e=ol(l[u]-l[r]);a>e&&(a=e,s=ol(t(l[u],n,i,o)-t(l[r],n,i,o)))}r=u}}return s}function Gt(l,e,t,n,i){const o=l.length;if(2>o)return null;const s=new Path2D;if(t(s,l[0],e[0]),2==o)n(s,l[1],e[1]);else{let t=Array(o),n=Array(o-1),r=Array(o-1),u=Array(o-1);for(let t=0;o-1>t;t++)r[t]=e[t+1]-e[t],u[t]=l[t+1]-l[t],n[t]=r[t]/u[t];t[0]=n[0];for(let l=1;o-1>l;l++)0===n[l]||0===n[l-1]||n[l-1]>0!=n[l]>0?t[l]=0:(t[l]=3*(u[l-1]+u[l])/((2*u[l]+u[l-1])/n[l-1]+(u[l]+2*u[l-1])/n[l]),isFinite(t[l])||(t[l]=0));t[o-1]=n[o-2];for(let n=0;o-1>n;n++)i(s,l[n]+u[n]/3,e[n]+t[n]*u[n]/3,l[n+1]-u[n]/3,e[n+1]-t[n+1]*u[n]/3,l[n+1],e[n+1])}return s}const It=new Set;function Lt(){for(let l of It)l.syncRect(!0)}_&&(G("resize",v,Lt),G("scroll",v,Lt,!0),G(x,v,(()=>{en.pxRatio=y})));const Ot=Ft(),Nt=Wt();function jt(l,e,t,n){return(n?[l[0],l[1]].concat(l.slice(2)):[l[0]].concat(l.slice(1))).map(((l,n)=>Ut(l,n,e,t)))}function Ut(l,e,t,n){return Bl({},0==e?t:n,l)}function Vt(l,e,t){return null==e?Rl:[e,t]}const Bt=Vt;function $t(l,e,t){return null==e?Rl:Z(e,t,J,!0)}function Jt(l,e,t,n){return null==e?Rl:B(e,t,l.scales[n].log,!1)}const qt=Jt;function Kt(l,e,t,n){return null==e?Rl:$(e,t,l.scales[n].log,!1)}const Xt=Kt;function Zt(l,e,t,n,i){let o=fl(xl(l),xl(e)),s=e-l,r=L(i/n*s,t);do{let l=t[r],e=n*l/s;if(e>=i&&17>=o+(5>l?Wl.get(l):0))return[l,e]}while(++r<t.length);return[0,0]}function Qt(l){let e,t;return[l=l.replace(/(\d+)px/,((l,n)=>(e=rl((t=+n)*y))+"px")),e,t]}function ln(l){l.show&&[l.font,l.labelFont].forEach((l=>{let e=Al(l[2]*y,1);l[0]=l[0].replace(/[0-9.]+px/,e+"px"),l[1]=e}))}function en(u,g,_){const k={mode:Q(u.mode,1)},M=k.mode;function P(l,e,t,n){let i=e.valToPct(l);return n+t*(-1==e.dir?1-i:i)}function W(l,e,t,n){let i=e.valToPct(l);return n+t*(-1==e.dir?i:1-i)}function C(l,e,t,n){return 0==e.ori?P(l,e,t,n):W(l,e,t,n)}k.valToPosH=P,k.valToPosV=W;let F=!1;k.status=0;const R=k.root=D("uplot");null!=u.id&&(R.id=u.id),S(R,u.class),u.title&&(D("u-title",R).textContent=u.title);const O=z("canvas"),K=k.ctx=O.getContext("2d"),X=D("u-wrap",R);G("click",X,(l=>{l.target===el&&(Nn!=Gn||jn!=In)&&Zn.click(k,l)}),!0);const ll=k.under=D("u-under",X);X.appendChild(O);const el=k.over=D("u-over",X),tl=+Q((u=Vl(u)).pxAlign,1),sl=bt(tl);(u.plugins||[]).forEach((l=>{l.opts&&(u=l.opts(k,u)||u)}));const hl=u.ms||.001,pl=k.series=1==M?jt(u.series||[],Ve,ut,!1):function(l,e){return l.map(((l,t)=>0==t?{}:Bl({},e,l)))}(u.series||[null],rt),xl=k.axes=jt(u.axes||[],Ue,it,!0),vl=k.scales={},Tl=k.bands=u.bands||[];Tl.forEach((l=>{l.fill=bl(l.fill||null),l.dir=Q(l.dir,-1)}));const El=2==M?pl[1].facets[0].scale:pl[0].scale,Dl={axes:function(){for(let l=0;xl.length>l;l++){let e=xl[l];if(!e.show||!e._show)continue;let t,n,u=e.side,a=u%2,f=e.stroke(k,l),c=0==u||3==u?-1:1,[h,d]=e._found;if(null!=e.label){let s=rl((e._lpos+e.labelGap*c)*y);_n(e.labelFont[0],f,"center",2==u?i:o),K.save(),1==a?(t=n=0,K.translate(s,rl(lt+st/2)),K.rotate((3==u?-il:il)/2)):(t=rl(Qe+ot/2),n=s);let r=_l(e.label)?e.label(k,l,h,d):e.label;K.fillText(r,t,n),K.restore()}if(0==d)continue;let p=vl[e.scale],m=0==a?ot:st,g=0==a?Qe:lt,x=e._splits,w=2==p.distr?x.map((l=>pn[l])):x,_=2==p.distr?pn[x[1]]-pn[x[0]]:h,b=e.ticks,v=e.border,M=b.show?b.size:0,S=rl(M*y),T=rl((2==e.alignTo?e._size-M-e.gap:e.gap)*y),E=e._rotate*-il/180,z=sl(e._pos*y),D=z+(S+T)*c;n=0==a?D:0,t=1==a?D:0,_n(e.font[0],f,1==e.align?s:2==e.align?r:E>0?s:0>E?r:0==a?"center":3==u?r:s,E||1==a?"middle":2==u?i:o);let P=e.font[1]*e.lineGap,A=x.map((l=>sl(C(l,p,m,g)))),W=e._values;for(let l=0;W.length>l;l++){let e=W[l];if(null!=e){0==a?t=A[l]:n=A[l],e=""+e;let i=-1==e.indexOf("\n")?[e]:e.split(/\n/gm);for(let l=0;i.length>l;l++){let e=i[l];E?(K.save(),K.translate(t,n+l*P),K.rotate(E),K.fillText(e,0,0),K.restore()):K.fillText(e,t,n+l*P)}}}b.show&&zn(A,b.filter(k,w,l,d,_),a,u,z,S,Al(b.width*y,3),b.stroke(k,l),b.dash,b.cap);let Y=e.grid;Y.show&&zn(A,Y.filter(k,w,l,d,_),a,0==a?2:1,0==a?lt:Qe,0==a?st:ot,Al(Y.width*y,3),Y.stroke(k,l),Y.dash,Y.cap),v.show&&zn([z],[1],0==a?1:0,0==a?1:2,1==a?lt:Qe,1==a?st:ot,Al(v.width*y,3),v.stroke(k,l),v.dash,v.cap)}Ci("drawAxes")},series:function(){if(Gt>0){let l=pl.some((l=>l._focus))&&dn!=Tt.alpha;l&&(K.globalAlpha=dn=Tt.alpha),pl.forEach(((l,e)=>{if(e>0&&l.show&&(kn(e,!1),kn(e,!0),null==l._paths)){let t=dn;dn!=l.alpha&&(K.globalAlpha=dn=l.alpha);let n=2==M?[0,g[e][0].length-1]:function(l){let e=wl(Lt-1,0,Gt-1),t=wl(en+1,0,Gt-1);for(;null==l[e]&&e>0;)e--;for(;null==l[t]&&Gt-1>t;)t++;return[e,t]}(g[e]);l._paths=l.paths(k,e,n[0],n[1]),dn!=t&&(K.globalAlpha=dn=t)}})),pl.forEach(((l,e)=>{if(e>0&&l.show){let t=dn;dn!=l.alpha&&(K.globalAlpha=dn=l.alpha),null!=l._paths&&yn(e,!1);{let t=null!=l._paths?l._paths.gaps:null,n=l.points.show(k,e,Lt,en,t),i=l.points.filter(k,e,n,t);(n||i)&&(l.points._paths=l.points.paths(k,e,Lt,en,i),yn(e,!0))}dn!=t&&(K.globalAlpha=dn=t),Ci("drawSeries",e)}})),l&&(K.globalAlpha=dn=1)}}},Pl=(u.drawOrder||["axes","series"]).map((l=>Dl[l]));function Cl(l){const e=3==l.distr?e=>dl(e>0?e:l.clamp(k,e,l.min,l.max,l.key)):4==l.distr?e=>ml(e,l.asinh):100==l.distr?e=>l.fwd(e):l=>l;return t=>{let n=e(t),{_min:i,_max:o}=l;return(n-i)/(o-i)}}function Il(l){let e=vl[l];if(null==e){let t=(u.scales||Hl)[l]||Hl;if(null!=t.from){Il(t.from);let e=Bl({},vl[t.from],t,{key:l});e.valToPct=Cl(e),vl[l]=e}else{e=vl[l]=Bl({},l==El?ft:ct,t),e.key=l;let n=e.time,i=e.range,o=Gl(i);if((l!=El||2==M&&!n)&&(!o||null!=i[0]&&null!=i[1]||(i={min:null==i[0]?q:{mode:1,hard:i[0],soft:i[0]},max:null==i[1]?q:{mode:1,hard:i[1],soft:i[1]}},o=!1),!o&&Ol(i))){let l=i;i=(e,t,n)=>null==t?Rl:Z(t,n,l)}e.range=bl(i||(n?Bt:l==El?3==e.distr?qt:4==e.distr?Xt:Vt:3==e.distr?Jt:4==e.distr?Kt:$t)),e.auto=bl(!o&&e.auto),e.clamp=bl(e.clamp||at),e._min=e._max=null,e.valToPct=Cl(e)}}}Il("x"),Il("y"),1==M&&pl.forEach((l=>{Il(l.scale)})),xl.forEach((l=>{Il(l.scale)}));for(let l in u.scales)Il(l);const jl=vl[El],Ul=jl.distr;let $l,ql;0==jl.ori?(S(R,"u-hz"),$l=P,ql=W):(S(R,"u-vt"),$l=W,ql=P);const Kl={};for(let l in vl){let e=vl[l];null==e.min&&null==e.max||(Kl[l]={min:e.min,max:e.max},e.min=e.max=null)}const Xl=u.tzDate||(l=>new Date(rl(l/hl))),Zl=u.fmtDate||ne,Ql=1==hl?Me(Xl):Ee(Xl),le=De(Xl,ze(1==hl?ye:Te,Zl)),ee=We(Xl,Ae("{YYYY}-{MM}-{DD} {h}:{mm}{aa}",Zl)),te=[],ie=k.legend=Bl({},Ye,u.legend),oe=k.cursor=Bl({},Re,{drag:{y:2==M}},u.cursor),se=ie.show,re=oe.show,ue=ie.markers;let ce,he,de;ie.idxs=te,ue.width=bl(ue.width),ue.dash=bl(ue.dash),ue.stroke=bl(ue.stroke),ue.fill=bl(ue.fill);let pe,me=[],ge=[],xe=!1,we={};if(ie.live){const l=pl[1]?pl[1].values:null;xe=null!=l,pe=xe?l(k,1,0):{_:0};for(let l in pe)we[l]=w}if(se)if(ce=z("table","u-legend",R),de=z("tbody",null,ce),ie.mount(k,ce),xe){he=z("thead",null,ce,de);let l=z("tr",null,he);for(var _e in z("th",null,l),pe)z("th",e,l).textContent=_e}else S(ce,"u-inline"),ie.live&&S(ce,"u-live");const be={show:!0},ve={show:!1},Pe=new Map;function Ce(l,e,t,n=!0){const i=Pe.get(e)||{},o=oe.bind[l](k,e,t,n);o&&(G(l,e,i[l]=o),Pe.set(e,i))}function He(l,e){const t=Pe.get(e)||{};for(let n in t)null!=l&&n!=l||(I(n,e,t[n]),delete t[n]);null==l&&Pe.delete(e)}let Fe=0,Ge=0,Ie=0,Le=0,Oe=0,Ne=0,je=Oe,Ke=Ne,Xe=Ie,Ze=Le,Qe=0,lt=0,ot=0,st=0;k.bbox={};let ht=!1,pt=!1,mt=!1,xt=!1,wt=!1,_t=!1;function vt(l,e,t){(t||l!=k.width||e!=k.height)&&kt(l,e),An(!1),mt=!0,pt=!0,Jn()}function kt(l,e){k.width=Fe=Ie=l,k.height=Ge=Le=e,Oe=Ne=0,function(){let l=!1,e=!1,t=!1,n=!1;xl.forEach((i=>{if(i.show&&i._show){let{side:o,_size:s}=i,r=s+(null!=i.label?i.labelSize:0);r>0&&(o%2?(Ie-=r,3==o?(Oe+=r,n=!0):t=!0):(Le-=r,0==o?(Ne+=r,l=!0):e=!0))}})),Ct[0]=l,Ct[1]=t,Ct[2]=e,Ct[3]=n,Ie-=Rt[1]+Rt[3],Oe+=Rt[3],Le-=Rt[2]+Rt[0],Ne+=Rt[0]}(),function(){let l=Oe+Ie,e=Ne+Le,t=Oe,n=Ne;function i(i,o){switch(i){case 1:return l+=o,l-o;case 2:return e+=o,e-o;case 3:return t-=o,t+o;case 0:return n-=o,n+o}}xl.forEach((l=>{if(l.show&&l._show){let e=l.side;l._pos=i(e,l._size),null!=l.label&&(l._lpos=i(e,l.labelSize))}}))}();let t=k.bbox;Qe=t.left=zl(Oe*y,.5),lt=t.top=zl(Ne*y,.5),ot=t.width=zl(Ie*y,.5),st=t.height=zl(Le*y,.5)}const yt=3;if(k.setSize=function({width:l,height:e}){vt(l,e)},null==oe.dataIdx){let l=oe.hover,e=l.skip=new Set(l.skip??[]);e.add(void 0);let t=l.prox=bl(l.prox),n=l.bias??=0;oe.dataIdx=(l,i,o,s)=>{if(0==i)return o;let r=o,u=t(l,i,o,s)??gl,a=u>=0&&gl>u,f=0==jl.ori?Ie:Le,c=oe.left,h=g[0],d=g[i];if(e.has(d[o])){r=null;let l,t=null,i=null;if(0==n||-1==n)for(l=o;null==t&&l-- >0;)e.has(d[l])||(t=l);if(0==n||1==n)for(l=o;null==i&&l++<d.length;)e.has(d[l])||(i=l);if(null!=t||null!=i)if(a){let l=c-(null==t?-1/0:$l(h[t],jl,f,0)),e=(null==i?1/0:$l(h[i],jl,f,0))-c;l>e?e>u||(r=i):l>u||(r=t)}else r=null==i?t:null==t||o-t>i-o?i:t}else a&&ol(c-$l(h[o],jl,f,0))>u&&(r=null);return r}}const Mt=l=>{oe.event=l};oe.idxs=te,oe._lock=!1;let St=oe.points;St.show=bl(St.show),St.size=bl(St.size),St.stroke=bl(St.stroke),St.width=bl(St.width),St.fill=bl(St.fill);const Tt=k.focus=Bl({},u.focus||{alpha:.3},oe.focus),Et=Tt.prox>=0,zt=Et&&St.one;let Dt=[],Pt=[],At=[];function Wt(l,e){let t=St.show(k,e);if(t instanceof HTMLElement)return S(t,"u-cursor-pt"),S(t,l.class),A(t,-10,-10,Ie,Le),el.insertBefore(t,Dt[e]),t}function Yt(t,n){if(1==M||n>0){let l=1==M&&vl[t.scale].time,e=t.value;t.value=l?Ll(e)?We(Xl,Ae(e,Zl)):e||ee:e||nt,t.label=t.label||(l?"Time":"Value")}if(zt||n>0){t.width=null==t.width?1:t.width,t.paths=t.paths||Ot||yl,t.fillTo=bl(t.fillTo||gt),t.pxAlign=+Q(t.pxAlign,tl),t.pxRound=bt(t.pxAlign),t.stroke=bl(t.stroke||null),t.fill=bl(t.fill||null),t._stroke=t._fill=t._paths=t._focus=null;let l=function(l){return Al(1*(3+2*(l||1)),3)}(fl(1,t.width)),e=t.points=Bl({},{size:l,width:fl(1,.2*l),stroke:t.stroke,space:2*l,paths:Nt,_stroke:null,_fill:null},t.points);e.show=bl(e.show),e.filter=bl(e.filter),e.fill=bl(e.fill),e.stroke=bl(e.stroke),e.paths=bl(e.paths),e.pxAlign=t.pxAlign}if(se){let i=function(t,n){if(0==n&&(xe||!ie.live||2==M))return Rl;let i=[],o=z("tr","u-series",de,de.childNodes[n]);S(o,t.class),t.show||S(o,l);let s=z("th",null,o);if(ue.show){let l=D("u-marker",s);if(n>0){let e=ue.width(k,n);e&&(l.style.border=e+"px "+ue.dash(k,n)+" "+ue.stroke(k,n)),l.style.background=ue.fill(k,n)}}let r=D(e,s);for(var u in t.label instanceof HTMLElement?r.appendChild(t.label):r.textContent=t.label,n>0&&(ue.show||(r.style.color=t.width>0?ue.stroke(k,n):ue.fill(k,n)),Ce("click",s,(l=>{if(oe._lock)return;Mt(l);let e=pl.indexOf(t);if((l.ctrlKey||l.metaKey)!=ie.isolate){let l=pl.some(((l,t)=>t>0&&t!=e&&l.show));pl.forEach(((t,n)=>{n>0&&oi(n,l?n==e?be:ve:be,!0,Fi.setSeries)}))}else oi(e,{show:!t.show},!0,Fi.setSeries)}),!1),Et&&Ce(d,s,(l=>{oe._lock||(Mt(l),oi(pl.indexOf(t),ai,!0,Fi.setSeries))}),!1)),pe){let l=z("td","u-value",o);l.textContent="--",i.push(l)}return[o,i]}(t,n);me.splice(n,0,i[0]),ge.splice(n,0,i[1]),ie.values.push(null)}if(re){te.splice(n,0,null);let l=null;zt?0==n&&(l=Wt(t,n)):n>0&&(l=Wt(t,n)),Dt.splice(n,0,l),Pt.splice(n,0,0),At.splice(n,0,0)}Ci("addSeries",n)}k.addSeries=function(l,e){e=null==e?pl.length:e,l=1==M?Ut(l,e,Ve,ut):Ut(l,e,{},rt),pl.splice(e,0,l),Yt(pl[e],e)},k.delSeries=function(l){if(pl.splice(l,1),se){ie.values.splice(l,1),ge.splice(l,1);let e=me.splice(l,1)[0];He(null,e.firstChild),e.remove()}re&&(te.splice(l,1),Dt.splice(l,1)[0].remove(),Pt.splice(l,1),At.splice(l,1)),Ci("delSeries",l)};const Ct=[!1,!1,!1,!1];function Ht(l,e,t){let[n,i,o,s]=t,r=e%2,u=0;return 0==r&&(s||i)&&(u=0==e&&!n||2==e&&!o?rl(Ue.size/3):0),1==r&&(n||o)&&(u=1==e&&!i||3==e&&!s?rl(it.size/2):0),u}const Ft=k.padding=(u.padding||[Ht,Ht,Ht,Ht]).map((l=>bl(Q(l,Ht)))),Rt=k._padding=Ft.map(((l,e)=>l(k,e,Ct,0)));let Gt,Lt=null,en=null;const tn=1==M?pl[0].idxs:null;let nn,on,sn,rn,un,an,fn,cn,hn,dn,pn=null,mn=!1;function gn(l,e){if(k.data=k._data=g=null==l?[]:l,2==M){Gt=0;for(let l=1;pl.length>l;l++)Gt+=g[l][0].length}else{0==g.length&&(k.data=k._data=g=[[]]),pn=g[0],Gt=pn.length;let l=g;if(2==Ul){l=g.slice();let e=l[0]=Array(Gt);for(let l=0;Gt>l;l++)e[l]=l}k._data=g=l}if(An(!0),Ci("setData"),2==Ul&&(mt=!0),!1!==e){let l=jl;l.auto(k,mn)?xn():ii(El,l.min,l.max),xt=xt||oe.left>=0,_t=!0,Jn()}}function xn(){let l,e;mn=!0,1==M&&(Gt>0?(Lt=tn[0]=0,en=tn[1]=Gt-1,l=g[0][Lt],e=g[0][en],2==Ul?(l=Lt,e=en):l==e&&(3==Ul?[l,e]=B(l,l,jl.log,!1):4==Ul?[l,e]=$(l,l,jl.log,!1):jl.time?e=l+rl(86400/hl):[l,e]=Z(l,e,J,!0))):(Lt=tn[0]=l=null,en=tn[1]=e=null)),ii(El,l,e)}function wn(l,e,t,n,i,o){l??=a,t??=Fl,n??="butt",i??=a,o??="round",l!=nn&&(K.strokeStyle=nn=l),i!=on&&(K.fillStyle=on=i),e!=sn&&(K.lineWidth=sn=e),o!=un&&(K.lineJoin=un=o),n!=an&&(K.lineCap=an=n),t!=rn&&K.setLineDash(rn=t)}function _n(l,e,t,n){e!=on&&(K.fillStyle=on=e),l!=fn&&(K.font=fn=l),t!=cn&&(K.textAlign=cn=t),n!=hn&&(K.textBaseline=hn=n)}function bn(l,e,t,n,i=0){if(n.length>0&&l.auto(k,mn)&&(null==e||null==e.min)){let e=Q(Lt,0),o=Q(en,n.length-1),s=null==t.min?function(l,e,t,n=0,i=!1){let o=i?V:U,s=i?j:N;[e,t]=o(l,e,t);let r=l[e],u=l[e];if(e>-1)if(1==n)r=l[e],u=l[t];else if(-1==n)r=l[t],u=l[e];else for(let n=e;t>=n;n++){let e=l[n];s(e)&&(r>e?r=e:e>u&&(u=e))}return[r??gl,u??-gl]}(n,e,o,i,3==l.distr):[t.min,t.max];l.min=al(l.min,t.min=s[0]),l.max=fl(l.max,t.max=s[1])}}k.setData=gn;const vn={min:null,max:null};function kn(l,e){let t=e?pl[l].points:pl[l];t._stroke=t.stroke(k,l),t._fill=t.fill(k,l)}function yn(l,e){let t=e?pl[l].points:pl[l],{stroke:n,fill:i,clip:o,flags:s,_stroke:r=t._stroke,_fill:u=t._fill,_width:a=t.width}=t._paths;a=Al(a*y,3);let f=null,c=a%2/2;e&&null==u&&(u=a>0?"#fff":r);let h=1==t.pxAlign&&c>0;if(h&&K.translate(c,c),!e){let l=Qe-a/2,e=lt-a/2,t=ot+a,n=st+a;f=new Path2D,f.rect(l,e,t,n)}e?Sn(r,a,t.dash,t.cap,u,n,i,s,o):function(l,e,t,n,i,o,s,r,u,a,f){let c=!1;0!=u&&Tl.forEach(((h,d)=>{if(h.series[0]==l){let l,p=pl[h.series[1]],m=g[h.series[1]],x=(p._paths||Hl).band;Gl(x)&&(x=1==h.dir?x[0]:x[1]);let w=null;p.show&&x&&function(l,e,t){for(e=Q(e,0),t=Q(t,l.length-1);t>=e;){if(null!=l[e])return!0;e++}return!1}(m,Lt,en)?(w=h.fill(k,d)||o,l=p._paths.clip):x=null,Sn(e,t,n,i,w,s,r,u,a,f,l,x),c=!0}})),c||Sn(e,t,n,i,o,s,r,u,a,f)}(l,r,a,t.dash,t.cap,u,n,i,s,f,o),h&&K.translate(-c,-c)}const Mn=3;function Sn(l,e,t,n,i,o,s,r,u,a,f,c){wn(l,e,t,n,i),(u||a||c)&&(K.save(),u&&K.clip(u),a&&K.clip(a)),c?(r&Mn)==Mn?(K.clip(c),f&&K.clip(f),En(i,s),Tn(l,o,e)):2&r?(En(i,s),K.clip(c),Tn(l,o,e)):1&r&&(K.save(),K.clip(c),f&&K.clip(f),En(i,s),K.restore(),Tn(l,o,e)):(En(i,s),Tn(l,o,e)),(u||a||c)&&K.restore()}function Tn(l,e,t){t>0&&(e instanceof Map?e.forEach(((l,e)=>{K.strokeStyle=nn=e,K.stroke(l)})):null!=e&&l&&K.stroke(e))}function En(l,e){e instanceof Map?e.forEach(((l,e)=>{K.fillStyle=on=e,K.fill(l)})):null!=e&&l&&K.fill(e)}function zn(l,e,t,n,i,o,s,r,u,a){let f=s%2/2;1==tl&&K.translate(f,f),wn(r,s,u,a,r),K.beginPath();let c,h,d,p,m=i+(0==n||3==n?-o:o);0==t?(h=i,p=m):(c=i,d=m);for(let n=0;l.length>n;n++)null!=e[n]&&(0==t?c=d=l[n]:h=p=l[n],K.moveTo(c,h),K.lineTo(d,p));K.stroke(),1==tl&&K.translate(-f,-f)}function Dn(l){let e=!0;return xl.forEach(((t,n)=>{if(!t.show)return;let i=vl[t.scale];if(null==i.min)return void(t._show&&(e=!1,t._show=!1,An(!1)));t._show||(e=!1,t._show=!0,An(!1));let o=t.side,s=o%2,{min:r,max:u}=i,[a,f]=function(l,e,t,n){let i,o=xl[l];if(n>0){let s=o._space=o.space(k,l,e,t,n);i=Zt(e,t,o._incrs=o.incrs(k,l,e,t,n,s),n,s)}else i=[0,0];return o._found=i}(n,r,u,0==s?Ie:Le);if(0==f)return;let c=t._splits=t.splits(k,n,r,u,a,f,2==i.distr),h=2==i.distr?c.map((l=>pn[l])):c,d=2==i.distr?pn[c[1]]-pn[c[0]]:a,p=t._values=t.values(k,t.filter(k,h,n,f,d),n,f,d);t._rotate=2==o?t.rotate(k,p,n,f):0;let m=t._size;t._size=ul(t.size(k,p,n,l)),null!=m&&t._size!=m&&(e=!1)})),e}function Pn(l){let e=!0;return Ft.forEach(((t,n)=>{let i=t(k,n,Ct,l);i!=Rt[n]&&(e=!1),Rt[n]=i})),e}function An(l){pl.forEach(((e,t)=>{t>0&&(e._paths=null,l&&(1==M?(e.min=null,e.max=null):e.facets.forEach((l=>{l.min=null,l.max=null}))))}))}let Wn,Yn,Cn,Hn,Fn,Rn,Gn,In,Ln,On,Nn,jn,Un=!1,Vn=!1,Bn=[];function $n(){Vn=!1;for(let l=0;Bn.length>l;l++)Ci(...Bn[l]);Bn.length=0}function Jn(){Un||(Jl(qn),Un=!0)}function qn(){if(ht&&(function(){for(let l in vl){let e=vl[l];null==Kl[l]&&(null==e.min||null!=Kl[El]&&e.auto(k,mn))&&(Kl[l]=vn)}for(let l in vl){let e=vl[l];null==Kl[l]&&null!=e.from&&null!=Kl[e.from]&&(Kl[l]=vn)}null!=Kl[El]&&An(!0);let l={};for(let e in Kl){let t=Kl[e];if(null!=t){let n=l[e]=Vl(vl[e],Nl);if(null!=t.min)Bl(n,t);else if(e!=El||2==M)if(0==Gt&&null==n.from){let l=n.range(k,null,null,e);n.min=l[0],n.max=l[1]}else n.min=gl,n.max=-gl}}if(Gt>0){pl.forEach(((e,t)=>{if(1==M){let n=e.scale,i=Kl[n];if(null==i)return;let o=l[n];if(0==t){let l=o.range(k,o.min,o.max,n);o.min=l[0],o.max=l[1],Lt=L(o.min,g[0]),en=L(o.max,g[0]),en-Lt>1&&(o.min>g[0][Lt]&&Lt++,g[0][en]>o.max&&en--),e.min=pn[Lt],e.max=pn[en]}else e.show&&e.auto&&bn(o,i,e,g[t],e.sorted);e.idxs[0]=Lt,e.idxs[1]=en}else if(t>0&&e.show&&e.auto){let[n,i]=e.facets,o=n.scale,s=i.scale,[r,u]=g[t],a=l[o],f=l[s];null!=a&&bn(a,Kl[o],n,r,n.sorted),null!=f&&bn(f,Kl[s],i,u,i.sorted),e.min=i.min,e.max=i.max}}));for(let e in l){let t=l[e],n=Kl[e];if(null==t.from&&(null==n||null==n.min)){let l=t.range(k,t.min==gl?null:t.min,t.max==-gl?null:t.max,e);t.min=l[0],t.max=l[1]}}}for(let e in l){let t=l[e];if(null!=t.from){let n=l[t.from];if(null==n.min)t.min=t.max=null;else{let l=t.range(k,n.min,n.max,e);t.min=l[0],t.max=l[1]}}}let e={},t=!1;for(let n in l){let i=l[n],o=vl[n];if(o.min!=i.min||o.max!=i.max){o.min=i.min,o.max=i.max;let l=o.distr;o._min=3==l?dl(o.min):4==l?ml(o.min,o.asinh):100==l?o.fwd(o.min):o.min,o._max=3==l?dl(o.max):4==l?ml(o.max,o.asinh):100==l?o.fwd(o.max):o.max,e[n]=t=!0}}if(t){pl.forEach(((l,t)=>{2==M?t>0&&e.y&&(l._paths=null):e[l.scale]&&(l._paths=null)}));for(let l in e)mt=!0,Ci("setScale",l);re&&oe.left>=0&&(xt=_t=!0)}for(let l in Kl)Kl[l]=null}(),ht=!1),mt&&(function(){let l=!1,e=0;for(;!l;){e++;let t=Dn(e),n=Pn(e);l=e==yt||t&&n,l||(kt(k.width,k.height),pt=!0)}}(),mt=!1),pt){if(E(ll,s,Oe),E(ll,i,Ne),E(ll,t,Ie),E(ll,n,Le),E(el,s,Oe),E(el,i,Ne),E(el,t,Ie),E(el,n,Le),E(X,t,Fe),E(X,n,Ge),O.width=rl(Fe*y),O.height=rl(Ge*y),xl.forEach((({_el:e,_show:t,_size:n,_pos:i,side:o})=>{if(null!=e)if(t){let t=o%2==1;E(e,t?"left":"top",i-(3===o||0===o?n:0)),E(e,t?"width":"height",n),E(e,t?"top":"left",t?Ne:Oe),E(e,t?"height":"width",t?Le:Ie),T(e,l)}else S(e,l)})),nn=on=sn=un=an=fn=cn=hn=rn=null,dn=1,_i(!0),Oe!=je||Ne!=Ke||Ie!=Xe||Le!=Ze){An(!1);let l=Ie/Xe,e=Le/Ze;if(re&&!xt&&oe.left>=0){oe.left*=l,oe.top*=e,Cn&&A(Cn,rl(oe.left),0,Ie,Le),Hn&&A(Hn,0,rl(oe.top),Ie,Le);for(let t=0;Dt.length>t;t++){let n=Dt[t];null!=n&&(Pt[t]*=l,At[t]*=e,A(n,ul(Pt[t]),ul(At[t]),Ie,Le))}}if(ei.show&&!wt&&ei.left>=0&&ei.width>0){ei.left*=l,ei.width*=l,ei.top*=e,ei.height*=e;for(let l in ki)E(ti,l,ei[l])}je=Oe,Ke=Ne,Xe=Ie,Ze=Le}Ci("setSize"),pt=!1}Fe>0&&Ge>0&&(K.clearRect(0,0,O.width,O.height),Ci("drawClear"),Pl.forEach((l=>l())),Ci("draw")),ei.show&&wt&&(ni(ei),wt=!1),re&&xt&&(xi(null,!0,!1),xt=!1),ie.show&&ie.live&&_t&&(mi(),_t=!1),F||(F=!0,k.status=1,Ci("ready")),mn=!1,Un=!1}function Kn(l,e){let t=vl[l];if(null==t.from){if(0==Gt){let n=t.range(k,e.min,e.max,l);e.min=n[0],e.max=n[1]}if(e.min>e.max){let l=e.min;e.min=e.max,e.max=l}if(Gt>1&&null!=e.min&&null!=e.max&&1e-16>e.max-e.min)return;l==El&&2==t.distr&&Gt>0&&(e.min=L(e.min,g[0]),e.max=L(e.max,g[0]),e.min==e.max&&e.max++),Kl[l]=e,ht=!0,Jn()}}k.batch=function(l,e=!1){Un=!0,Vn=e,l(k),qn(),e&&Bn.length>0&&queueMicrotask($n)},k.redraw=(l,e)=>{mt=e||!1,!1!==l?ii(El,jl.min,jl.max):Jn()},k.setScale=Kn;let Xn=!1;const Zn=oe.drag;let Qn=Zn.x,li=Zn.y;re&&(oe.x&&(Wn=D("u-cursor-x",el)),oe.y&&(Yn=D("u-cursor-y",el)),0==jl.ori?(Cn=Wn,Hn=Yn):(Cn=Yn,Hn=Wn),Nn=oe.left,jn=oe.top);const ei=k.select=Bl({show:!0,over:!0,left:0,width:0,top:0,height:0},u.select),ti=ei.show?D("u-select",ei.over?el:ll):null;function ni(l,e){if(ei.show){for(let e in l)ei[e]=l[e],e in ki&&E(ti,e,l[e]);!1!==e&&Ci("setSelect")}}function ii(l,e,t){Kn(l,{min:e,max:t})}function oi(e,t,n,i){null!=t.focus&&function(l){if(l!=ui){let e=null==l,t=1!=Tt.alpha;pl.forEach(((n,i)=>{if(1==M||i>0){let o=e||0==i||i==l;n._focus=e?null:o,t&&function(l,e){pl[l].alpha=e,re&&null!=Dt[l]&&(Dt[l].style.opacity=e),se&&me[l]&&(me[l].style.opacity=e)}(i,o?1:Tt.alpha)}})),ui=l,t&&Jn()}}(e),null!=t.show&&pl.forEach(((n,i)=>{0>=i||e!=i&&null!=e||(n.show=t.show,function(e){if(pl[e].show)se&&T(me[e],l);else if(se&&S(me[e],l),re){let l=zt?Dt[0]:Dt[e];null!=l&&A(l,-10,-10,Ie,Le)}}(i),2==M?(ii(n.facets[0].scale,null,null),ii(n.facets[1].scale,null,null)):ii(n.scale,null,null),Jn())})),!1!==n&&Ci("setSeries",e,t),i&&Ii("setSeries",k,e,t)}let si,ri,ui;k.setSelect=ni,k.setSeries=oi,k.addBand=function(l,e){l.fill=bl(l.fill||null),l.dir=Q(l.dir,-1),Tl.splice(e=null==e?Tl.length:e,0,l)},k.setBand=function(l,e){Bl(Tl[l],e)},k.delBand=function(l){null==l?Tl.length=0:Tl.splice(l,1)};const ai={focus:!0};function fi(l,e,t){let n=vl[e];t&&(l=l/y-(1==n.ori?Ne:Oe));let i=Ie;1==n.ori&&(i=Le,l=i-l),-1==n.dir&&(l=i-l);let o=n._min,s=o+l/i*(n._max-o),r=n.distr;return 3==r?cl(10,s):4==r?((l,e=1)=>nl.sinh(l)*e)(s,n.asinh):100==r?n.bwd(s):s}function ci(l,e){E(ti,s,ei.left=l),E(ti,t,ei.width=e)}function hi(l,e){E(ti,i,ei.top=l),E(ti,n,ei.height=e)}se&&Et&&Ce(p,ce,(l=>{oe._lock||(Mt(l),null!=ui&&oi(null,ai,!0,Fi.setSeries))})),k.valToIdx=l=>L(l,g[0]),k.posToIdx=function(l,e){return L(fi(l,El,e),g[0],Lt,en)},k.posToVal=fi,k.valToPos=(l,e,t)=>0==vl[e].ori?P(l,vl[e],t?ot:Ie,t?Qe:0):W(l,vl[e],t?st:Le,t?lt:0),k.setCursor=(l,e,t)=>{Nn=l.left,jn=l.top,xi(null,e,t)};let di=0==jl.ori?ci:hi,pi=1==jl.ori?ci:hi;function mi(l,e){if(null!=l&&(l.idxs?l.idxs.forEach(((l,e)=>{te[e]=l})):(l=>void 0===l)(l.idx)||te.fill(l.idx),ie.idx=te[0]),se&&ie.live){for(let l=0;pl.length>l;l++)(l>0||1==M&&!xe)&&gi(l,te[l]);!function(){if(se&&ie.live)for(let l=2==M?1:0;pl.length>l;l++){if(0==l&&xe)continue;let e=ie.values[l],t=0;for(let n in e)ge[l][t++].firstChild.nodeValue=e[n]}}()}_t=!1,!1!==e&&Ci("setLegend")}function gi(l,e){let t,n=pl[l],i=0==l&&2==Ul?pn:g[l];xe?t=n.values(k,l,e)??we:(t=n.value(k,null==e?null:i[e],l,e),t=null==t?we:{_:t}),ie.values[l]=t}function xi(l,e,t){let n;Ln=Nn,On=jn,[Nn,jn]=oe.move(k,Nn,jn),oe.left=Nn,oe.top=jn,re&&(Cn&&A(Cn,rl(Nn),0,Ie,Le),Hn&&A(Hn,0,rl(jn),Ie,Le)),si=gl,ri=null;let i=0==jl.ori?Ie:Le,o=1==jl.ori?Ie:Le;if(0>Nn||0==Gt||Lt>en){n=oe.idx=null;for(let l=0;pl.length>l;l++){let e=Dt[l];null!=e&&A(e,-10,-10,Ie,Le)}Et&&oi(null,ai,!0,null==l&&Fi.setSeries),ie.live&&(te.fill(n),_t=!0)}else{let l,e,t;1==M&&(l=0==jl.ori?Nn:jn,e=fi(l,El),n=oe.idx=L(e,g[0],Lt,en),t=$l(g[0][n],jl,i,0));let s=-10,r=-10,u=0,a=0,f=!0,c="",h="";for(let l=2==M?1:0;pl.length>l;l++){let d=pl[l],p=te[l],m=null==p?null:1==M?g[l][p]:g[l][1][p],x=oe.dataIdx(k,l,n,e),w=null==x?null:1==M?g[l][x]:g[l][1][x];if(_t=_t||w!=m||x!=p,te[l]=x,l>0&&d.show){let e=null==x?-10:x==n?t:$l(1==M?g[0][x]:g[l][0][x],jl,i,0),p=null==w?-10:ql(w,1==M?vl[d.scale]:vl[d.facets[1].scale],o,0);if(Et&&null!=w){let e=1==jl.ori?Nn:jn,t=ol(Tt.dist(k,l,x,p,e));if(si>t){let n=Tt.bias;if(0!=n){let i=fi(e,d.scale),o=0>i?-1:1;o!=(0>w?-1:1)||(1==o?1==n?i>w:w>i:1==n?w>i:i>w)||(si=t,ri=l)}else si=t,ri=l}}if(_t||zt){let t,n;0==jl.ori?(t=e,n=p):(t=p,n=e);let i,o,d,m,g,x,w=!0,_=St.bbox;if(null!=_){w=!1;let e=_(k,l);d=e.left,m=e.top,i=e.width,o=e.height}else d=t,m=n,i=o=St.size(k,l);if(x=St.fill(k,l),g=St.stroke(k,l),zt)l!=ri||si>Tt.prox||(s=d,r=m,u=i,a=o,f=w,c=x,h=g);else{let e=Dt[l];null!=e&&(Pt[l]=d,At[l]=m,H(e,i,o,w),Y(e,x,g),A(e,ul(d),ul(m),Ie,Le))}}}}if(zt){let l=Tt.prox;if(_t||(null==ui?l>=si:si>l||ri!=ui)){let l=Dt[0];null!=l&&(Pt[0]=s,At[0]=r,H(l,u,a,f),Y(l,c,h),A(l,ul(s),ul(r),Ie,Le))}}}if(ei.show&&Xn)if(null!=l){let[e,t]=Fi.scales,[n,s]=Fi.match,[r,u]=l.cursor.sync.scales,a=l.cursor.drag;if(Qn=a._x,li=a._y,Qn||li){let a,f,c,h,d,{left:p,top:m,width:g,height:x}=l.select,w=l.scales[r].ori,_=l.posToVal,b=null!=e&&n(e,r),v=null!=t&&s(t,u);b&&Qn?(0==w?(a=p,f=g):(a=m,f=x),c=vl[e],h=$l(_(a,r),c,i,0),d=$l(_(a+f,r),c,i,0),di(al(h,d),ol(d-h))):di(0,i),v&&li?(1==w?(a=p,f=g):(a=m,f=x),c=vl[t],h=ql(_(a,u),c,o,0),d=ql(_(a+f,u),c,o,0),pi(al(h,d),ol(d-h))):pi(0,o)}else yi()}else{let l=ol(Ln-Fn),e=ol(On-Rn);if(1==jl.ori){let t=l;l=e,e=t}Qn=Zn.x&&l>=Zn.dist,li=Zn.y&&e>=Zn.dist;let t,n,s=Zn.uni;null!=s?Qn&&li&&(Qn=l>=s,li=e>=s,Qn||li||(e>l?li=!0:Qn=!0)):Zn.x&&Zn.y&&(Qn||li)&&(Qn=li=!0),Qn&&(0==jl.ori?(t=Gn,n=Nn):(t=In,n=jn),di(al(t,n),ol(n-t)),li||pi(0,o)),li&&(1==jl.ori?(t=Gn,n=Nn):(t=In,n=jn),pi(al(t,n),ol(n-t)),Qn||di(0,i)),Qn||li||(di(0,0),pi(0,0))}if(Zn._x=Qn,Zn._y=li,null==l){if(t){if(null!=Ri){let[l,e]=Fi.scales;Fi.values[0]=null!=l?fi(0==jl.ori?Nn:jn,l):null,Fi.values[1]=null!=e?fi(1==jl.ori?Nn:jn,e):null}Ii(f,k,Nn,jn,Ie,Le,n)}if(Et){let l=t&&Fi.setSeries,e=Tt.prox;null==ui?si>e||oi(ri,ai,!0,l):si>e?oi(null,ai,!0,l):ri!=ui&&oi(ri,ai,!0,l)}}_t&&(ie.idx=n,mi()),!1!==e&&Ci("setCursor")}k.setLegend=mi;let wi=null;function _i(l=!1){l?wi=null:(wi=el.getBoundingClientRect(),Ci("syncRect",wi))}function bi(l,e,t,n,i,o){oe._lock||Xn&&null!=l&&0==l.movementX&&0==l.movementY||(vi(l,e,t,n,i,o,0,!1,null!=l),null!=l?xi(null,!0,!0):xi(e,!0,!1))}function vi(l,e,t,n,i,o,s,r,u){if(null==wi&&_i(!1),Mt(l),null!=l)t=l.clientX-wi.left,n=l.clientY-wi.top;else{if(0>t||0>n)return Nn=-10,void(jn=-10);let[l,s]=Fi.scales,r=e.cursor.sync,[u,a]=r.values,[f,c]=r.scales,[h,d]=Fi.match,p=e.axes[0].side%2==1,m=0==jl.ori?Ie:Le,g=1==jl.ori?Ie:Le,x=p?o:i,w=p?i:o,_=p?n:t,b=p?t:n;if(t=null!=f?h(l,f)?C(u,vl[l],m,0):-10:m*(_/x),n=null!=c?d(s,c)?C(a,vl[s],g,0):-10:g*(b/w),1==jl.ori){let l=t;t=n,n=l}}!u||null!=e&&e.cursor.event.type!=f||(t>1&&Ie-1>t||(t=zl(t,Ie)),n>1&&Le-1>n||(n=zl(n,Le))),r?(Fn=t,Rn=n,[Gn,In]=oe.move(k,t,n)):(Nn=t,jn=n)}Object.defineProperty(k,"rect",{get:()=>(null==wi&&_i(!1),wi)});const ki={width:0,height:0,left:0,top:0};function yi(){ni(ki,!1)}let Mi,Si,Ti,Ei;function zi(l,e,t,n,i,o){Xn=!0,Qn=li=Zn._x=Zn._y=!1,vi(l,e,t,n,i,o,0,!0,!1),null!=l&&(Ce(h,b,Di,!1),Ii(c,k,Gn,In,Ie,Le,null));let{left:s,top:r,width:u,height:a}=ei;Mi=s,Si=r,Ti=u,Ei=a}function Di(l,e,t,n,i,o){Xn=Zn._x=Zn._y=!1,vi(l,e,t,n,i,o,0,!1,!0);let{left:s,top:r,width:u,height:a}=ei,f=u>0||a>0,c=Mi!=s||Si!=r||Ti!=u||Ei!=a;if(f&&c&&ni(ei),Zn.setScale&&f&&c){let l=s,e=u,t=r,n=a;if(1==jl.ori&&(l=r,e=a,t=s,n=u),Qn&&ii(El,fi(l,El),fi(l+e,El)),li)for(let l in vl){let e=vl[l];l!=El&&null==e.from&&e.min!=gl&&ii(l,fi(t+n,l),fi(t,l))}yi()}else oe.lock&&(oe._lock=!oe._lock,xi(e,!0,null!=l));null!=l&&(He(h,b),Ii(h,k,Nn,jn,Ie,Le,null))}function Pi(l){oe._lock||(Mt(l),xn(),yi(),null!=l&&Ii(m,k,Nn,jn,Ie,Le,null))}function Ai(){xl.forEach(ln),vt(k.width,k.height,!0)}G(x,v,Ai);const Wi={};Wi.mousedown=zi,Wi.mousemove=bi,Wi.mouseup=Di,Wi.dblclick=Pi,Wi.setSeries=(l,e,t,n)=>{-1!=(t=(0,Fi.match[2])(k,e,t))&&oi(t,n,!0,!1)},re&&(Ce(c,el,zi),Ce(f,el,bi),Ce(d,el,(l=>{Mt(l),_i(!1)})),Ce(p,el,(function(l){if(oe._lock)return;Mt(l);let e=Xn;if(Xn){let l,e,t=!0,n=!0,i=10;0==jl.ori?(l=Qn,e=li):(l=li,e=Qn),l&&e&&(t=i>=Nn||Nn>=Ie-i,n=i>=jn||jn>=Le-i),l&&t&&(Nn=Gn>Nn?0:Ie),e&&n&&(jn=In>jn?0:Le),xi(null,!0,!0),Xn=!1}Nn=-10,jn=-10,te.fill(null),xi(null,!0,!0),e&&(Xn=e)})),Ce(m,el,Pi),It.add(k),k.syncRect=_i);const Yi=k.hooks=u.hooks||{};function Ci(l,e,t){Vn?Bn.push([l,e,t]):l in Yi&&Yi[l].forEach((l=>{l.call(null,k,e,t)}))}(u.plugins||[]).forEach((l=>{for(let e in l.hooks)Yi[e]=(Yi[e]||[]).concat(l.hooks[e])}));const Hi=(l,e,t)=>t,Fi=Bl({key:null,setSeries:!1,filters:{pub:Ml,sub:Ml},scales:[El,pl[1]?pl[1].scale:null],match:[Sl,Sl,Hi],values:[null,null]},oe.sync);2==Fi.match.length&&Fi.match.push(Hi),oe.sync=Fi;const Ri=Fi.key,Gi=dt(Ri);function Ii(l,e,t,n,i,o,s){Fi.filters.pub(l,e,t,n,i,o,s)&&Gi.pub(l,e,t,n,i,o,s)}function Li(){Ci("init",u,g),gn(g||u.data,!1),Kl[El]?Kn(El,Kl[El]):xn(),wt=ei.show&&(ei.width>0||ei.height>0),xt=_t=!0,vt(u.width,u.height)}return Gi.sub(k),k.pub=function(l,e,t,n,i,o,s){Fi.filters.sub(l,e,t,n,i,o,s)&&Wi[l](null,e,t,n,i,o,s)},k.destroy=function(){Gi.unsub(k),It.delete(k),Pe.clear(),I(x,v,Ai),R.remove(),ce?.remove(),Ci("destroy")},pl.forEach(Yt),xl.forEach((function(l,e){if(l._show=l.show,l.show){let t=vl[l.scale];null==t&&(l.scale=l.side%2?pl[1].scale:El,t=vl[l.scale]);let n=t.time;l.size=bl(l.size),l.space=bl(l.space),l.rotate=bl(l.rotate),Gl(l.incrs)&&l.incrs.forEach((l=>{!Wl.has(l)&&Wl.set(l,Yl(l))})),l.incrs=bl(l.incrs||(2==t.distr?ae:n?1==hl?ke:Se:fe)),l.splits=bl(l.splits||(n&&1==t.distr?Ql:3==t.distr?Je:4==t.distr?qe:$e)),l.stroke=bl(l.stroke),l.grid.stroke=bl(l.grid.stroke),l.ticks.stroke=bl(l.ticks.stroke),l.border.stroke=bl(l.border.stroke);let i=l.values;l.values=Gl(i)&&!Gl(i[0])?bl(i):n?Gl(i)?De(Xl,ze(i,Zl)):Ll(i)?function(l,e){let t=ne(e);return(e,n)=>n.map((e=>t(l(e))))}(Xl,i):i||le:i||Be,l.filter=bl(l.filter||(3>t.distr||10!=t.log?3==t.distr&&2==t.log?tt:kl:et)),l.font=Qt(l.font),l.labelFont=Qt(l.labelFont),l._size=l.size(k,null,e,0),l._space=l._rotate=l._incrs=l._found=l._splits=l._values=null,l._size>0&&(Ct[e]=!0,l._el=D("u-axis",X))}})),_?_ instanceof HTMLElement?(_.appendChild(R),Li()):_(k,Li):Li(),k}en.assign=Bl,en.fmtNum=tl,en.rangeNum=Z,en.rangeLog=B,en.rangeAsinh=$,en.orient=pt,en.pxRatio=y,en.join=function(l,e){if(function(l){let e=l[0][0],t=e.length;for(let n=1;l.length>n;n++){let i=l[n][0];if(i.length!=t)return!1;if(i!=e)for(let l=0;t>l;l++)if(i[l]!=e[l])return!1}return!0}(l)){let e=l[0].slice();for(let t=1;l.length>t;t++)e.push(...l[t].slice(1));return function(l,e=100){const t=l.length;if(1>=t)return!0;let n=0,i=t-1;for(;i>=n&&null==l[n];)n++;for(;i>=n&&null==l[i];)i--;if(n>=i)return!0;const o=fl(1,sl((i-n+1)/e));for(let e=l[n],t=n+o;i>=t;t+=o){const n=l[t];if(null!=n){if(e>=n)return!1;e=n}}return!0}(e[0])||(e=function(l){let e=l[0],t=e.length,n=Array(t);for(let l=0;n.length>l;l++)n[l]=l;n.sort(((l,t)=>e[l]-e[t]));let i=[];for(let e=0;l.length>e;e++){let o=l[e],s=Array(t);for(let l=0;t>l;l++)s[l]=o[n[l]];i.push(s)}return i}(e)),e}let t=new Set;for(let e=0;l.length>e;e++){let n=l[e][0],i=n.length;for(let l=0;i>l;l++)t.add(n[l])}let n=[Array.from(t).sort(((l,e)=>l-e))],i=n[0].length,o=new Map;for(let l=0;i>l;l++)o.set(n[0][l],l);for(let t=0;l.length>t;t++){let s=l[t],r=s[0];for(let l=1;s.length>l;l++){let u=s[l],a=Array(i).fill(void 0),f=e?e[t][l]:1,c=[];for(let l=0;u.length>l;l++){let e=u[l],t=o.get(r[l]);null===e?0!=f&&(a[t]=e,2==f&&c.push(t)):a[t]=e}$l(a,c,i),n.push(a)}}return n},en.fmtDate=ne,en.tzDate=function(l,e){let t;return"UTC"==e||"Etc/UTC"==e?t=new Date(+l+6e4*l.getTimezoneOffset()):e==ie?t=l:(t=new Date(l.toLocaleString("en-US",{timeZone:e})),t.setMilliseconds(l.getMilliseconds())),t},en.sync=dt;{en.addGap=function(l,e,t){let n=l[l.length-1];n&&n[0]==e?n[1]=t:l.push([e,t])},en.clipGaps=wt;let l=en.paths={points:Wt};l.linear=Ft,l.stepped=function(l){const e=Q(l.align,1),t=Q(l.ascDesc,!1),n=Q(l.alignGaps,0),i=Q(l.extend,!1);return(l,o,s,r)=>pt(l,o,((u,a,f,c,h,d,p,m,g,x,w)=>{[s,r]=U(f,s,r);let _=u.pxRound,{left:b,width:v}=l.bbox,k=l=>_(d(l,c,x,m)),M=l=>_(p(l,h,w,g)),S=0==c.ori?Mt:St;const T={stroke:new Path2D,fill:null,clip:null,band:null,gaps:null,flags:1},E=T.stroke,z=c.dir*(0==c.ori?1:-1);let D=M(f[1==z?s:r]),P=k(a[1==z?s:r]),A=P,W=P;i&&-1==e&&(W=b,S(E,W,D)),S(E,P,D);for(let l=1==z?s:r;l>=s&&r>=l;l+=z){let t=f[l];if(null==t)continue;let n=k(a[l]),i=M(t);1==e?S(E,n,D):S(E,A,i),S(E,n,i),D=i,A=n}let Y=A;i&&1==e&&(Y=b+v,S(E,Y,D));let[C,H]=mt(l,o);if(null!=u.fill||0!=C){let e=T.fill=new Path2D(E),t=M(u.fillTo(l,o,u.min,u.max,C));S(e,Y,t),S(e,W,t)}if(!u.spanGaps){let i=[];i.push(..._t(a,f,s,r,z,k,n));let h=u.width*y/2,d=t||1==e?h:-h,p=t||-1==e?-h:h;i.forEach((l=>{l[0]+=d,l[1]+=p})),T.gaps=i=u.gaps(l,o,s,r,i),T.clip=wt(i,c.ori,m,g,x,w)}return 0!=H&&(T.band=2==H?[xt(l,o,s,r,E,-1),xt(l,o,s,r,E,1)]:xt(l,o,s,r,E,H)),T}))},l.bars=function(l){const e=Q((l=l||Hl).size,[.6,gl,1]),t=l.align||0,n=l.gap||0;let i=l.radius;i=null==i?[0,0]:"number"==typeof i?[i,0]:i;const o=bl(i),s=1-e[0],r=Q(e[1],gl),u=Q(e[2],1),a=Q(l.disp,Hl),f=Q(l.each,(()=>{})),{fill:c,stroke:h}=a;return(l,e,i,d)=>pt(l,e,((p,m,g,x,w,_,b,v,k,M,S)=>{let T,E,z=p.pxRound,D=t,P=n*y,A=r*y,W=u*y;0==x.ori?[T,E]=o(l,e):[E,T]=o(l,e);const Y=x.dir*(0==x.ori?1:-1);let C,H,F,R=0==x.ori?Tt:Et,G=0==x.ori?f:(l,e,t,n,i,o,s)=>{f(l,e,t,i,n,s,o)},I=Q(l.bands,Fl).find((l=>l.series[0]==e)),L=p.fillTo(l,e,p.min,p.max,null!=I?I.dir:0),O=z(b(L,w,S,k)),N=M,j=z(p.width*y),U=!1,V=null,B=null,$=null,J=null;null==c||0!=j&&null==h||(U=!0,V=c.values(l,e,i,d),B=new Map,new Set(V).forEach((l=>{null!=l&&B.set(l,new Path2D)})),j>0&&($=h.values(l,e,i,d),J=new Map,new Set($).forEach((l=>{null!=l&&J.set(l,new Path2D)}))));let{x0:q,size:K}=a;if(null!=q&&null!=K){D=1,m=q.values(l,e,i,d),2==q.unit&&(m=m.map((e=>l.posToVal(v+e*M,x.key,!0))));let t=K.values(l,e,i,d);H=2==K.unit?t[0]*M:_(t[0],x,M,v)-_(0,x,M,v),N=Rt(m,g,_,x,M,v,N),F=N-H+P}else N=Rt(m,g,_,x,M,v,N),F=N*s+P,H=N-F;1>F&&(F=0),H/2>j||(j=0),5>F&&(z=vl);let X=F>0;H=z(wl(N-F-(X?j:0),W,A)),C=(0==D?H/2:D==Y?0:H)-D*Y*((0==D?P/2:0)+(X?j/2:0));const Z={stroke:null,fill:null,clip:null,band:null,gaps:null,flags:0},ll=U?null:new Path2D;let el=null;if(null!=I)el=l.data[I.series[1]];else{let{y0:t,y1:n}=a;null!=t&&null!=n&&(g=n.values(l,e,i,d),el=t.values(l,e,i,d))}let tl=T*H,nl=E*H;for(let t=1==Y?i:d;t>=i&&d>=t;t+=Y){let n=g[t];if(null==n)continue;if(null!=el){let l=el[t]??0;if(n-l==0)continue;O=b(l,w,S,k)}let i=_(2!=x.distr||null!=a?m[t]:t,x,M,v),o=b(Q(n,L),w,S,k),s=z(i-C),r=z(fl(o,O)),u=z(al(o,O)),f=r-u;if(null!=n){let i=0>n?nl:tl,o=0>n?tl:nl;U?(j>0&&null!=$[t]&&R(J.get($[t]),s,u+sl(j/2),H,fl(0,f-j),i,o),null!=V[t]&&R(B.get(V[t]),s,u+sl(j/2),H,fl(0,f-j),i,o)):R(ll,s,u+sl(j/2),H,fl(0,f-j),i,o),G(l,e,t,s-j/2,u,H+j,f)}}return j>0?Z.stroke=U?J:ll:U||(Z._fill=0==p.width?p._fill:p._stroke??p._fill,Z.width=0),Z.fill=U?B:ll,Z}))},l.spline=function(l){return function(l,e){const t=Q(e?.alignGaps,0);return(e,n,i,o)=>pt(e,n,((s,r,u,a,f,c,h,d,p,m,g)=>{[i,o]=U(u,i,o);let x,w,_,b=s.pxRound,v=l=>b(c(l,a,m,d)),k=l=>b(h(l,f,g,p));0==a.ori?(x=kt,_=Mt,w=Pt):(x=yt,_=St,w=At);const y=a.dir*(0==a.ori?1:-1);let M=v(r[1==y?i:o]),S=M,T=[],E=[];for(let l=1==y?i:o;l>=i&&o>=l;l+=y)if(null!=u[l]){let e=v(r[l]);T.push(S=e),E.push(k(u[l]))}const z={stroke:l(T,E,x,_,w,b),fill:null,clip:null,band:null,gaps:null,flags:1},D=z.stroke;let[P,A]=mt(e,n);if(null!=s.fill||0!=P){let l=z.fill=new Path2D(D),t=k(s.fillTo(e,n,s.min,s.max,P));_(l,S,t),_(l,M,t)}if(!s.spanGaps){let l=[];l.push(..._t(r,u,i,o,y,v,t)),z.gaps=l=s.gaps(e,n,i,o,l),z.clip=wt(l,a.ori,d,p,m,g)}return 0!=A&&(z.band=2==A?[xt(e,n,i,o,D,-1),xt(e,n,i,o,D,1)]:xt(e,n,i,o,D,A)),z}))}(Gt,l)}}return en}();
return uPlot;
})();

// ---- series.js

// The last few minutes of each process as numbers, oldest first.

const KEPT = 150; // points: five minutes, as runners sample every two seconds
const KINDS = ["cpu", "rss", "rate", "queue"];

function emptySeries() {
  return { time: [], cpu: [], rss: [], rate: [], queue: [] };
}

// The numbers of a sample, or of a point that was kept, as they are drawn.
function measures(sample) {
  return {
    cpu: sample.cpu ?? null,
    rss: sample.rss ?? null,
    rate: sample.rate_out ?? sample.rate_in ?? null,
    queue: (sample.queued ?? 0) + (sample.running ?? 0),
  };
}

function addPoint(series, time, values) {
  const last = series.time[series.time.length - 1];
  if (last !== undefined && time <= last) return; // the same one again, after a new connection
  series.time.push(time);
  for (const kind of KINDS) series[kind].push(values[kind]);
  if (series.time.length > KEPT) for (const kind of ["time", ...KINDS]) series[kind].shift();
}

// Several processes as one: sums, on the times of the longest. Runners sample all at once, so points
// of the same number belong together.
function together(all) {
  const filled = all.filter((each) => each.time.length);
  if (filled.length < 2) return filled[0] ?? emptySeries();
  const longest = filled.reduce((a, b) => (b.time.length > a.time.length ? b : a));
  const n = longest.time.length;
  const joint = { ...emptySeries(), time: longest.time };
  for (const kind of KINDS) {
    joint[kind] = Array.from({ length: n }, (_, i) =>
      total(filled.map((each) => each[kind][each.time.length - n + i] ?? null)),
    );
  }
  return joint;
}

function total(values) {
  const known = values.filter((value) => value !== null && value !== undefined);
  return known.length ? known.reduce((a, b) => a + b, 0) : null;
}

// ---- state.js

// What is known of a cluster, from the registry's frames. No DOM, no clock, no transport.


const KEPT_EVENTS = 200;

function createState(cluster = "") {
  return {
    cluster,
    time: 0, // of what is shown, by the clock of whoever sent it
    live: true,
    note: "",
    away: 0, // since when the registry does not answer; 0: it does
    over: "", // "ending" or "ended"
    known: false, // a status has come
    components: [],
    missing: [],
    samples: new Map(), // process -> its newest sample
    series: new Map(), // process -> its curves
    events: [], // newest last
  };
}

// Take in one frame; output is not of the state, see log.js.
function applyFrame(state, frame) {
  if (frame.topic === "status") takeStatus(state, frame.data);
  else if (frame.topic === "metrics") takeMetrics(state, frame.data);
  else if (frame.topic === "events") takeEvent(state, frame.data);
}

function takeStatus(state, status) {
  state.known = true;
  state.cluster = status.cluster || state.cluster;
  state.over = status.state && status.state !== "alive" ? status.state : "";
  state.time = Math.max(state.time, status.time ?? 0);
  state.missing = status.missing ?? [];
  state.components = status.components.map(componentOf).sort(inPlace);
  const present = new Set(state.components.flatMap((c) => c.processes.map((p) => p.name)));
  for (const known of [state.samples, state.series]) {
    for (const name of [...known.keys()]) if (!present.has(name)) known.delete(name);
  }
}

function componentOf(status) {
  const replicas = status.replicas ?? [];
  return {
    name: status.name,
    role: status.role,
    state: status.state,
    desired: Math.max(0, status.desired - (status.done ?? 0)),
    ready: status.actual,
    own: status.own !== false,
    master: status.master ?? "",
    reason: status.reason ?? "",
    functions: status.functions ?? [],
    kernel: Boolean(status.kernel),
    // While there is no process, a line that says why.
    processes: replicas.length
      ? replicas.map(processOf)
      : [processOf({ name: status.name, state: status.state, reason: status.reason })],
  };
}

function processOf(replica) {
  const pid = replica.pid ?? null;
  return {
    name: replica.name,
    state: replica.state,
    pid,
    node: replica.node ?? "",
    restarts: replica.restarts ?? 0,
    started: pid === null ? null : (replica.started ?? null),
    exit: replica.exit ?? null,
    reason: replica.reason ?? "",
    lastLines: replica.last_lines ?? "",
  };
}

// Masters stand before their workers.
function inPlace(a, b) {
  const place = (c) => [c.master || c.name, c.master ? 1 : 0, c.name];
  const [x, y] = [place(a), place(b)];
  for (let i = 0; i < 3; i += 1) if (x[i] !== y[i]) return x[i] < y[i] ? -1 : 1;
  return 0;
}

function takeMetrics(state, metrics) {
  state.time = Math.max(state.time, metrics.time ?? 0);
  for (const { name, points } of metrics.series ?? []) takeHistory(state, name, points);
  for (const sample of metrics.samples) {
    state.samples.set(sample.name, sample);
    addPoint(seriesOf(state, sample.name), metrics.time, measures(sample));
  }
}

// What was kept before we began to look goes before what has come since.
function takeHistory(state, name, points) {
  const since = seriesOf(state, name);
  const whole = emptySeries();
  for (const point of points) addPoint(whole, point.time, measures(point));
  since.time.forEach((time, i) => {
    addPoint(whole, time, Object.fromEntries(KINDS.map((kind) => [kind, since[kind][i]])));
  });
  state.series.set(name, whole);
}

function seriesOf(state, process) {
  let series = state.series.get(process);
  if (!series) state.series.set(process, (series = emptySeries()));
  return series;
}

function takeEvent(state, event) {
  if (state.events.some((known) => known.seq === event.seq)) return;
  state.events.push(event);
  if (state.events.length > KEPT_EVENTS) state.events.shift();
}

function processNamed(state, name) {
  for (const component of state.components) {
    const process = component.processes.find((p) => p.name === name);
    if (process) return { component, process };
  }
  return null;
}

// ---- chart.js

// The curves of what is chosen, large: processor, memory, rate and queue of the last minutes.


const TITLES = { cpu: "CPU", rss: "Memory", rate: "Results", queue: "Queue" };
const TEXTS = { cpu: percent, rss: bytes, rate, queue: short };
const CHART_HEIGHT = 132;
const AXIS = 56;

function createCharts(store) {
  const charts = KINDS.map((kind) => createChart(kind));
  const empty = element("p", "palm-quiet");
  const grid = element("div", "palm-charts", ...charts.map((each) => each.node));
  const node = element("div", "", empty, grid);
  const watched = new ResizeObserver(() => charts.forEach((each) => each.fit()));
  watched.observe(grid);

  function update() {
    const series = seriesNamed(store.state, store.current);
    const known = series.time.length > 1;
    empty.hidden = known;
    grid.hidden = !known;
    setText(empty, store.current === null ? "" : "No samples yet: they come every two seconds from what runs here.");
    if (known) for (const each of charts) each.update(series);
  }

  return { node, update, close: () => watched.disconnect() };
}

function seriesNamed(state, name) {
  const found = processNamed(state, name ?? "");
  if (found) return seriesOf(state, name);
  const component = state.components.find((c) => c.name === name);
  return together((component?.processes ?? []).map((p) => seriesOf(state, p.name)));
}

function createChart(kind) {
  const value = element("span", "palm-value");
  const head = element("div", "palm-chart-head", TITLES[kind], value);
  const place = element("div", "palm-chart-place");
  const node = element("figure", `palm-chart palm-chart-${kind}`, head, place);
  node.setAttribute("aria-label", TITLES[kind]);
  let plot = null;
  let colours = "";

  function update(series) {
    setText(value, TEXTS[kind](series[kind][series[kind].length - 1]));
    const data = [series.time, series[kind]];
    // The theme may have changed: a canvas does not follow it.
    const now = colour(node, "--palm-curve") + colour(node, "--palm-muted");
    if (plot && now === colours) {
      plot.setData(data);
      return;
    }
    plot?.destroy();
    colours = now;
    plot = place.clientWidth ? new uPlot(options(node, kind, place.clientWidth), data, place) : null;
  }

  return {
    node,
    update,
    fit() {
      const width = place.clientWidth;
      if (plot && width && plot.width !== width) plot.setSize({ width, height: CHART_HEIGHT });
    },
  };
}

function colour(node, name) {
  return getComputedStyle(node).getPropertyValue(name).trim();
}

function options(node, kind, width) {
  const [curve, muted, line] = ["--palm-curve", "--palm-muted", "--palm-grid"].map((n) => colour(node, n));
  const font = "11px system-ui, sans-serif";
  const axis = { stroke: muted, font, ticks: { show: false }, grid: { stroke: line, width: 1 } };
  return {
    width,
    height: CHART_HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: { y: { range: (_plot, _low, high) => [0, Math.max(high ?? 0, 1) * 1.1] } },
    axes: [
      { ...axis, space: 80, grid: { show: false }, values: (_plot, ticks) => ticks.map(clock) },
      { ...axis, size: AXIS, space: 28, values: (_plot, ticks) => ticks.map((tick) => TEXTS[kind](tick)) },
    ],
    series: [{}, { stroke: curve, width: 1.5, points: { show: false }, spanGaps: true }],
  };
}

// ---- ansi.js

// What components print, made safe and readable: colours are kept, everything else that would move
// a cursor or hide something is taken out or shown.

const SEQUENCE = new RegExp(
  [
    "(?:\\x1b\\[|\\x9b)([0-?]*)([ -/]*)([@-~])", // CSI; an SGR if it ends in "m"
    "(?:\\x1b[\\]PX^_]|[\\x90\\x98\\x9d-\\x9f])[^\\x07\\x1b\\x9c]*(?:\\x07|\\x1b\\\\|\\x9c|$)", // titles, links
    "\\x1b[ -/]*[0-Z\\\\^-~]", // short ones
  ].join("|"),
  "g",
);
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/g;
const BIDI = /[\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

// What a progress bar wrote over is gone.
function lastVersion(line) {
  const trimmed = line.replace(/\r+$/, "");
  return trimmed.slice(trimmed.lastIndexOf("\r") + 1);
}

// Controls become pictures of themselves, what turns or hides text its number.
function visible(text) {
  return text
    .replace(CONTROLS, (c) => {
      const code = c.charCodeAt(0);
      if (code === 0x7f) return "\u2421";
      return code < 0x20 ? String.fromCharCode(0x2400 + code) : `\u27e8${code.toString(16)}\u27e9`;
    })
    .replace(BIDI, (c) => `\u27e8U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}\u27e9`);
}

function plain(line) {
  return visible(lastVersion(line).replace(SEQUENCE, ""));
}

// Runs of one look: [{text, style}], style null where nothing is special.
function runs(line) {
  const text = lastVersion(line);
  const found = [];
  let style = {};
  let from = 0;
  const push = (part) => {
    if (part) found.push({ text: visible(part), style: Object.keys(style).length ? style : null });
  };
  for (const match of text.matchAll(SEQUENCE)) {
    push(text.slice(from, match.index));
    from = match.index + match[0].length;
    if (match[3] === "m" && !match[2] && /^[0-9;:]*$/.test(match[1])) style = styled(style, match[1]);
  }
  push(text.slice(from));
  return found;
}

const ON = { 1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike" };
const OFF = { 22: ["bold", "dim"], 23: ["italic"], 24: ["underline"], 27: ["inverse"], 29: ["strike"], 39: ["fg"], 49: ["bg"] };

function styled(before, parameters) {
  const codes = parameters.split(/[;:]/).map(Number);
  let style = { ...before };
  for (let i = 0; i < codes.length; i += 1) {
    const code = codes[i];
    if (code === 0) style = {};
    else if (ON[code]) style[ON[code]] = true;
    else if (OFF[code]) for (const name of OFF[code]) delete style[name];
    else if (code >= 30 && code <= 37) style.fg = code - 30;
    else if (code >= 40 && code <= 47) style.bg = code - 40;
    else if (code >= 90 && code <= 97) style.fg = code - 82;
    else if (code >= 100 && code <= 107) style.bg = code - 92;
    else if (code === 38 || code === 48) {
      const [colour, used] = extended(codes.slice(i + 1));
      if (colour !== null) style[code === 38 ? "fg" : "bg"] = colour;
      i += used;
    }
  }
  return style;
}

// "5;n" is one of 256 colours, "2;r;g;b" any.
function extended([kind, ...rest]) {
  const byte = (n) => Number.isInteger(n) && n >= 0 && n <= 255;
  if (kind === 5 && byte(rest[0])) return [rest[0] < 16 ? rest[0] : cube(rest[0]), 2];
  if (kind === 2 && rest.slice(0, 3).length === 3 && rest.slice(0, 3).every(byte)) {
    return [`rgb(${rest.slice(0, 3).join(", ")})`, 4];
  }
  return [null, kind === 5 ? 2 : kind === 2 ? 4 : 0];
}

function cube(n) {
  if (n >= 232) return `rgb(${Array(3).fill(8 + 10 * (n - 232)).join(", ")})`;
  const level = (v) => (v ? 55 + 40 * v : 0);
  const k = n - 16;
  return `rgb(${level(Math.floor(k / 36))}, ${level(Math.floor(k / 6) % 6)}, ${level(k % 6)})`;
}

// ---- events.js

// What happened, newest first.


function createEvents(store) {
  const rows = new Map();
  const empty = element("p", "palm-quiet", "Nothing has happened yet.");
  const list = element("ol", "palm-events");
  list.tabIndex = 0;
  list.setAttribute("aria-label", "Events");
  list.reversed = true;

  function rowOf(event) {
    const time = element("time", "", clock(event.time));
    time.dateTime = new Date(event.time * 1000).toISOString();
    const row = element("li", "", time, element("span", "", visible(event.text || event.kind)));
    row.dataset.kind = event.kind;
    rows.set(event.seq, row);
    return row;
  }

  function update() {
    const { events } = store.state;
    const present = new Set(events.map((event) => event.seq));
    for (const seq of [...rows.keys()]) if (!present.has(seq)) rows.delete(seq);
    empty.hidden = events.length > 0;
    list.hidden = !events.length;
    arrange(list, [...events].reverse().map((event) => rows.get(event.seq) ?? rowOf(event)));
  }

  return { node: element("div", "", empty, list), update };
}

// ---- heights.js

// How high the lines of a log are, in rows of text: one each, or as many as a wrapped one takes. Heights of
// lines that were never drawn are guessed from their length, and learned once they are.

const DRAWN = 4000; // characters of a line that are drawn

class Heights {
  constructor() {
    this.columns = 0; // characters of a row; 0: lines are not wrapped
    this.known = new WeakMap(); // line -> rows that it took
    this.tops = null; // where each line begins, and where the last one ends
    this.count = 0;
  }

  wrap(columns) {
    if (columns === this.columns) return;
    this.columns = columns;
    this.known = new WeakMap();
  }

  // Lines have come, gone or changed.
  update(log) {
    this.count = log.count;
    this.tops = this.columns ? new Float64Array(log.count + 1) : null;
    if (!this.tops) return;
    for (let i = 0; i < log.count; i += 1) {
      this.tops[i + 1] = this.tops[i] + this.rows(log.at(log.first + i));
    }
  }

  rows(line) {
    return this.known.get(line) ?? Math.max(1, Math.ceil(Math.min(line.text.length, DRAWN) / this.columns));
  }

  // A line took so many rows; says whether that is news.
  learn(line, rows) {
    if (!this.columns || this.rows(line) === rows) return false;
    this.known.set(line, rows);
    return true;
  }

  get total() {
    return this.top(this.count);
  }

  // The row at which a line begins; it is counted from the first one.
  top(index) {
    return this.tops ? this.tops[Math.max(0, Math.min(this.count, index))] : index;
  }

  // The line that has a row.
  at(row) {
    if (!this.tops) return Math.floor(row);
    let [low, high] = [0, this.count];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.tops[middle + 1] <= row) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

// ---- lines.js

// Records of output as lines, each stream of each instance by itself. A line is
// {process, component, instance, stream, time, offset, text}; offset is the byte at which it begins.
// A record of bytes that nobody has any more is a line that says so, with `lost`, how many they are.

const LONGEST = 65536; // characters without a newline after which a line is shown all the same
const NEWLINE = 10;

const encoder = new TextEncoder();

function bytesOf(record) {
  if (typeof record.text === "string") return encoder.encode(record.text);
  return Uint8Array.from(atob(record.bytes ?? ""), (c) => c.charCodeAt(0));
}

function textOf(record) {
  return record.text ?? new TextDecoder().decode(bytesOf(record));
}

// A record that is a line by itself, as a page of lines has them.
function lineOf(record) {
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

class LineReader {
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

// ---- logbar.js

// What stands above a log: search, streams, how lines look, follow, copy and download.


const TYPING = 250; // milliseconds without a key after which a search begins

// shows({times, wrap}) is called when lines are to look otherwise.
function createBar(store, { shows, lines, several }) {
  const { log } = store;
  let typing = null;
  const search = element("input", "palm-search");
  Object.assign(search, { type: "search", placeholder: "Search all output" });
  search.setAttribute("aria-label", "Search all output");
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(apply, TYPING);
  });
  search.addEventListener("keydown", (event) => {
    event.stopPropagation(); // keys are the notebook's commands
    if (event.key === "Enter") apply();
  });
  const stream = element("select", "palm-choice");
  stream.setAttribute("aria-label", "Streams");
  for (const [value, text] of [["", "All streams"], ["stdout", "stdout"], ["stderr", "stderr"]]) {
    const option = element("option", "", text);
    option.value = value;
    stream.append(option);
  }
  stream.addEventListener("change", apply);
  const look = { times: false, wrap: false };
  const looks = (name) => (on) => {
    look[name] = on;
    shows(look);
  };
  const times = toggle("Times", looks("times"));
  const wrap = toggle("Wrap", looks("wrap"));
  const follow = toggle("Follow", (on) => (on ? log.latest() : log.pause()));
  const copy = button("palm-button", "", () => copyLines(), "Copy");
  const save = button("palm-button", "", () => saveLines(), "Download");
  const said = element("span", "palm-hidden");
  said.setAttribute("role", "status");

  function apply() {
    clearTimeout(typing);
    log.filter(stream.value, search.value);
  }

  const asText = (line) => {
    const whose = several() ? `${line.process} | ` : "";
    return `${whose}${plain(line.text)}\n`;
  };

  async function copyLines() {
    const text = lines().map(asText).join("");
    try {
      await navigator.clipboard.writeText(text);
      flash(copy, "Copied");
    } catch {
      flash(copy, "Not allowed here");
    }
  }

  async function saveLines() {
    save.disabled = true;
    const { text, whole } = await allOutput(store);
    save.disabled = false;
    if (text === null) {
      flash(save, "Failed");
      return;
    }
    const link = element("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
    link.download = `${log.selection.name ?? log.selection.component}.log`;
    link.click();
    URL.revokeObjectURL(link.href);
    flash(save, whole ? "Saved" : "Saved the last part");
  }

  function flash(node, text) {
    const before = node.dataset.label ?? node.textContent;
    node.dataset.label = before;
    node.textContent = text;
    said.textContent = text;
    setTimeout(() => {
      node.textContent = before;
    }, 1500);
  }

  return {
    node: element("div", "palm-bar", search, stream, times, wrap, follow, element("span", "palm-gap"), copy, save, said),
    update() {
      setAttribute(follow, "aria-pressed", String(log.following));
      for (const each of [search, stream, times, wrap, follow, copy]) each.disabled = !log.selection;
      if (!save.disabled || !log.busy) save.disabled = !log.selection;
    },
  };
}

const DOWNLOAD = 20000; // lines that are asked for at once
const DOWNLOADS = 50; // and how often

// All output of what is chosen, as it was written; its newest part where it is very long.
async function allOutput({ log, transport }) {
  const parts = [];
  let before = "";
  for (let i = 0; i < DOWNLOADS; i += 1) {
    const action = { do: "output", ...log.selection, lines: DOWNLOAD, before };
    let page;
    try {
      page = await transport.request(action);
    } catch {
      return { text: null, whole: false };
    }
    parts.unshift(page.records.map((record) => textOf(record).replace(/\n?$/, "\n")).join(""));
    before = page.first;
    if (!page.more || !before) return { text: parts.join(""), whole: true };
  }
  return { text: parts.join(""), whole: false };
}

function toggle(text, onChange) {
  const node = button("palm-button palm-toggle", "", () => {
    const on = node.getAttribute("aria-pressed") !== "true";
    node.setAttribute("aria-pressed", String(on));
    onChange(on);
  }, text);
  node.setAttribute("aria-pressed", "false");
  return node;
}

// ---- logview.js

// A log as a list of which only what is in view is in the page, so that its length costs nothing.


const LINE = 18; // pixels
const AROUND = 20; // lines above and below that are drawn, too
const NEAR = 40; // pixels from the top at which earlier lines are fetched
const PADDING = 32; // pixels beside the text of a line, and of what stands before it, in characters
const GAP = 12; // pixels between them
const TIME = 12; // characters of a time, of a name at least
const WHOSE = 8;

function createLogView(store, id) {
  const { log } = store;
  const drawn = new Map(); // number of a line -> its element
  let several = false; // processes: then each line says whose it is
  let look = { times: false, wrap: false };
  const heights = new Heights();
  let wasFirst = log.first;
  let wasTurn = log.turn;
  let pending = false;

  const list = element("div", "palm-lines");
  const scroll = element("div", "palm-log", list);
  scroll.id = id;
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "log");
  scroll.setAttribute("aria-live", "off"); // it would be read aloud without end
  scroll.setAttribute("aria-label", "Output");
  const above = element("div", "palm-above");
  above.setAttribute("role", "status");
  const quiet = element("p", "palm-quiet");
  const latest = button("palm-latest", "", () => toLatest());
  const bar = createBar(store, {
    shows: (asked) => {
      const place = topLine();
      look = { ...asked };
      redraw();
      if (!log.following) scroll.scrollTop = heights.top(place) * LINE;
    },
    lines: () => log.lines,
    several: () => several,
  });
  const node = element("div", "palm-logview", bar.node, element("div", "palm-logbox", above, scroll, quiet, latest));

  scroll.addEventListener("scroll", onScroll, { passive: true });
  const watched = new ResizeObserver(() => look.wrap && later());
  watched.observe(scroll);

  const atEnd = () => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < LINE;

  const topLine = () => heights.at(scroll.scrollTop / LINE);

  // Characters of a row; 0: lines are not wrapped.
  function columns() {
    if (!look.wrap) return 0;
    const character = widthOfCharacter(scroll);
    let width = scroll.clientWidth - PADDING;
    if (look.times) width -= TIME * character + GAP;
    if (several) width -= WHOSE * character + GAP;
    return Math.max(1, Math.floor(width / character));
  }

  async function toLatest() {
    await log.latest();
    scroll.focus();
  }

  function onScroll() {
    if (log.following && !atEnd()) log.pause();
    else if (!log.following && log.live && atEnd()) log.latest();
    if (scroll.scrollTop < NEAR && log.more && !log.busy && !log.error) log.older();
    later();
  }

  function later() {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => {
      pending = false;
      draw();
    });
  }

  function redraw() {
    list.replaceChildren();
    drawn.clear();
    draw();
  }

  function draw() {
    if (log.turn !== wasTurn || log.first > wasFirst) {
      list.replaceChildren();
      drawn.clear();
    }
    const came = log.turn === wasTurn ? Math.max(0, wasFirst - log.first) : 0;
    wasTurn = log.turn;
    wasFirst = log.first;
    several = severalProcesses(log);
    setClass(list, "palm-times", look.times);
    setClass(list, "palm-wrap", look.wrap);
    heights.wrap(columns());
    heights.update(log);
    list.style.height = `${heights.total * LINE}px`;
    // Lines that came before those in view must not move them; and the end stays in view.
    if (came) scroll.scrollTop += heights.top(came) * LINE;
    if (log.following) scroll.scrollTop = scroll.scrollHeight;
    drawLines();
    if (look.wrap) settle();
    drawAround();
    bar.update();
  }

  function drawLines() {
    const top = topLine() - AROUND;
    const bottom = heights.at((scroll.scrollTop + scroll.clientHeight) / LINE) + 1 + AROUND;
    const from = Math.max(0, top) + log.first;
    const to = Math.min(log.count, Math.max(0, bottom)) + log.first;
    for (const [number, each] of drawn) {
      if (number >= from && number < to) continue;
      each.node.remove();
      drawn.delete(number);
    }
    let after = null;
    for (let number = to - 1; number >= from; number -= 1) {
      const line = log.at(number);
      let each = drawn.get(number);
      if (each && each.line !== line) {
        each.node.remove(); // it had not ended
        each = null;
      }
      if (!each) {
        each = { line, node: lineNode(line, log.at(number - 1), several, log.find) };
        drawn.set(number, each);
        list.insertBefore(each.node, after);
      }
      after = each.node;
    }
    place();
  }

  function place() {
    for (const [number, { node }] of drawn) node.style.top = `${heights.top(number - log.first) * LINE}px`;
  }

  // Wrapped lines are as high as they turn out to be; what is in view must not move for that.
  function settle() {
    const found = [...drawn.values()].map(({ line, node }) => [line, Math.round(node.offsetHeight / LINE)]);
    const news = found.filter(([line, rows]) => heights.learn(line, rows));
    if (!news.length) return;
    const first = topLine();
    const before = heights.top(first);
    heights.update(log);
    list.style.height = `${heights.total * LINE}px`;
    place();
    if (log.following) scroll.scrollTop = scroll.scrollHeight;
    else scroll.scrollTop += (heights.top(first) - before) * LINE;
    later();
  }

  function drawAround() {
    const empty = !log.count;
    setClass(scroll, "palm-silent", empty);
    quiet.hidden = !empty;
    setText(quiet, empty ? nothing(store) : "");
    above.hidden = !(log.error || log.skipped || (log.busy && !empty));
    setText(above, told(log));
    latest.hidden = log.following;
    setText(latest, log.fresh ? `${grouped(log.fresh)} new lines \u2193` : "Latest \u2193");
  }

  return { node, draw: later, redraw, close: () => watched.disconnect() };
}

const ruler = document.createElement("canvas").getContext("2d");

function widthOfCharacter(node) {
  const { fontSize, fontFamily } = getComputedStyle(node);
  ruler.font = `${fontSize} ${fontFamily}`;
  return ruler.measureText("0".repeat(100)).width / 100;
}

function severalProcesses({ lines, selection }) {
  return Boolean(selection && !selection.name && lines.some((line) => line.process !== lines[0].process));
}

function told(log) {
  if (log.error) return `Earlier lines cannot be had: ${log.error.message}`;
  if (log.busy) return "Looking for earlier lines ...";
  return log.skipped ? `More than can be shown: ${bytes(log.skipped)} were passed over. Scroll up to read them.` : "";
}

function nothing(store) {
  const { log } = store;
  if (log.error) return `No output can be had: ${log.error.message}`;
  if (!log.selection) {
    return store.state.components.length ? "Its output is where it was started." : "";
  }
  if (log.busy) return "Looking for output ...";
  return log.find || log.stream ? "No line is like that." : "No output yet.";
}

function lineNode(line, previous, several, find) {
  const node = element("div", "palm-line");
  if (line.stream === "stderr") node.classList.add("palm-stderr");
  if (line.lost) node.classList.add("palm-gap");
  if (previous && previous.process === line.process && previous.instance !== line.instance) {
    node.classList.add("palm-life");
    node.title = "Started anew here";
  }
  node.append(element("span", "palm-time", timestamp(line.time)));
  if (several) node.append(element("span", "palm-whose", line.process));
  if (line.stream === "stderr") node.append(element("span", "palm-stream", "err"));
  node.append(textNode(line.text, find));
  return node;
}

function textNode(text, find) {
  const node = element("span", "palm-text");
  const cut = text.length > DRAWN ? text.slice(0, DRAWN) : text;
  for (const run of runs(cut)) node.append(...marked(run, find));
  if (text.length > DRAWN) {
    node.append(element("span", "palm-more", ` ... ${grouped(text.length - DRAWN)} more characters`));
  }
  return node;
}

function marked({ text, style }, find) {
  const parts = find ? text.split(find) : [text];
  const nodes = parts.flatMap((part, i) => (i ? [element("mark", "", find), part] : [part]));
  if (!style) return nodes;
  const node = element("span", "", ...nodes);
  for (const [name, value] of Object.entries(style)) {
    if (value === true) node.classList.add(`palm-${name}`);
    else if (typeof value === "number") node.classList.add(`palm-${name}-${value}`);
    else node.style[name === "fg" ? "color" : "backgroundColor"] = value;
  }
  return [node];
}

// ---- rows.js

// The lines of the table, and how the cluster is, as plain values.


const STATES = {
  ready: "ready",
  starting: "starting",
  "backing-off": "backing off",
  stopping: "stopping",
  stopped: "stopped",
  failed: "failed",
  unknown: "unknown",
};
const FOLDED_FROM = 9; // replicas from which a component starts folded
const PLAIN_ENDS = ["was stopped", "ended with exit code 0"];
const SCALED = ["worker"]; // roles of which there may be several

// How the cluster is: [state for the dot, words].
function summary(state) {
  const own = state.components.filter((c) => c.own);
  const wanted = own.reduce((n, c) => n + c.desired, 0);
  const missing = own.reduce((n, c) => n + Math.max(0, c.desired - c.ready), 0);
  if (state.over) return ["stopped", state.over];
  if (!state.components.length) return ["stopped", "no components"];
  if (missing) {
    const worst = own.some((c) => c.state === "failed") ? "failed" : "starting";
    return [worst, `${wanted - missing} of ${wanted} ready`];
  }
  if (wanted) return ["ready", wanted === 1 ? "1 process ready" : `${wanted} processes ready`];
  return ["stopped", own.length ? "stopped" : "nothing started here"];
}

// What is wanted and not there, in words.
function configuration(state) {
  return state.missing.map(({ component, count, why }) => ({
    component,
    text: `${plural(count, "process", "processes")} of ${component} missing`,
    why,
  }));
}

// Whether the reason for a state is worth a line.
function isNews(process) {
  if (!process.reason) return false;
  if (process.state === "stopped") return !PLAIN_ENDS.includes(process.reason);
  return process.state === "failed" || process.state === "backing-off";
}

function isFolded(component, folded) {
  return folded.get(component.name) ?? component.processes.length >= FOLDED_FROM;
}

function rowsOf(state, folded) {
  return state.components.flatMap((component) => {
    const [first, ...others] = component.processes;
    if (!others.length) return [single(state, component, first)];
    const closed = isFolded(component, folded);
    const replicas = component.processes.map((p) => replica(state, component, p));
    return [group(state, component, closed), ...(closed ? [] : replicas)];
  });
}

function single(state, component, process) {
  return {
    ...common(component),
    ...used(state, [process]),
    key: `component ${component.name}`,
    kind: "single",
    name: process.name,
    selects: process.name,
    state: process.state,
    words: words(component, process),
    restarts: process.restarts,
    started: process.started,
    why: isNews(process) ? `It ${process.reason}.` : "",
  };
}

function group(state, component, closed) {
  const { processes } = component;
  const over = processes.every((p) => p.state === "stopped");
  const ready = `${component.ready} of ${wantedOf(component)} ready`;
  const other = component.state === "ready" ? "" : `, ${STATES[component.state] ?? component.state}`;
  return {
    ...common(component),
    ...used(state, processes),
    key: `component ${component.name}`,
    kind: "group",
    name: component.name,
    selects: component.name,
    state: component.state,
    words: over ? "stopped" : `${ready}${other}`,
    restarts: processes.reduce((n, p) => n + p.restarts, 0),
    started: null,
    closed,
    why: waitingOf(state, component),
  };
}

// How many processes are wanted, or there; while some have no place yet, there are fewer.
function wantedOf(component) {
  return Math.max(component.desired, component.processes.length);
}

// Of one with processes that run: what those wait for that there are none of yet.
function waitingOf(state, { name }) {
  const waiting = state.missing.find(({ component, why }) => component === name && why.startsWith("waits for"));
  return waiting ? `${plural(waiting.count, "process", "processes")} not started: ${waiting.why}.` : "";
}

function replica(state, component, process) {
  return {
    ...single(state, component, process),
    key: `process ${process.name}`,
    kind: "replica",
    role: "",
    actions: [],
    scale: null,
  };
}

function common(component) {
  const running = component.desired > 0 || !component.own;
  const actions = component.own ? (running ? ["restart", "stop"] : ["start"]) : ["stop"];
  const scale = component.own && running && SCALED.includes(component.role);
  return {
    component: component.name,
    role: component.role,
    own: component.own,
    actions,
    scale: scale ? component.desired : null,
  };
}

function words(component, process) {
  const text = STATES[process.state] ?? process.state;
  return component.own ? text : `${text}, elsewhere`;
}

function used(state, processes) {
  const alive = processes.filter((p) => p.pid !== null); // the last sample of others says nothing
  const now = alive.map((p) => state.samples.get(p.name)).filter(Boolean).map(measures);
  const sum = (kind) => total(now.map((each) => each[kind]));
  return {
    values: { cpu: sum("cpu"), rss: sum("rss"), rate: sum("rate"), queue: sum("queue") },
    series: together(processes.map((p) => seriesOf(state, p.name))),
  };
}

// Whose output is shown: what was chosen while it exists, else what needs attention, else the latest.
function chosen(state, selected) {
  const all = state.components.flatMap((c) => c.processes.map((p) => [p, c.own]));
  const names = new Set([...all.map(([p]) => p.name), ...state.components.map((c) => c.name)]);
  if (names.has(selected)) return selected;
  const own = all.filter(([, mine]) => mine).map(([p]) => p);
  const bad = own.find((p) => p.state === "failed" || p.state === "backing-off");
  return (bad ?? own[own.length - 1] ?? all[0]?.[0])?.name ?? null;
}

// ---- table.js

// The components as a table. A row keeps its elements as long as its component is there, so that
// focus and selection stay where they are, whatever changes.


const COLUMNS = [
  ["Name", ""],
  ["Role", "palm-role"],
  ["State", "palm-of-state"],
  ["CPU", "palm-measure"],
  ["Memory", "palm-measure"],
  ["Rate", "palm-measure"],
  ["Queue", "palm-measure"],
  ["Restarts", "palm-number palm-restarts"],
  ["Uptime", "palm-number palm-uptime"],
  ["Actions", "palm-actions"],
];
const MEASURES = [
  ["cpu", percent, 10, "of a processor"],
  ["rss", bytes, 0, "of memory"],
  ["rate", rate, 1, "results"],
  ["queue", short, 4, "messages wait or run"],
];
const VERBS = { stop: "Stop", start: "Start", restart: "Restart" };

function createTable(store, { logId }) {
  const body = element("tbody");
  const rows = new Map();
  const node = scaffold(body);
  body.addEventListener("keydown", (event) => moveFocus(body, event));
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-selects]");
    if (!row || event.target.closest("button:not(.palm-name)")) return;
    if (event.target.closest(".palm-name") || !window.getSelection()?.toString()) {
      store.select(row.dataset.selects);
    }
  });

  function update() {
    const wanted = rowsOf(store.state, store.folded);
    for (const key of [...rows.keys()]) if (!wanted.some((row) => row.key === key)) rows.delete(key);
    const current = store.current;
    arrange(
      body,
      wanted.flatMap((row) => {
        if (!rows.has(row.key)) rows.set(row.key, createRow(store, logId));
        return rows.get(row.key).update(row, current);
      }),
    );
    tick();
  }

  // Uptimes run here, by the clock of those who sent the state.
  function tick() {
    for (const row of rows.values()) row.tick(store.time);
  }

  return { node, update, tick };
}

function scaffold(body) {
  const headings = element("tr");
  for (const [text, className] of COLUMNS) {
    const label = text === "Actions" ? element("span", "palm-hidden", text) : text;
    const cell = element("th", className, label);
    cell.scope = "col";
    headings.append(cell);
  }
  const caption = element("caption", "palm-hidden", "Components of the cluster");
  return element("table", "palm-table", caption, element("thead", "", headings), body);
}

function createRow(store, logId) {
  let row = null;
  const name = button("palm-name", "", () => {});
  name.setAttribute("aria-controls", logId);
  const fold = button("palm-fold", "", () => store.fold(row.component, !row.closed));
  fold.append(element("span", "palm-chevron"));
  const head = element("th", "", element("div", "", fold, name));
  head.scope = "row";
  const role = element("td", "palm-role");
  const dot = element("span", "palm-dot");
  dot.setAttribute("aria-hidden", "true");
  const words = element("span", "palm-words");
  const state = element("span", "palm-state", dot, words);
  const measures = MEASURES.map(([kind, text, least, what]) => createMeasure(kind, text, least, what));
  const restarts = element("td", "palm-number palm-restarts");
  const uptime = element("td", "palm-number palm-uptime");
  const actions = createActions(store);
  const tr = element(
    "tr", "", head, role, element("td", "palm-of-state", state),
    ...measures.map((each) => each.node), restarts, uptime, actions.node,
  );
  const below = createBelow(store);

  function update(next, current) {
    row = next;
    const selected = current === row.selects && row.kind !== "none";
    tr.dataset.selects = row.selects;
    tr.dataset.kind = row.kind;
    setClass(tr, "palm-group", row.kind === "group");
    setClass(tr, "palm-replica", row.kind === "replica");
    setClass(tr, "palm-selected", selected);
    setClass(tr, "palm-over", row.state === "stopped");
    setAttribute(tr, "data-asks", row.kind !== "replica" && store.questions.has(row.component));
    setText(name, row.name);
    setAttribute(name, "aria-pressed", String(selected));
    fold.hidden = row.kind !== "group";
    setAttribute(fold, "aria-expanded", String(!row.closed));
    setAttribute(fold, "aria-label", `Processes of ${row.component}`);
    setText(role, row.role);
    state.dataset.state = row.state;
    setText(words, row.words);
    measures.forEach((each) => each.update(row));
    setText(restarts, String(row.restarts));
    setClass(restarts, "palm-noted", row.restarts > 0);
    setClass(restarts, "palm-none", !row.restarts);
    actions.update(row);
    return [tr, ...below.update(row, selected)];
  }

  function tick(time) {
    const text = row.started === null ? NONE : duration(time - row.started);
    setText(uptime, text);
    setAttribute(uptime, "data-started", row.started);
    setClass(uptime, "palm-none", row.started === null);
  }

  return { update, tick };
}

function createMeasure(kind, text, least, what) {
  const spark = createSparkline(kind);
  const value = element("span", "palm-value");
  const node = element("td", `palm-measure palm-measure-${kind}`, element("div", "", spark.node, value));
  return {
    node,
    update({ values, series }) {
      setText(value, text(values[kind]));
      setClass(node, "palm-none", values[kind] === null);
      node.title = values[kind] === null ? "not known yet" : `${text(values[kind])} ${what}`;
      spark.update(series[kind], least);
    },
  };
}

function createActions(store) {
  let row = null;
  const act = (verb) => store.act({ do: verb, component: row.component });
  const buttons = Object.fromEntries(
    Object.keys(VERBS).map((verb) => [verb, button(`palm-act palm-act-${verb}`, "", () => act(verb), icon(verb))]),
  );
  const to = (n) => store.act({ do: "scale", component: row.component, replicas: row.scale + n });
  const less = button("palm-act", "", () => to(-1), icon("less"));
  const more = button("palm-act", "", () => to(1), icon("more"));
  const count = element("span", "palm-count");
  const scale = element("span", "palm-scale", less, count, more);
  scale.setAttribute("role", "group");
  const node = element("td", "palm-actions", element("div", "", scale, ...Object.values(buttons)));
  return {
    node,
    update(next) {
      row = next;
      const busy = store.pending.has(row.component) || !store.isLive;
      for (const [verb, each] of Object.entries(buttons)) {
        each.hidden = !store.mayAct || !row.actions.includes(verb);
        label(each, `${VERBS[verb]} ${row.component}`);
        each.disabled = busy;
      }
      scale.hidden = !store.mayAct || row.scale === null;
      if (row.scale === null) return;
      setText(count, String(row.scale));
      setAttribute(scale, "aria-label", `Processes of ${row.component}: ${row.scale}`);
      label(less, `One process less of ${row.component}`);
      label(more, `One process more of ${row.component}`);
      less.disabled = busy || row.scale <= 1;
      more.disabled = busy;
    },
  };
}

function label(node, text) {
  setAttribute(node, "aria-label", text);
  setAttribute(node, "title", text);
}

// What stands below a row: why it is as it is, what is being done, and what failed.
function createBelow(store) {
  let component = "";
  const why = wide("palm-why");
  const doing = wide("palm-doing");
  const failed = wide("palm-failed");
  doing.cell.setAttribute("role", "status");
  const asked = wide("palm-asked");
  const ask = createAsk(store, asked.cell);
  const text = element("span", "palm-failed-text");
  text.setAttribute("role", "alert");
  const close = button("palm-act", "Dismiss", () => store.dismiss(component), icon("close"));
  failed.cell.append(text, close);
  return {
    update(row, selected) {
      component = row.component;
      const found = [];
      const mine = row.kind !== "replica";
      const note = mine ? store.notes.get(component) : null;
      const pending = mine ? store.pending.get(component) : null;
      const question = mine ? store.questions.get(component) : null;
      for (const each of [why, asked, doing, failed]) {
        each.row.dataset.selects = row.selects;
        setClass(each.row, "palm-replica", row.kind === "replica");
        setClass(each.row, "palm-selected", selected);
      }
      if (row.why) found.push(said(why, why.cell, row.why));
      if (question) found.push(asked.row);
      ask(component, question);
      if (pending) found.push(said(doing, doing.cell, pending));
      if (note) found.push(said(failed, text, note.hint ? `${note.text} (${note.hint})` : note.text));
      return found;
    },
  };
}

// The question whether something is to be done, with its answers. Who asked for it by a key finds the
// harmless answer under it, and is back at the row's name afterwards.
function createAsk(store, cell) {
  let component = "";
  let shown = null;
  const text = element("span", "palm-asked-text");
  const yes = button("palm-button palm-grave", "", () => answer(true));
  const no = button("palm-button", "", () => answer(false));
  cell.append(text, element("span", "palm-answers", yes, no));
  cell.setAttribute("role", "group");
  cell.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    answer(false);
  });

  function answer(sure) {
    const name = cell.closest("tbody").querySelector(`tr[data-asks="true"] .palm-name`);
    store.answer(component, sure);
    name?.focus();
  }

  return (name, question) => {
    component = name;
    yes.disabled = !store.isLive;
    if (question === shown) return;
    shown = question ?? null;
    if (!shown) return;
    setText(text, shown.text);
    setText(yes, shown.yes);
    setText(no, shown.no);
    cell.setAttribute("aria-label", shown.text);
    const here = document.activeElement;
    requestAnimationFrame(() => {
      if (cell.closest(".palm-panel")?.contains(here)) no.focus();
    });
  };
}

// It does not span columns: those that there is no room for would then take some.
function wide(className) {
  const cell = element("div");
  return { row: element("tr", `palm-below ${className}`, element("td", "", cell)), cell };
}

function said(line, node, text) {
  setText(node, text);
  return line.row;
}

function moveFocus(body, event) {
  const all = [...body.querySelectorAll("button.palm-name")];
  const at = all.indexOf(document.activeElement);
  if (at < 0) return;
  const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  event.stopPropagation(); // the notebook would take it for "next cell"
  all[Math.min(all.length - 1, Math.max(0, next))].focus();
}

// ---- topology.js

// Components and the messages between them, as a graph from left to right.


const CLIENTS = "clients";
const INSIDE = " (inside)"; // what a component that runs its own functions calls that part of it
const BOX = { width: 164, height: 44, across: 88, down: 20, margin: 12 };

// {nodes, edges} of a state: a node each component, an edge each pair that exchanges messages, and
// each worker's link to its master. What is counted of single processes is added up.
function graphOf(state) {
  const owner = new Map();
  for (const c of state.components) {
    for (const name of [c.name, ...c.processes.map((p) => p.name)]) {
      owner.set(name, c.name);
      owner.set(`${name}${INSIDE}`, c.name);
    }
  }
  const edges = new Map();
  const edge = (source, target) => {
    const key = `${source}\u0000${target}`;
    if (!edges.has(key)) edges.set(key, { key, source, target, rates: [], again: [], open: 0 });
    return edges.get(key);
  };
  for (const c of state.components) if (owner.has(c.master)) edge(c.master, c.name);
  for (const sample of state.samples.values()) {
    for (const counted of sample.edges ?? []) {
      const source = owner.get(counted.source) ?? (counted.role === "client" ? CLIENTS : counted.source);
      const target = owner.get(counted.target) ?? counted.target;
      if (source === target) continue;
      const found = edge(source, target);
      // Both ends of a link between stages count it.
      (counted.role === "stage before" ? found.again : found.rates).push(counted.rate ?? null);
      found.open += counted.open ?? 0;
    }
  }
  const nodes = new Map(state.components.map((c) => [c.name, nodeOf(c)]));
  for (const { source, target } of edges.values()) {
    for (const name of [source, target]) if (!nodes.has(name)) nodes.set(name, other(name));
  }
  const list = [...edges.values()].map(({ rates, again, ...rest }) => {
    const counts = rates.length ? rates : again;
    return { ...rest, rate: total(counts), counted: counts.length > 0 };
  });
  return { nodes: [...nodes.values()], edges: list };
}

function nodeOf(c) {
  const several = c.processes.length > 1;
  const words = STATES[c.state] ?? c.state;
  return { name: c.name, role: c.role, state: c.state, note: several ? `${c.ready} of ${wantedOf(c)} ready` : words };
}

function other(name) {
  return { name, role: "", state: name === CLIENTS ? "ready" : "stopped", note: name === CLIENTS ? "notebooks, programs" : "" };
}

// Where everything is: each node one step to the right of those that it gets messages from. Of a
// circle, one edge goes back.
function layout({ nodes, edges }) {
  const depth = new Map(nodes.map((node) => [node.name, 0]));
  for (let round = 0; round < nodes.length; round += 1) {
    let moved = false;
    for (const { source, target } of edges) {
      const least = depth.get(source) + 1;
      if (depth.get(target) < least && least < nodes.length) {
        depth.set(target, least);
        moved = true;
      }
    }
    if (!moved) break;
  }
  const columns = [];
  for (const node of nodes) (columns[depth.get(node.name)] ??= []).push(node);
  const filled = columns.filter(Boolean);
  untangle(filled, edges);
  const tallest = Math.max(1, ...filled.map((column) => column.length));
  const height = tallest * (BOX.height + BOX.down) - BOX.down;
  const places = new Map();
  filled.forEach((column, x) => {
    const own = column.length * (BOX.height + BOX.down) - BOX.down;
    column.forEach((node, y) => {
      places.set(node.name, {
        x: BOX.margin + x * (BOX.width + BOX.across),
        y: BOX.margin + (height - own) / 2 + y * (BOX.height + BOX.down),
      });
    });
  });
  const width = filled.length * (BOX.width + BOX.across) - BOX.across;
  return { places, width: Math.max(width, 0) + 2 * BOX.margin, height: height + 2 * BOX.margin };
}

// Put nodes of a column in the order of those that they get messages from, so that few links cross.
function untangle(columns, edges) {
  const rank = new Map();
  for (const column of columns) {
    const wish = new Map(
      column.map(({ name }, i) => {
        const before = edges.filter((e) => e.target === name && rank.has(e.source));
        const sum = before.reduce((n, e) => n + rank.get(e.source), 0);
        return [name, before.length ? sum / before.length : i / column.length];
      }),
    );
    column.sort((a, b) => wish.get(a.name) - wish.get(b.name));
    column.forEach(({ name }, i) => rank.set(name, (i + 0.5) / column.length));
  }
}

function createTopology(store) {
  const boxes = new Map();
  const links = new Map();
  const under = svg("g");
  const over = svg("g");
  const picture = svg("svg", { class: "palm-graph", role: "img" }, under, over);
  const list = element("ul", "palm-hidden");
  const node = element("div", "palm-topology", picture, list);
  node.tabIndex = 0;
  node.setAttribute("role", "region");
  node.setAttribute("aria-label", "Topology");

  function update() {
    const graph = graphOf(store.state);
    const { places, width, height } = layout(graph);
    setAttribute(picture, "viewBox", `0 0 ${width} ${height}`);
    setAttribute(picture, "width", width);
    setAttribute(picture, "height", height);
    setAttribute(picture, "aria-label", `${graph.nodes.length} components, ${graph.edges.length} links`);
    arrange(over, graph.nodes.map((each) => draw(boxes, each.name, createBox).update(each, places.get(each.name))));
    arrange(
      under,
      graph.edges.map((each) =>
        draw(links, each.key, createLink).update(each, places.get(each.source), places.get(each.target)),
      ),
    );
    list.replaceChildren(...graph.edges.map((each) => element("li", "", spoken(each))));
  }

  return { node, update };
}

function draw(known, key, make) {
  if (!known.has(key)) known.set(key, make());
  return known.get(key);
}

function spoken({ source, target, rate: now }) {
  return `${source} to ${target}: ${now === null ? "no messages known" : `${short(now)} messages a second`}`;
}

function createBox() {
  const box = svg("rect", { width: BOX.width, height: BOX.height, rx: 6 });
  const shape = svg("circle", { cx: 15, cy: 16, r: 4 });
  const name = svg("text", { x: 26, y: 20, class: "palm-node-name" });
  const note = svg("text", { x: 26, y: 35, class: "palm-node-note" });
  const title = svg("title");
  const node = svg("g", { class: "palm-node" }, title, box, shape, name, note);
  return {
    update(each, place) {
      setAttribute(node, "transform", `translate(${place.x} ${place.y})`);
      setAttribute(node, "data-state", each.state);
      setText(title, `${each.name}: ${each.note}`);
      setText(name, shortened(each.name, 17));
      setText(note, shortened([each.role, each.note].filter(Boolean).join(", "), 22));
      return node;
    },
  };
}

function createLink() {
  const path = svg("path", { class: "palm-link" });
  const tip = svg("path", { class: "palm-tip" });
  const label = svg("text", { class: "palm-link-rate", "text-anchor": "middle" });
  const node = svg("g", {}, path, tip, label);
  return {
    update(edge, from, to) {
      const back = to.x <= from.x;
      const [x1, y1] = [from.x + BOX.width, from.y + BOX.height / 2];
      const [x2, y2] = [to.x - 6, to.y + BOX.height / 2];
      const bend = back ? BOX.across : Math.max(24, (x2 - x1) / 2);
      setAttribute(path, "d", `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`);
      setAttribute(tip, "d", `M${x2 + 6} ${y2}l-8 -4v8z`);
      // Nearer to its end, where links of one source are apart.
      setAttribute(label, "x", round(curveAt(x1, x1 + bend, x2 - bend, x2)));
      setAttribute(label, "y", round(curveAt(y1, y1, y2, y2)) - 6);
      setText(label, edge.counted ? rate(edge.rate) : "");
      setAttribute(node, "class", edge.rate > 0 ? "palm-edge palm-flows" : "palm-edge");
      return node;
    },
  };
}

// A cubic curve at the place of its label.
function curveAt(a, b, c, d, t = 0.68) {
  const u = 1 - t;
  return u * u * u * a + 3 * u * u * t * b + 3 * u * t * t * c + t * t * t * d;
}

function shortened(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}\u2026` : text;
}

// ---- why.js

// Why a process ended: what is known, and what may be done.


const SIGNALS = {
  1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE",
  9: "SIGKILL", 11: "SIGSEGV", 13: "SIGPIPE", 15: "SIGTERM",
};

// The exit code of who wants to be started again; see palm/spec/exits.py.
const START_AGAIN = 83;

// States of a process that says how its run before ended.
const ENDS = ["backing-off", "failed"];

// Whether there is something to be explained.
function isInTrouble(process) {
  if (process.state === "failed" || process.state === "backing-off") return true;
  return process.state !== "ready" && cameBack(process);
}

// Whether it is well, and was not.
function isWellAgain(process) {
  return process.state === "ready" && cameBack(process);
}

// A run that was over by plan, as after so many calls, is not worth a word.
function cameBack(process) {
  return process.restarts > 0 && ![0, START_AGAIN].includes(process.exit ?? 0);
}

// {title, facts, lines, advice, calm} of a process in trouble, or that was; events say when.
function explain(component, process, events = [], now = 0) {
  if (isWellAgain(process)) return recovery(process, events, now);
  const facts = [];
  if (process.exit !== null) facts.push(["Exit", ending(process.exit)]);
  facts.push(["Restarts", process.restarts ? plural(process.restarts, "time", "times") : "none"]);
  if (process.node) facts.push(["Node", process.node]);
  const lines = process.lastLines.split("\n").map(plain);
  while (lines.length && !lines[lines.length - 1].trim()) lines.pop();
  return {
    title: process.reason ? `It ${process.reason}.` : `It is ${process.state}.`,
    facts,
    lines,
    advice: advice(component, process, lines),
    calm: false,
  };
}

function recovery(process, events, now) {
  const { died, at, since } = lives(process, events);
  const when = at === null ? "" : ` at ${moment(at, now)}`;
  const back = since === null ? "is ready again" : `is ready since ${moment(since, now)}`;
  const often = process.restarts > 1 ? `That makes ${plural(process.restarts, "restart")}. ` : "";
  return {
    title: `It ${died}${when}, was restarted, and ${back}.`,
    facts: [],
    lines: [],
    advice: `${often}Its output and the events say more.`,
    calm: true,
  };
}

// How and when the run before ended, and since when this one is ready, as far as it is known.
function lives(process, events) {
  const mine = events.filter((event) => event.data?.name === process.name);
  const end = mine.filter(({ data }) => data.exit === process.exit && ENDS.includes(data.state)).pop();
  const ready = mine.filter(({ data }) => data.state === "ready").pop();
  const prefix = `${process.name} `;
  return {
    died: end?.text.startsWith(prefix) ? end.text.slice(prefix.length) : endedBy(process.exit),
    at: end?.time ?? null,
    since: ready && ready.time >= (end?.time ?? 0) ? ready.time : process.started,
  };
}

function endedBy(exit) {
  return exit >= 0 ? `ended with exit code ${exit}` : `was ${ending(exit)}`;
}

function ending(exit) {
  if (exit >= 0) return `code ${exit}`;
  return `killed by ${SIGNALS[-exit] ?? `signal ${-exit}`}`;
}

function advice(component, process, lines) {
  const last = lines.slice(-4).join("\n"); // the error itself, and what palm says of it
  const missing = /No module named '?([\w.]+)'?/.exec(last);
  if (missing) {
    return `The interpreter of ${component.name} has no ${missing[1]}: install it there, or import it in the cell that it serves.`;
  }
  if (/SyntaxError|NameError|ImportError/.test(last)) return "Mend the cell or the file, and start it again.";
  if (/Address already in use/.test(last)) return "Another process has its port: stop that one, or give it another.";
  if (process.exit === -9) {
    return "Nobody asked palm for this: somebody used kill -9, or the machine ran out of memory (see the kernel's log).";
  }
  if (process.exit === -11 || process.exit === -7) return "A library crashed, not Python: try without its native code, or another version.";
  if (process.state === "failed") return "palm has given up. Mend what its last lines say, then restart it.";
  return "palm tries again by itself, with longer and longer pauses.";
}

// A card of it: update({component, process}) or update(null).
function createWhy(store) {
  const title = element("strong", "palm-why-title");
  const facts = element("div", "palm-facts");
  const lines = element("pre", "palm-last");
  lines.tabIndex = 0;
  lines.setAttribute("role", "group");
  lines.setAttribute("aria-label", "Last lines of its error output");
  const hint = element("p", "palm-advice");
  const again = button("palm-button", "", () => store.act({ do: "restart", component: again.dataset.component }), "Restart");
  const foot = element("div", "palm-why-foot", hint, again);
  const node = element("section", "palm-card palm-trouble", title, facts, lines, foot);
  node.hidden = true;
  let shown = "";
  if (!store.mayAct) again.remove();
  return {
    node,
    update(found) {
      node.hidden = !found;
      if (!found) return;
      const told = explain(found.component, found.process, store.state.events, store.time);
      again.dataset.component = found.component.name;
      again.hidden = !found.component.own || told.calm;
      again.disabled = !store.isLive || store.pending.has(found.component.name);
      const text = JSON.stringify([found.process.name, told]);
      if (text === shown) return; // whoever selects text in it keeps that
      shown = text;
      setClass(node, "palm-calm", told.calm);
      node.setAttribute("aria-label", told.calm ? "What happened before" : "Why it ended");
      title.textContent = `${found.process.name}: ${told.title}`;
      facts.hidden = !told.facts.length;
      facts.replaceChildren(...told.facts.map(([name, value]) => fact(name, value)));
      lines.hidden = !told.lines.length;
      lines.textContent = told.lines.join("\n");
      hint.textContent = told.advice;
    },
  };
}

// ---- panel.js

// The panel of a cluster: how it is, its components, and what is known of the chosen one.


const AWAY =
  "What runs goes on, jobs too. Its output is kept, and shown here once the registry answers again; until then nothing can be started or stopped from here.";
let panels = 0;

function createPanel(root, store) {
  panels += 1;
  const id = `palm-${panels}`;
  const head = createHead(store);
  const away = element("p", "palm-away");
  away.setAttribute("role", "status");
  const missing = element("ul", "palm-missing");
  missing.setAttribute("aria-label", "Missing");
  const empty = element("p", "palm-empty");
  const table = createTable(store, { logId: `${id}-log` });
  const scroller = element("div", "palm-scroll", table.node);
  const why = createWhy(store);
  const chosen = createChosen(store);
  const details = createTabs(id, store, {
    output: ["Output", createLogView(store, `${id}-log`)],
    load: ["Load", createCharts(store)],
    topology: ["Topology", createTopology(store)],
    events: ["Events", createEvents(store)],
  });
  const lower = element("div", "palm-details", chosen.node, why.node, details.node);
  const panel = element("section", "palm-panel", head.node, away, missing, empty, scroller, lower);
  root.append(panel);
  let pending = false;

  function draw() {
    pending = false;
    const { state } = store;
    const any = state.components.length > 0;
    panel.setAttribute("aria-label", `palm cluster ${state.cluster}`);
    setClass(panel, "palm-frozen", !store.isLive);
    head.update();
    away.hidden = !state.away || !state.live || store.lost;
    setText(away, away.hidden ? "" : AWAY);
    missing.hidden = !state.missing.length;
    missing.replaceChildren(...configuration(state).map(missingLine));
    empty.hidden = any;
    sayEmpty(empty, state);
    scroller.hidden = lower.hidden = !any;
    if (!any) return;
    table.update();
    chosen.update();
    why.update(trouble(store));
    details.update();
  }

  // What comes in one message is drawn once, and no more often than the screen is.
  function later() {
    if (pending) return;
    pending = true;
    requestAnimationFrame(draw);
  }

  const unsubscribe = store.subscribe((what) => {
    if (what === "log") details.update("output");
    else later();
  });
  const unwatch = watchTheme(later);
  const giveKeys = keepKeys(panel);
  const timer = setInterval(() => {
    store.look();
    table.tick();
    head.update();
  }, 1000);
  draw();

  return {
    destroy() {
      clearInterval(timer);
      unwatch();
      giveKeys();
      unsubscribe();
      details.close();
      panel.remove();
    },
  };
}

function createHead(store) {
  const name = element("strong");
  const dot = element("span", "palm-dot");
  dot.setAttribute("aria-hidden", "true");
  const words = element("span");
  words.setAttribute("role", "status");
  const badge = element("span", "palm-state palm-summary", dot, words);
  const age = element("span", "palm-age");
  return {
    node: element("header", "palm-head", element("span", "palm-title", "Cluster ", name), badge, age),
    update() {
      const [state, text] = store.state.known ? summary(store.state) : ["starting", "connecting"];
      setText(name, store.state.cluster);
      badge.dataset.state = state;
      setText(words, text);
      setText(age, liveness(store));
    },
  };
}

function liveness(store) {
  const { state } = store;
  if (store.isLive) return "live";
  if (state.live && state.away && !store.lost) return `the registry does not answer since ${clock(state.away)}`;
  const when = clock(state.time);
  if (store.lost) return `no news since ${when}`;
  return state.note ? `as of ${when}, ${state.note}` : `as of ${when}`;
}

function missingLine({ text, why }) {
  return element("li", "", element("strong", "", text), why ? `: ${why}` : "");
}

function sayEmpty(node, state) {
  if (node.hidden || node.dataset.known === String(state.known)) return;
  node.dataset.known = String(state.known);
  if (!state.known) node.replaceChildren("Waiting for the registry ...");
  else node.replaceChildren("Nothing runs yet. Start a master: ", element("code", "", "%palm master --name foo"));
}

// The process that needs to be explained: the chosen one, or the worst of the chosen component.
function trouble(store) {
  const found = processNamed(store.state, store.current ?? "");
  if (found) return isInTrouble(found.process) || isWellAgain(found.process) ? found : null;
  const component = store.state.components.find((c) => c.name === store.current);
  const process = component?.processes.find(isInTrouble) ?? component?.processes.find(isWellAgain);
  return process ? { component, process } : null;
}

// One line of what does not change often.
function createChosen(store) {
  const title = element("strong");
  const facts = element("span", "palm-chosen-facts");
  const node = element("div", "palm-chosen", title, facts);
  return {
    node,
    update() {
      const name = store.current;
      const found = processNamed(store.state, name ?? "");
      const component = found?.component ?? store.state.components.find((c) => c.name === name);
      setText(title, name ?? "");
      if (!component) return;
      const parts = [component.role];
      if (component.master) parts.push(`of ${component.master}`);
      if (found?.process.pid) parts.push(`pid ${found.process.pid}`);
      if (found?.process.node) parts.push(`node ${found.process.node}`);
      if (component.kernel) parts.push("in a kernel");
      if (component.functions.length) parts.push(`serves ${component.functions.join(", ")}`);
      setText(facts, parts.join(" \u00b7 "));
    },
  };
}

function createTabs(id, store, views) {
  const names = Object.keys(views);
  store.tab ??= "output";
  const list = element("div", "palm-tabs");
  list.setAttribute("role", "tablist");
  list.setAttribute("aria-label", "Details");
  const tabs = {};
  const panes = {};
  for (const [name, [text, view]] of Object.entries(views)) {
    const tab = button("palm-tab", "", () => choose(name), text);
    Object.assign(tab, { id: `${id}-tab-${name}` });
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", `${id}-pane-${name}`);
    const pane = element("div", "palm-pane", view.node);
    pane.id = `${id}-pane-${name}`;
    pane.setAttribute("role", "tabpanel");
    pane.setAttribute("aria-labelledby", tab.id);
    tabs[name] = tab;
    panes[name] = pane;
    list.append(tab);
  }
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    choose(names[(names.indexOf(store.tab) + step + names.length) % names.length]);
    tabs[store.tab].focus();
  });

  function choose(name) {
    store.tab = name;
    update();
  }

  // Only what is in view is drawn.
  function update(only) {
    for (const name of names) {
      const on = name === store.tab;
      setAttribute(tabs[name], "aria-selected", String(on));
      tabs[name].tabIndex = on ? 0 : -1;
      panes[name].hidden = !on;
    }
    if (only && only !== store.tab) return;
    const view = views[store.tab][1];
    (view.draw ?? view.update)();
  }

  const close = () => names.forEach((name) => views[name][1].close?.());
  return { node: element("div", "", list, ...Object.values(panes)), update, close };
}

// ---- asking.js

// What an action would do to messages that wait or are under way: such actions are asked about first.


const MASTERS = ["master", "hub"];
const VERB = { stop: "Stop", restart: "Restart", scale: "Scale" };

// What an action means, if it is worth a question: {text, yes, no}; null if it is not.
function question(state, action) {
  const component = state.components.find((each) => each.name === action.component);
  const text = component ? consequence(state, component, action) : "";
  if (!text) return null;
  const yes = `${VERB[action.do]} ${component.name}`;
  return { text, yes, no: "Leave it" };
}

function consequence(state, component, action) {
  const ends = action.do === "stop" || (action.do === "scale" && action.replicas < 1);
  if (MASTERS.includes(component.role)) return ofMaster(state, component, action, ends);
  if (component.role === "worker") return ends ? ofLastWorkers(state, component) : "";
  const open = openAt(state, component);
  if (!ends || !open) return "";
  return `${messages(open)} on the way through ${component.name}: those that it is not back for within half a minute fail.`;
}

function ofMaster(state, component, action, ends) {
  const open = openAt(state, component);
  if (!open) return "";
  const said = `${messages(open)} waiting or under way at ${component.name}.`;
  if (ends) return `${said} Their clients keep them, and wait until it is started again.`;
  return action.do === "restart" ? `${said} Their clients send them again to the new one; some may run twice.` : "";
}

// Who is the last to work for a master leaves its messages waiting.
function ofLastWorkers(state, component) {
  const master = state.components.find((each) => each.name === component.master);
  const open = master ? openAt(state, master) : 0;
  if (!open) return "";
  const others = state.components.filter(
    (each) => each.role === "worker" && each.master === master.name && each.name !== component.name && each.ready > 0,
  );
  if (others.length) return "";
  return `${messages(open)} waiting or under way at ${master.name}, and nobody else works for it: they wait until there are workers again.`;
}

function openAt(state, component) {
  const samples = component.processes.map((each) => state.samples.get(each.name)).filter(Boolean);
  return total(samples.map((each) => measures(each).queue)) ?? 0;
}

function messages(count) {
  return count === 1 ? "1 message is" : `${grouped(count)} messages are`;
}

// ---- log.js

// The output of a component or a process: a run of lines without a hole, up to the newest, or up to
// where its reader stopped to follow. Earlier lines are fetched as they are scrolled to. Where more
// came than could be shown, what is before the hole is let go, and fetched likewise: nothing is lost.


const PAGE = 500; // lines that are fetched at once, at first
const LARGEST = 2000; // and after twice as many each time, for who scrolls on and on
const MOST = 20000; // lines that are held
const MARGIN = 0.001; // seconds: times are rounded on their way

class Log {
  // ask(action) promises a page of lines; follow(selection or null) says whose output is to come.
  constructor({ ask, follow, changed }) {
    this.ask = ask;
    this.follow = follow;
    this.changed = changed;
    this.selection = null;
    this.stream = "";
    this.find = "";
    this.reset();
  }

  reset() {
    this.turn = (this.turn ?? 0) + 1; // answers to what was asked before are not for us
    this.lines = [];
    this.begun = []; // lines that have not ended, after the others
    this.first = 0; // number of the first line, so that a line keeps its own as others come before
    this.reader = new LineReader();
    this.size = PAGE; // of the page before
    this.before = ""; // where the page before begins; "": not known
    this.more = false; // whether there are earlier lines
    this.skipped = 0; // bytes that were left out since the lines that are shown
    this.following = true;
    this.live = false; // whether new output comes
    this.fresh = 0; // lines that came since the reader stopped to follow
    this.busy = false;
    this.error = null;
  }

  get count() {
    return this.lines.length + this.begun.length;
  }

  // The line of a number, from `first` on; undefined beyond both ends.
  at(number) {
    const i = number - this.first;
    return i < this.lines.length ? this.lines[i] : this.begun[i - this.lines.length];
  }

  // Show the newest output of a selection, {component} or {component, name}; null: of nothing.
  async open(selection) {
    this.selection = selection;
    this.reset();
    this.follow(null);
    if (selection) await this.newest();
    else this.changed();
  }

  // Whoever could not be asked before can be now.
  catchUp() {
    if (!this.selection) return;
    if (!this.live && this.following) this.open(this.selection);
    else if (this.error) {
      this.error = null;
      this.changed();
    }
  }

  filter(stream, find) {
    if (stream === this.stream && find === this.find) return Promise.resolve();
    this.stream = stream;
    this.find = find;
    return this.open(this.selection);
  }

  // Look at the newest lines again, and follow.
  latest() {
    if (this.live) {
      this.following = true;
      this.fresh = 0;
      this.changed();
      return Promise.resolve();
    }
    return this.open(this.selection);
  }

  async newest() {
    const page = await this.fetch({ lines: PAGE });
    if (!page) return;
    const newest = new Map(page.records.map((r) => [`${r.instance}/${r.stream}`, r]));
    for (const record of newest.values()) this.reader.resume(record);
    this.begun = this.reader.unfinished();
    const places = new Set(this.begun.map(placeOf));
    this.lines = page.records.map(lineOf).filter((line) => !places.has(placeOf(line)));
    this.place(page);
    this.live = true;
    this.follow({ ...this.selection, since: page.cursor });
    this.changed();
  }

  place(page) {
    this.more = Boolean(page.more);
    this.before = page.first ?? "";
  }

  async fetch(what) {
    const { turn } = this;
    this.busy = true;
    this.error = null;
    this.changed();
    const action = { do: "output", ...this.selection, ...what };
    if (this.stream) action.stream = this.stream;
    if (this.find) action.grep = this.find;
    try {
      const page = await this.ask(action);
      return turn === this.turn ? page : null;
    } catch (error) {
      if (turn === this.turn) this.error = error;
      return null;
    } finally {
      if (turn === this.turn) {
        this.busy = false;
        this.changed();
      }
    }
  }

  // Fetch lines before the first one; says how many came.
  async older() {
    if (this.busy || !this.more) return 0;
    const lines = this.size;
    this.size = Math.min(2 * lines, LARGEST);
    if (this.before) return this.prepend(await this.fetch({ lines, before: this.before }));
    // Before a hole: those up to the time of the first line, without those that are here.
    const head = this.at(this.first);
    const until = head ? head.time + MARGIN : undefined;
    let page = await this.fetch({ lines, until });
    while (page) {
      const earlier = page.records.filter((record) => this.isEarlier(record));
      if (earlier.length || !page.more || !page.first) {
        return this.prepend({ ...page, records: earlier });
      }
      page = await this.fetch({ lines, before: page.first });
    }
    return 0;
  }

  isEarlier(record) {
    const same = (line) => line.instance === record.instance && line.stream === record.stream;
    const known = this.lines.find(same) ?? this.begun.find(same);
    if (known) return record.offset < known.offset;
    return !this.count || record.time <= this.at(this.first).time;
  }

  prepend(page) {
    if (!page) return 0;
    const found = page.records.map(lineOf);
    this.lines = [...found, ...this.lines];
    this.first -= found.length;
    this.place(page);
    this.skipped = 0;
    this.changed();
    return found.length;
  }

  // Take what was written since.
  take(records) {
    if (!this.live || !this.selection) return;
    const found = records
      .filter((record) => this.isWanted(record))
      .flatMap((record) => this.reader.read(record))
      .filter((line) => this.isFound(line));
    this.begun = this.reader.unfinished().filter((line) => this.isFound(line));
    this.lines.push(...found);
    if (!this.following) this.fresh += found.length;
    if (this.lines.length > MOST) this.shorten();
    this.changed();
  }

  isFound(line) {
    return !this.find || line.text.includes(this.find);
  }

  isWanted(record) {
    const { component, name } = this.selection;
    if (record.component !== component || (name && record.name !== name)) return false;
    return !this.stream || record.stream === this.stream;
  }

  // So many bytes were left out.
  skip(size) {
    if (!this.live) return;
    if (!this.following) {
      this.rest();
      return;
    }
    this.first += this.lines.length;
    this.lines = [];
    this.begun = [];
    this.before = "";
    this.more = true;
    this.skipped += size;
    this.changed();
  }

  // Who reads further up keeps what is there; nothing more comes until they look at the end again.
  rest() {
    this.live = false;
    this.follow(null);
    this.changed();
  }

  shorten() {
    if (!this.following) {
      this.rest();
      return;
    }
    const gone = this.lines.length - MOST / 2;
    this.lines = this.lines.slice(gone);
    this.first += gone;
    this.before = "";
    this.more = true;
  }

  pause() {
    if (!this.following) return;
    this.following = false;
    this.fresh = 0;
    this.changed();
  }
}

function placeOf({ instance, stream, offset }) {
  return `${instance}/${stream}/${offset}`;
}

// ---- store.js

// What the views of one panel share: the state, the output, what is chosen, what is under way.


const SILENCE = 7000; // milliseconds without a word after which nobody seems to be there
const DOING = { stop: "Stopping", start: "Starting", restart: "Restarting", scale: "Scaling" };

class Store {
  // Who may not act (`mayAct`) is offered no buttons for it.
  constructor(transport, { now = () => performance.now(), mayAct = true } = {}) {
    this.transport = transport;
    this.mayAct = mayAct;
    this.now = now;
    this.state = createState();
    this.heard = this.at = now(); // of the last word; when the state's time was true
    this.lost = false;
    this.asleep = false;
    this.selected = null; // by the reader
    this.shown = undefined; // whose output is open
    this.folded = new Map();
    this.pending = new Map(); // component -> what is under way, in words
    this.notes = new Map(); // component -> {text, hint} of what failed
    this.questions = new Map(); // component -> {action, text, yes, no} of what is asked about first
    this.listeners = new Set();
    this.log = new Log({
      ask: (action) => transport.request(action),
      follow: (selection) => transport.select(selection),
      changed: () => this.tell("log"),
    });
    this.unsubscribe = transport.subscribe({
      frames: (frames) => this.takeFrames(frames),
      link: (link) => this.takeLink(link),
    });
  }

  // Curves begin with what was kept; without it, they grow from here.
  async fetchHistory() {
    try {
      this.takeFrames([{ topic: "metrics", data: await this.transport.request({ do: "history" }) }]);
    } catch (error) {
      console.debug("no earlier samples:", error.message);
    }
  }

  // Nobody looks any more; or somebody does again.
  sleep() {
    this.asleep = true;
    this.shown = undefined;
    this.log.open(null);
  }

  wake() {
    this.asleep = false;
    if (this.state.known && this.shown === undefined) this.show();
    this.fetchHistory();
  }

  subscribe(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  tell(what) {
    for (const listener of this.listeners) listener(what);
  }

  close() {
    this.unsubscribe();
    this.transport.select(null);
  }

  // Seconds since the epoch, there.
  get time() {
    return this.state.time + (this.isLive ? (this.now() - this.at) / 1000 : 0);
  }

  get isLive() {
    return this.state.live && !this.lost && !this.state.away;
  }

  takeLink({ live, note = "", time, away = 0 }) {
    const { state } = this;
    const back = state.away && !away && live;
    const changed = state.live !== live || state.note !== note || state.away !== away || this.lost;
    Object.assign(state, { live, note, away });
    this.lost = false;
    this.heard = this.now();
    if (time && !away) {
      state.time = time;
      this.at = this.heard;
    }
    if (back) this.catchUp();
    if (changed) this.tell("status");
  }

  // The registry is back: what could not be had meanwhile can.
  catchUp() {
    this.log.catchUp();
    this.fetchHistory();
  }

  takeFrames(frames) {
    const told = new Set();
    const before = this.state.time;
    for (const frame of frames) {
      if (frame.topic === "output") this.log.take(frame.data);
      else if (frame.topic === "skipped") this.takeSkipped(frame.data);
      else applyFrame(this.state, frame);
      told.add(frame.topic);
    }
    this.heard = this.now();
    if (this.state.time !== before) this.at = this.heard;
    if (told.has("status")) this.show();
    for (const what of told) if (what !== "output" && what !== "skipped") this.tell(what);
  }

  takeSkipped({ topic, size }) {
    if (topic === "output") this.log.skip(size ?? 0);
  }

  // Called every second: whether anybody is there.
  look() {
    const silent = this.state.live && this.now() - this.heard > SILENCE;
    if (silent === this.lost) return;
    this.lost = silent;
    this.tell("status");
  }

  // ---- what is chosen

  get current() {
    return chosen(this.state, this.selected);
  }

  select(name) {
    this.selected = name;
    this.show();
    this.tell("status");
  }

  fold(component, closed) {
    this.folded.set(component, closed);
    this.tell("status");
  }

  // Open the output of what is chosen, if it is not.
  show() {
    if (this.asleep) return;
    const selection = this.selection();
    const key = JSON.stringify(selection);
    if (key === this.shown) return;
    this.shown = key;
    this.log.open(selection);
  }

  selection() {
    const name = this.current;
    const found = name === null ? null : processNamed(this.state, name);
    if (found && !found.component.own) return null;
    if (found && found.component.processes.length > 1) {
      return { component: found.component.name, name };
    }
    return name === null ? null : { component: found?.component.name ?? name };
  }

  // ---- what is done

  // Do it; or ask about it first, if that is worth a question and nobody has said that they are sure.
  async act(action, { sure = false } = {}) {
    const { component } = action;
    if (this.pending.has(component)) return;
    this.questions.delete(component);
    const asked = sure ? null : question(this.state, action);
    if (asked) {
      this.questions.set(component, { action, ...asked });
      this.tell("status");
      return;
    }
    this.pending.set(component, `${DOING[action.do]} ...`);
    this.notes.delete(component);
    this.tell("status");
    const waits = () => {
      this.pending.set(component, "The kernel is busy with a cell; this is done once it listens.");
      this.tell("status");
    };
    try {
      await this.transport.request(action, { waits });
    } catch (error) {
      this.notes.set(component, { text: `${error.message}`, hint: error.hint ?? "" });
    }
    this.pending.delete(component);
    this.tell("status");
  }

  // The answer to what was asked about a component.
  answer(component, sure) {
    const asked = this.questions.get(component);
    this.questions.delete(component);
    if (asked && sure) this.act(asked.action, { sure });
    else this.tell("status");
  }

  dismiss(component) {
    this.notes.delete(component);
    this.tell("status");
  }
}

// ---- transport.js

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

class Failure extends Error {
  constructor(text, hint = "") {
    super(text);
    this.hint = hint;
  }
}

const PATIENCE = 1500; // milliseconds after which it is worth saying that nobody has listened yet

// Over the messages of a widget's model. The kernel sends {type: "frames", time, live, note, away} with the
// frames as JSON in a buffer, {type: "accepted", request} and {type: "reply", request} likewise.
class ModelTransport {
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
class PageTransport {
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

// ---- main.js

// palm's panel: one ES module, drawn by anywidget in a notebook and loaded by the registry's page.
//
//   createPanel(root, new Store(transport)) -> {destroy()}     a cluster
//   createJobCard(root) -> {update(job), destroy()}            a job
//
// The default export connects them to a widget's model. Its trait "kind" says which, "snapshot" what
// there is to begin with; see ModelTransport for its messages.
//
// Whatever a component says is text: it reaches the page through text nodes only.


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
