// What a page of the book must not do, checked inside the browser. Each function returns a list of sentences, one a fault.

const BACKSLASH_TEX = /\\[()[\]]|\$\$|\\(?:begin|end|frac|math[a-z]+|[a-z]*text[a-z]*|sum|log|operatorname|left|right|alpha|beta|theta|tau|lambda|E|R|KL)\b/;
const NO_PROSE = "script, style, noscript, template, code, pre, textarea, mjx-container, mjx-assistive-mml, svg, title";

function excerpt(node) {
  const text = (node.textContent || "").replace(/\s+/g, " ").trim().slice(0, 60);
  const classes = typeof node.className === "string" ? node.className.trim().split(/\s+/).join(".") : "";
  return `<${node.tagName.toLowerCase()}${classes && "." + classes}> ${text}`;
}

function* ancestors(node) {
  for (let one = node; one instanceof Element; one = one.parentElement) yield one;
}

// Whether a reader can see the box of an element: laid out, not hidden, not clipped away for screen readers only.
function visible(element) {
  if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true, contentVisibilityAuto: true })) return false;
  const box = element.getBoundingClientRect();
  return box.width > 1 && box.height > 1 && box.right > 0 && box.bottom + window.scrollY > 0;
}

function* texts(skipped) {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, holder = node.parentElement;
    if (node.data.trim() && holder && !(skipped && holder.closest(skipped)) && visible(holder)) yield node;
  }
}

function overflow() {
  const faults = [], wide = document.documentElement.clientWidth + 1;
  const scrolled = document.scrollingElement.scrollWidth;
  if (scrolled > wide) faults.push(`the body is ${scrolled} px wide on a page of ${wide - 1}`);
  for (const element of document.body.querySelectorAll("*")) {
    const box = element.getBoundingClientRect();
    if (box.right <= wide || box.left >= wide || !visible(element)) continue;
    const outer = [...ancestors(element.parentElement)];
    const contained = outer.some((one) => /auto|scroll|hidden|clip/.test(getComputedStyle(one).overflowX) && one !== document.body);
    if (!contained) faults.push(`${excerpt(element)} ends at ${Math.round(box.right)} px`);
  }
  return faults.slice(0, 5);
}

// Content that is cut off and cannot be scrolled to.
function cutOff() {
  const faults = [];
  for (const element of document.querySelectorAll("article.bd-article *")) {
    const { overflowX, display } = getComputedStyle(element);
    if (!/hidden|clip/.test(overflowX) || display === "inline" || !visible(element)) continue;
    if (element.closest("mjx-container, svg") || element.scrollWidth <= element.clientWidth + 6) continue;
    faults.push(`${excerpt(element)} hides ${element.scrollWidth - element.clientWidth} px`);
  }
  return faults;
}

function rawTex() {
  const faults = [];
  for (const node of texts(NO_PROSE)) {
    if (BACKSLASH_TEX.test(node.data)) faults.push(`raw TeX: ${node.data.trim().slice(0, 80)}`);
  }
  for (const one of document.querySelectorAll("mjx-merror, [data-mjx-error]")) faults.push(`MathJax refuses ${excerpt(one)}`);
  return faults;
}

function alternativeText() {
  const faults = [];
  for (const image of document.querySelectorAll("img, svg[role=img], [role=img]")) {
    if (image.closest("mjx-container") || image.getAttribute("aria-hidden") === "true" || image.closest("[aria-hidden=true]")) continue;
    const text = (image.getAttribute("alt") || image.getAttribute("aria-label") || "").trim();
    const path = /\.(png|jpe?g|svg|gif)$|_images\//i.test(text);
    if (!text || path) faults.push(`no alternative text: ${image.getAttribute("src") || excerpt(image)}`);
  }
  return faults;
}

// Pictures that do not load, and pictures so shrunk that 9 pt in them is under `least` px; `dpi`: of the book's figures.
function pictures({ least = 7, dpi = 160 } = {}) {
  const faults = [];
  for (const image of document.querySelectorAll("img")) {
    if (!visible(image)) continue;
    if (!image.complete || !image.naturalWidth) faults.push(`picture not shown: ${image.getAttribute("src")}`);
    const letter = ((9 / 72) * dpi * image.getBoundingClientRect().width) / image.naturalWidth;
    if (letter < least) faults.push(`letters of 9 pt are ${letter.toFixed(1)} px high: ${image.getAttribute("alt")}`);
  }
  return faults;
}

function parseColour(text) {
  const canvas = parseColour.canvas || (parseColour.canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true }));
  const known = parseColour.known || (parseColour.known = new Map());
  if (!known.has(text)) {
    const plain = text.match(/^rgba?\(([\d.]+), ([\d.]+), ([\d.]+)(?:, ([\d.]+))?\)$/);
    if (plain) known.set(text, [+plain[1], +plain[2], +plain[3], plain[4] === undefined ? 1 : +plain[4]]);
    else {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = text;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      known.set(text, [r, g, b, a / 255]);
    }
  }
  return known.get(text);
}

function over(upper, lower) {
  const [alpha, beta] = [upper[3], lower[3]], total = alpha + beta * (1 - alpha);
  if (!total) return [0, 0, 0, 0];
  return [0, 1, 2].map((k) => (upper[k] * alpha + lower[k] * beta * (1 - alpha)) / total).concat(total);
}

// The colour that lies under an element: its grounds and its ancestors', the nearest on top, down to the canvas.
function ground(element) {
  let found = [0, 0, 0, 0];
  for (const one of ancestors(element)) {
    found = over(found, parseColour(getComputedStyle(one).backgroundColor));
    if (found[3] > 0.999) return found;
  }
  const canvas = getComputedStyle(document.documentElement).colorScheme.includes("dark") ? [18, 18, 18, 1] : [255, 255, 255, 1];
  return over(found, canvas);
}

function luminance(colour) {
  const [r, g, b] = colour.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrastRatio(one, other) {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

// WCAG 2.2, 1.4.3: 4.5 to 1, or 3 to 1 for letters from 24 px, or 18.66 px where bold. Opacity counts as thinner ink.
function contrast() {
  const faults = new Map(), judged = new Map();
  const holders = new Set([...texts("script, style, noscript, template, title")].map((node) => node.parentElement));
  for (const formula of document.querySelectorAll("mjx-container")) if (visible(formula)) holders.add(formula);
  for (const element of holders) {
    if (element.closest("[disabled], [aria-disabled=true]")) continue;
    const style = getComputedStyle(element), size = parseFloat(style.fontSize);
    const ink = parseColour(element instanceof SVGElement ? style.fill : style.color).slice(), under = ground(element);
    for (const one of ancestors(element)) ink[3] *= parseFloat(getComputedStyle(one).opacity);
    const key = [ink, under, size, style.fontWeight].join();
    if (!judged.has(key)) {
      const needed = size >= 24 || (size >= 18.66 && parseInt(style.fontWeight) >= 700) ? 3 : 4.5;
      const ratio = contrastRatio(over(ink, under), under);
      judged.set(key, ratio < needed - 0.005 ? `${ratio.toFixed(2)} of ${needed}` : "");
    }
    if (judged.get(key) && !faults.has(key)) {
      faults.set(key, `contrast ${judged.get(key)}: ${excerpt(element)} [${ink.map(Math.round)} on ${under.map(Math.round)}]`);
    }
  }
  return [...faults.values()];
}

// Links into the book, for the caller to look up on disk; links within the page must hit something.
function anchors() {
  const faults = [];
  for (const link of document.querySelectorAll("a[href^='#']")) {
    const name = decodeURIComponent(link.getAttribute("href").slice(1));
    if (name && !document.getElementById(name) && !document.getElementsByName(name).length) faults.push(`no place #${name} on the page`);
  }
  return [...new Set(faults)];
}
