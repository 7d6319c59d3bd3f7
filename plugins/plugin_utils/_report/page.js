// Copyright: fediops.mastodon contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
// Comfort only: without this the page shows everything in one language and folds by itself.
(() => {
  "use strict";
  const root = document.documentElement;
  const all = (selector) => Array.from(document.querySelectorAll(selector));
  const byId = (id) => document.getElementById(id);
  const store = {
    get(key) { try { return localStorage.getItem(key); } catch { return null; } },
    set(key, value) { try { localStorage.setItem(key, value); } catch { /* a page from a file may have no storage */ } },
  };
  root.classList.add("scripted");

  const rows = all("tr[data-host]");
  const sections = all("details.host");
  const status = byId("shown");
  let verdict = "";
  let name = "";

  function filter() {
    let shown = 0;
    for (const list of [sections, rows]) {
      shown = 0;
      for (const element of list) {
        const fits = (!verdict || element.dataset.state === verdict) && element.dataset.host.includes(name);
        if (element.hidden === fits) element.hidden = !fits;
        if (fits) shown += 1;
      }
    }
    status.textContent = status.dataset[root.lang].replace("{n}", shown).replace("{of}", rows.length);
  }

  function language(code) {
    root.lang = code;
    for (const button of all("[data-language]")) button.setAttribute("aria-pressed", String(button.dataset.language === code));
    for (const element of all("[data-aria-label-en]")) element.setAttribute("aria-label", element.getAttribute(`data-aria-label-${code}`));
    document.title = `${document.querySelector("h1").innerText}: ${document.querySelector(".big").innerText}`;
    filter();
  }

  for (const button of all("[data-language]")) {
    button.addEventListener("click", () => language(button.dataset.language));
  }
  for (const button of all("[data-verdict]")) {
    button.addEventListener("click", () => {
      verdict = button.dataset.verdict;
      for (const other of all("[data-verdict]")) other.setAttribute("aria-pressed", String(other === button));
      filter();
    });
  }
  byId("filter-name").addEventListener("input", (event) => {
    name = event.target.value.trim().toLowerCase();
    filter();
  });

  const theme = store.get("mastodon-report-theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  byId("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    store.set("mastodon-report-theme", root.dataset.theme);
  });

  const fold = (open) => { for (const section of sections) if (!section.hidden) section.open = open; };
  byId("open-all").addEventListener("click", () => fold(true));
  byId("close-all").addEventListener("click", () => fold(false));

  function reveal() {
    const target = location.hash.length > 1 && byId(location.hash.slice(1));
    const section = target && target.closest("details.host");
    if (!section) return;
    section.hidden = false;
    section.open = true;
    section.scrollIntoView();
    target.focus({ preventScroll: true });
  }
  addEventListener("hashchange", reveal);
  // A second click on the same link changes no hash.
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element && event.target.closest('a[href^="#h"]');
    if (link && link.hash === location.hash) reveal();
  });
  // Browsers without ::details-content print a folded section folded.
  addEventListener("beforeprint", () => fold(true));

  filter();
  reveal();
})();
