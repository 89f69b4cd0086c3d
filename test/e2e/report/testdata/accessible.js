// What a page is held against, rule by rule, over its live document and the
// styles as they came out. The expression's value is the list of faults: each
// has the rule, the element (as a path that a person can find), and why.
//
// Contrast is held against 4.5:1 whatever the size of the text, which is more
// than WCAG 2.2 AA asks; the borders of controls and the mark of what has the
// focus against 3:1.
(() => {
  const faults = [];
  const where = (e) => {
    if (!e || !e.localName) return "page";
    const name = e.localName + (e.id ? "#" + e.id : "") + [...e.classList].map((c) => "." + c).join("");
    return e.parentElement && e.parentElement.localName !== "html" && e.localName !== "html" ? where(e.parentElement) + ">" + name : name;
  };
  const all = (selector, of = document) => [...of.querySelectorAll(selector)];
  const elements = all("*");
  const fault = (rule, e, why) => faults.push({ rule, at: where(e), element: elements.indexOf(e), why });
  const text = (e) => (e.innerText ?? e.textContent ?? "").trim();
  const ownText = (e) => [...e.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data).join("").trim();

  const shown = (e) => {
    if (!e.checkVisibility({ visibilityProperty: true, contentVisibilityAuto: false, opacityProperty: false })) return false;
    const r = e.getBoundingClientRect();
    return r.width > 0 && r.height > 0;
  };
  // On the screen, and not clipped to a pixel for screen readers.
  const seen = (e) => {
    if (!shown(e)) return false;
    const r = e.getBoundingClientRect();
    return r.width > 1 && r.height > 1 && r.right + scrollX > 0 && r.bottom + scrollY > 0;
  };

  const visible = all("body *").filter(seen);
  const texts = visible.filter(ownText);

  // Colours: [r, g, b, a], 0–255 and 0–1.
  const colour = (s) => {
    const m = s.match(/^rgba?\(([\d.]+)[, ]+([\d.]+)[, ]+([\d.]+)(?:[,/ ]+([\d.]+))?\)$/);
    return m ? [+m[1], +m[2], +m[3], m[4] === undefined ? 1 : +m[4]] : null;
  };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const luminance = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  const canvas = () => {
    const probe = document.createElement("i");
    probe.style.cssText = "color: canvas";
    document.body.append(probe);
    const c = colour(getComputedStyle(probe).color);
    probe.remove();
    return c;
  };
  const page = canvas();
  // What lies beneath an element's text; null where a picture does.
  const grounds = new Map();
  const ground = (e) => {
    if (!grounds.has(e)) grounds.set(e, beneath(e));
    return grounds.get(e);
  };
  const beneath = (e) => {
    const layers = [];
    for (let at = e; at; at = at.parentElement) {
      const style = getComputedStyle(at);
      if (style.backgroundImage !== "none") return null;
      const c = at instanceof SVGElement ? null : colour(style.backgroundColor);
      if (c && c[3] > 0) layers.push(c);
      if (c && c[3] === 1) break;
    }
    return layers.reverse().reduce((under, top) => over(top, under), page);
  };
  // Text in a drawing lies on the last shape that was drawn there before it.
  const drawnOn = (e) => {
    const r = e.getBoundingClientRect();
    const [x, y] = [r.left + r.width / 2, r.top + r.height / 2];
    let fill = null;
    for (const shape of all("rect, path, circle", e.ownerSVGElement)) {
      if (!(shape.compareDocumentPosition(e) & Node.DOCUMENT_POSITION_FOLLOWING)) continue;
      const s = shape.getBoundingClientRect();
      if (s.left <= x && x <= s.right && s.top <= y && y <= s.bottom) fill = colour(getComputedStyle(shape).fill) || fill;
    }
    return fill || ground(e.ownerSVGElement.parentElement);
  };
  const opacity = (e) => {
    let o = 1;
    for (let at = e; at; at = at.parentElement) o *= +getComputedStyle(at).opacity;
    return o;
  };
  const legible = (e, said, what) => {
    const under = e.ownerSVGElement ? drawnOn(e) : ground(e);
    const c = colour(said);
    if (!under || !c) return fault("contrast", e, `${what} can not be judged: ${said} on a picture or in an unknown notation`);
    const ratio = contrast(over([c[0], c[1], c[2], c[3] * opacity(e)], under), under);
    if (ratio < 4.5) fault("contrast", e, `${what} has ${ratio.toFixed(2)}:1, ${said} on ${under.slice(0, 3).map(Math.round)}`);
  };

  const rules = {
    language: () => {
      if (!document.documentElement.lang) fault("language", document.documentElement, "the page has no language");
    },
    title: () => {
      if (!document.title.trim()) fault("title", document.documentElement, "the page has no title");
    },
    zoom: () => {
      const m = document.querySelector("meta[name=viewport]");
      if (!m) return fault("zoom", document.documentElement, "no viewport is declared");
      if (/user-scalable\s*=\s*(no|0)|maximum-scale\s*=\s*[01](\.|,|$)/.test(m.content)) fault("zoom", m, "the page can not be enlarged");
    },
    ids: () => {
      const known = new Set();
      for (const e of all("[id]")) {
        if (known.has(e.id)) fault("ids", e, `the id ${e.id} is there twice`);
        known.add(e.id);
      }
      for (const e of all("[aria-labelledby], [aria-describedby], [aria-controls], [for], [headers], a[href^='#']")) {
        for (const name of ["aria-labelledby", "aria-describedby", "aria-controls", "for", "headers", "href"]) {
          const value = e.getAttribute(name);
          if (!value || (name === "href" && !value.startsWith("#"))) continue;
          for (const id of value.replace(/^#/, "").split(/\s+/)) {
            if (!known.has(decodeURIComponent(id))) fault("ids", e, `${name} names ${id}, which is not there`);
          }
        }
      }
    },
    landmarks: () => {
      const land = "main, nav, header, footer, aside, [role=main], [role=navigation], [role=banner], [role=contentinfo], [role=search], [role=complementary]";
      const mains = all("main, [role=main]");
      if (mains.length !== 1) fault("landmarks", mains[1] || document.body, `${mains.length} main landmarks`);
      for (const e of all("nav, aside")) {
        if (!e.getAttribute("aria-label") && !e.getAttribute("aria-labelledby")) fault("landmarks", e, `a ${e.localName} without a name`);
      }
      for (const e of texts) {
        if (!e.closest(land) && !e.closest("script, style, .skip")) fault("landmarks", e, "text outside every landmark");
      }
    },
    headings: () => {
      let last = 0;
      let tops = 0;
      for (const h of all("h1, h2, h3, h4, h5, h6").filter((h) => h.checkVisibility())) {
        const level = +h.localName[1];
        if (level === 1 && ++tops > 1) fault("headings", h, "a second h1");
        if (level > last + 1) fault("headings", h, `h${level} follows h${last}`);
        if (!text(h)) fault("headings", h, "an empty heading");
        last = level;
      }
      if (!tops) fault("headings", document.documentElement, "no h1");
      for (const s of all("section")) {
        if (!s.getAttribute("aria-labelledby") && !s.getAttribute("aria-label")) fault("headings", s, "a section without a name");
      }
    },
    skip: () => {
      const first = all("a[href], button, input, select, summary, [tabindex]").find((e) => e.tabIndex >= 0);
      const target = first && first.localName === "a" && document.getElementById((first.getAttribute("href") || "").slice(1));
      if (!target || !target.matches("main, [role=main]")) return fault("skip", first || document.documentElement, "what gets the focus first does not lead to the main part");
      if (!target.hasAttribute("tabindex")) fault("skip", first, "the main part can not take the focus");
    },
    tables: () => {
      for (const t of all("table").filter(shown)) {
        if (!t.caption || !t.caption.textContent.trim()) fault("tables", t, "a table without a caption");
        for (const h of all("th", t)) {
          if (!h.scope) fault("tables", h, "a header without a scope");
          if (!h.textContent.trim()) fault("tables", h, "an empty header");
        }
        const columns = all("thead th", t).length;
        for (const row of all("tbody tr", t)) {
          const cells = [...row.cells].reduce((n, c) => n + c.colSpan, 0);
          if (columns && cells !== columns) fault("tables", row, `${cells} cells under ${columns} headers`);
          if (!columns && !row.querySelector("th")) fault("tables", row, "a row without any header");
        }
        if (getComputedStyle(t).display !== "table" && t.getAttribute("role") !== "table") fault("tables", t, "drawn as no table, and without the role of one");
      }
    },
    labels: () => {
      for (const e of all("input, select, textarea")) {
        const labelled = [...(e.labels || [])].some((l) => text(l) || l.textContent.trim()) || e.getAttribute("aria-label") || e.getAttribute("aria-labelledby");
        if (!labelled) fault("labels", e, "a control without a label");
      }
      for (const e of all("a[href], button, summary")) {
        if (!e.textContent.trim() && !e.getAttribute("aria-label")) fault("labels", e, `a ${e.localName} that says nothing`);
      }
      for (const e of all("img, svg, [role=img]")) {
        const named = e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.getAttribute("alt") !== null;
        if (e.getAttribute("aria-hidden") !== "true" && !(named && (e.localName === "img" || e.getAttribute("role") === "img"))) fault("labels", e, "a picture without a text");
      }
    },
    contrast: () => {
      for (const e of visible) {
        if (e.matches("script, style, title, desc")) continue;
        const style = getComputedStyle(e);
        if (ownText(e)) legible(e, e.ownerSVGElement ? style.fill : style.color, `"${ownText(e).slice(0, 30)}"`);
        for (const pseudo of ["::before", "::after"]) {
          const p = getComputedStyle(e, pseudo);
          if (!["none", "normal", '""'].includes(p.content)) legible(e, p.color, `${pseudo} ${p.content.slice(0, 30)}`);
        }
        if (e.placeholder) legible(e, getComputedStyle(e, "::placeholder").color, "the placeholder");
        if (e.matches("input, select, textarea")) {
          const edge = colour(style.borderTopColor);
          const outside = ground(e.parentElement);
          if (!edge || !outside || style.borderTopStyle === "none" || contrast(over(edge, outside), outside) < 3) fault("contrast", e, "the control's edge can not be told from what is around it");
        }
      }
    },
    colouronly: () => {
      // What has a status says it in words, and no two statuses with the same.
      const said = new Map();
      for (const e of all("[data-status]")) {
        const words = e.textContent.trim().toLowerCase();
        const status = e.dataset.status;
        if (!words) fault("colouronly", e, `the status ${status} is told by colour alone`);
        else if (said.has(words) && said.get(words) !== status) fault("colouronly", e, `the statuses ${status} and ${said.get(words)} both say ${words}`);
        said.set(words, status);
      }
    },
    keyboard: () => {
      for (const e of all("[tabindex]")) {
        if (e.tabIndex > 0) fault("keyboard", e, "takes the focus out of order");
      }
      for (const e of all("[onclick]:not(a, button, input, summary), [role=button]:not(button)")) {
        if (e.tabIndex < 0) fault("keyboard", e, "can be clicked, but not reached with the keyboard");
      }
      for (const e of all("[aria-hidden=true]")) {
        for (const inside of all("a[href], button, input, select, summary, [tabindex]", e)) fault("keyboard", inside, "takes the focus, and is hidden from screen readers");
      }
      for (const e of visible) {
        if (e.scrollWidth > e.clientWidth && ["auto", "scroll"].includes(getComputedStyle(e).overflowX) && e.tabIndex < 0) fault("keyboard", e, "can not be scrolled with the keyboard");
      }
    },
    target: () => {
      for (const e of all("button, input, select, summary, nav a").filter(seen)) {
        const r = e.getBoundingClientRect();
        if (r.height < 24 || r.width < 24) fault("target", e, `${Math.round(r.width)} × ${Math.round(r.height)} pixels are too small to hit`);
      }
    },
    clipped: () => {
      for (const e of texts) {
        if (e.ownerSVGElement || e.scrollWidth <= e.clientWidth + 1) continue;
        if (["hidden", "clip"].includes(getComputedStyle(e).overflowX)) fault("clipped", e, "text is cut off");
      }
    },
    reflow: () => {
      const width = document.documentElement.clientWidth;
      if (document.documentElement.scrollWidth > width) fault("reflow", document.documentElement, `${document.documentElement.scrollWidth} pixels wide in a window of ${width}`);
      for (const e of texts) {
        if (e.getBoundingClientRect().right > width + 1 && !e.closest(".skip")) fault("reflow", e, "reaches out of the window");
      }
    },
  };
  for (const rule of Object.values(rules)) rule();
  return { rules: Object.keys(rules), faults };
})()
