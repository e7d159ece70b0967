// What is to be seen on a report's page, for the proof: as JSON.
(() => {
  const all = (where, of = document) => [...of.querySelectorAll(where)];
  const text = (node) => node.textContent.trim().replace(/\s+/g, " ");
  const width = document.documentElement.clientWidth;
  // What scrolls by itself may be wider, and what is not shown has no place.
  const shown = all("body *").filter((it) => !it.closest(".sc, defs, title, desc, pattern, svg svg, [hidden]") && it.getClientRects().length);
  const outside = shown.filter((it) => {
    const { left, right } = it.getBoundingClientRect();
    return left < -0.5 || right > width + 0.5;
  });
  const cut = all(".facts b").filter((it) => it.getBoundingClientRect().right > it.closest("div").getBoundingClientRect().right);
  const sections = all("section[id]").map((section) => [section.id, {
    tables: all("table", section).map((table) => all("tr", table).map((row) => all("th,td", row).map(text))),
    charts: all(".ch", section).map((chart) => all("text", chart).map(text)),
    notes: all("h2, p, li, figcaption, dt, dd, .c, .k", section).map(text),
  }]);
  return {
    overflow: document.scrollingElement.scrollWidth - width,
    outside: [...outside, ...cut].map((it) => it.outerHTML.slice(0, 120)),
    title: document.title,
    tag: text(document.querySelector(".tag")),
    headline: text(document.querySelector("h1")),
    facts: Object.fromEntries(all(".facts div").map((it) => [text(it.querySelector("dt")), [text(it.querySelector("b")), text(it.querySelector("dd"))]])),
    headings: all("h2").filter((it) => it.getClientRects().length).map(text),
    sections: Object.fromEntries(sections),
    paper: getComputedStyle(document.body).backgroundColor,
    settings: all("#settings details dd").filter((it) => it.checkVisibility({ contentVisibilityAuto: true })).length,
    tables: all(".tbl").filter((it) => it.getClientRects().length).length,
  };
})()
