// The Markdown that models write, as DOM nodes. No HTML passes, no images are fetched, links show where they go.

const LONGEST = 20_000; // characters of a paragraph; what is longer is shown as it is
const DEEPEST = 6;
const FENCE = /^\s{0,3}(```+|~~~+)\s*([\w+#.-]*)/;
const HEADING = /^\s{0,3}(#{1,6})\s+(.+?)\s*#*$/;
const RULE = /^\s{0,3}([-*_])(?:\s*\1){2,}\s*$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const QUOTE = /^\s{0,3}>\s?/;
const TABLE_LINE = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;

const INLINE = new RegExp(
  [
    String.raw`\\(?<escaped>[\\\x60*_{}\[\]()#+\-.!|>~])`,
    String.raw`(?<ticks>\x60+)(?<code>[^\x60](?:[\s\S]{0,2000}?[^\x60])?)\k<ticks>(?!\x60)`,
    String.raw`!?\[(?<words>[^\]\n]*)\]\(\s*<?(?<href>[^\s<>()]*(?:\([^\s()]*\)[^\s<>()]*)*)>?(?:\s+"[^"\n]*")?\s*\)`,
    String.raw`<(?<bare>https?:\/\/[^\s<>]+)>`,
    String.raw`\*\*(?=\S)(?<bold>[\s\S]*?\S)\*\*(?!\*)`,
    String.raw`\*(?=[^\s*])(?<slanted>[\s\S]*?[^\s*])\*(?!\*)`,
    String.raw`(?<!\w)_(?=[^\s_])(?<leaning>[\s\S]*?[^\s_])_(?!\w)`,
    String.raw`~~(?=\S)(?<struck>[\s\S]*?\S)~~`,
    String.raw`(?<line>\n)`,
  ].join("|"),
  "g",
);

function make(tag, ...children) {
  const node = document.createElement(tag);
  node.append(...children);
  return node;
}

// The link, or its words alone where the address is not one that we let out.
function link(words, href) {
  let target = null;
  try {
    target = new URL(href);
  } catch {
    // relative or broken: nowhere to go
  }
  if (!target || !["https:", "http:", "mailto:"].includes(target.protocol)) return [words || href];
  const anchor = make("a", words || href);
  anchor.href = target.href;
  anchor.rel = "noopener noreferrer nofollow ugc";
  anchor.target = "_blank";
  const place = target.protocol === "mailto:" ? target.pathname : target.host;
  if (words.trim() === place) return [anchor];
  const host = make("span", ` (${place})`);
  host.className = "host";
  return [anchor, host];
}

function inline(text, depth = 0) {
  if (depth > DEEPEST || text.length > LONGEST) return [text];
  const nodes = [];
  let last = 0;
  for (const match of text.matchAll(INLINE)) {
    const { escaped, code, words, href, bare, bold, slanted, leaning, struck, line } = match.groups;
    nodes.push(text.slice(last, match.index));
    last = match.index + match[0].length;
    if (escaped !== undefined) nodes.push(escaped);
    else if (code !== undefined) nodes.push(make("code", code.trim() || code));
    else if (href !== undefined) nodes.push(...link(words, href));
    else if (bare !== undefined) nodes.push(...link("", bare));
    else if (bold !== undefined) nodes.push(make("strong", ...inline(bold, depth + 1)));
    else if (struck !== undefined) nodes.push(make("s", ...inline(struck, depth + 1)));
    else if (line !== undefined) nodes.push(make("br"));
    else nodes.push(make("em", ...inline(slanted ?? leaning, depth + 1)));
  }
  nodes.push(text.slice(last));
  return nodes;
}

const indentOf = (line) => line.match(/^\s*/)[0].replaceAll("\t", "    ").length;

function fence(lines, at) {
  const [, mark] = lines[at].match(FENCE);
  let end = at + 1;
  while (end < lines.length && !lines[end].trimStart().startsWith(mark)) end += 1;
  const code = make("pre", make("code", lines.slice(at + 1, end).join("\n")));
  code.tabIndex = 0; // what scrolls must be reachable by keys
  return [code, end + 1];
}

function list(lines, at, depth) {
  const [, , mark] = lines[at].match(ITEM);
  const ordered = /\d/.test(mark);
  const node = make(ordered ? "ol" : "ul");
  if (ordered && Number.parseInt(mark, 10) !== 1) node.start = Number.parseInt(mark, 10);
  const base = indentOf(lines[at]);
  let next = at;
  while (next < lines.length) {
    const item = lines[next].match(ITEM);
    const deeper = indentOf(lines[next]) - base;
    if (!item || deeper > 1 || deeper < 0 || /\d/.test(item[2]) !== ordered) break;
    const own = [item[3]];
    next += 1;
    while (next < lines.length) {
      const line = lines[next];
      const blank = !line.trim();
      const following = lines[next + 1] ?? "";
      if (blank && !(following.trim() && (indentOf(following) > base || ITEM.test(following)))) break;
      if (!blank && indentOf(line) <= base && (ITEM.test(line) || lines[next - 1].trim() === "")) break;
      if (!blank && indentOf(line) <= base && (FENCE.test(line) || HEADING.test(line))) break;
      own.push(line.slice(Math.min(indentOf(line), base + mark.length + 1)));
      next += 1;
    }
    const inside = blocks(own, depth + 1);
    const tight = inside[0]?.tagName === "P" ? [...inside[0].childNodes, ...inside.slice(1)] : inside;
    node.append(make("li", ...tight));
  }
  return [node, next];
}

function cells(line) {
  const inner = line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "");
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function table(lines, at) {
  const row = (line, tag) => make("tr", ...cells(line).map((cell) => make(tag, ...inline(cell))));
  const head = make("thead", row(lines[at], "th"));
  for (const cell of head.querySelectorAll("th")) cell.scope = "col";
  const body = make("tbody");
  let next = at + 2;
  while (next < lines.length && lines[next].includes("|")) body.append(row(lines[next++], "td"));
  const box = make("div", make("table", head, body));
  box.className = "wide-table";
  box.tabIndex = 0;
  return [box, next];
}

// A head, and below it a line of dashes with as many cells.
function isTable(lines, at) {
  const below = lines[at + 1] ?? "";
  return lines[at].includes("|") && TABLE_LINE.test(below) && cells(lines[at]).length === cells(below).length;
}

function begins(lines, at) {
  const line = lines[at];
  return FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) || ITEM.test(line);
}

function blocks(lines, depth) {
  const nodes = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    let node = null;
    if (!line.trim()) at += 1;
    else if (FENCE.test(line)) [node, at] = fence(lines, at);
    else if (RULE.test(line)) [node, at] = [make("hr"), at + 1];
    else if (HEADING.test(line)) {
      const [, level, words] = line.match(HEADING);
      [node, at] = [make(`h${Math.min(level.length + 2, 6)}`, ...inline(words)), at + 1];
    } else if (QUOTE.test(line) && depth < DEEPEST) {
      const from = at;
      while (at < lines.length && QUOTE.test(lines[at])) at += 1;
      node = make("blockquote", ...blocks(lines.slice(from, at).map((one) => one.replace(QUOTE, "")), depth + 1));
    } else if (ITEM.test(line) && depth < DEEPEST) [node, at] = list(lines, at, depth);
    else if (isTable(lines, at)) [node, at] = table(lines, at);
    else {
      const from = at++;
      while (at < lines.length && lines[at].trim() && !begins(lines, at)) at += 1;
      node = make("p", ...inline(lines.slice(from, at).map((one) => one.trim()).join("\n")));
    }
    if (node) nodes.push(node);
  }
  return nodes;
}

export function markdown(text) {
  const fragment = document.createDocumentFragment();
  fragment.append(...blocks(text.replace(/\r\n?/g, "\n").split("\n"), 0));
  return fragment;
}
