import assert from "node:assert/strict";
import test from "node:test";
import { lastVersion, plain, runs, visible } from "../src/ansi.js";

test("colours are kept as names, with the text that they are of", () => {
  assert.deepEqual(runs("a\x1b[31;1mred\x1b[0m b"), [
    { text: "a", style: null },
    { text: "red", style: { fg: 1, bold: true } },
    { text: " b", style: null },
  ]);
  assert.deepEqual(runs("\x1b[97;104mx\x1b[39my"), [
    { text: "x", style: { fg: 15, bg: 12 } },
    { text: "y", style: { bg: 12 } },
  ]);
});

test("any of 256 colours, and true colours, are numbers and nothing else", () => {
  assert.equal(runs("\x1b[38;5;208mx")[0].style.fg, "rgb(255, 135, 0)");
  assert.equal(runs("\x1b[38;5;3mx")[0].style.fg, 3);
  assert.equal(runs("\x1b[48;2;1;2;3mx")[0].style.bg, "rgb(1, 2, 3)");
  assert.equal(runs("\x1b[38;2;999;0;0mx")[0].style, null);
  assert.deepEqual(runs("\x1b[38;5mx"), [{ text: "x", style: null }]);
});

test("what moves a cursor, names a window or makes a link is taken out", () => {
  assert.equal(plain("\x1b[2J\x1b[3;4Ha\x1b]0;title\x07b\x1b]8;;http://x\x1b\\c\x1b(Bd"), "abcd");
  assert.equal(plain("a\x9b31mb\x9d0;t\x9cc"), "abc");
});

test("a sequence without an end hides nothing but itself", () => {
  assert.equal(plain("a\x1b[31"), "a\u241b[31");
  assert.equal(plain("a\x1b"), "a\u241b");
});

test("controls and what turns the direction of text are shown", () => {
  assert.equal(visible("a\x00\x08\x7f\x85b"), "a\u2400\u2408\u2421\u27e885\u27e9b");
  assert.equal(visible("x\u202egnp.exe"), "x\u27e8U+202E\u27e9gnp.exe");
  assert.equal(visible("\u2066\u200b\ufeff"), "\u27e8U+2066\u27e9\u27e8U+200B\u27e9\u27e8U+FEFF\u27e9");
  assert.equal(visible("\ttab stays"), "\ttab stays");
});

test("of a progress bar its last version is shown", () => {
  assert.equal(lastVersion("1%\r2%\r100%\r"), "100%");
  assert.equal(plain("\x1b[32m1%\r\x1b[32m2%"), "2%");
});
