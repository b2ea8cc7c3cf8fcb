"use strict";
// The report works without this script; it adds the theme switch, sorting and filtering.
(function () {
  const root = document.documentElement;
  root.classList.add("scripted");

  // ---- theme: the reader's system decides until the switch is used (or the address ends in #theme=dark)
  const themeSwitch = document.getElementById("theme-switch");
  const systemDark = window.matchMedia("(prefers-color-scheme: dark)");
  function stored(value) {
    try {
      if (value === undefined) { return window.localStorage.getItem("grn-cotrain-theme"); }
      window.localStorage.setItem("grn-cotrain-theme", value);
    } catch (error) { /* storage may be forbidden for local files */ }
    return null;
  }
  function isDark() {
    return root.dataset.theme ? root.dataset.theme === "dark" : systemDark.matches;
  }
  function showTheme() {
    themeSwitch.textContent = isDark() ? "Light theme" : "Dark theme";
  }
  const asked = /#theme=(dark|light)$/.exec(window.location.hash);
  const before = asked ? asked[1] : stored();
  if (before === "dark" || before === "light") { root.dataset.theme = before; }
  themeSwitch.hidden = false;
  themeSwitch.addEventListener("click", function () {
    root.dataset.theme = isDark() ? "light" : "dark";
    stored(root.dataset.theme);
    showTheme();
  });
  systemDark.addEventListener("change", showTheme);
  showTheme();

  // ---- sorting
  const announcer = document.getElementById("announcer");
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  function keyOf(row, column, numeric) {
    const cell = row.cells[column];
    if (!numeric) { return cell.textContent.trim(); }
    return cell.dataset.value === undefined ? NaN : Number(cell.dataset.value);
  }
  function compare(a, b, numeric, sign) {
    if (!numeric) { return sign * collator.compare(a, b); }
    if (Number.isNaN(a) || Number.isNaN(b)) { return Number.isNaN(a) - Number.isNaN(b); } // missing values last
    return sign * (a - b);
  }
  function sortBy(table, header) {
    const numeric = header.classList.contains("numeric");
    const column = header.cellIndex;
    const present = header.getAttribute("aria-sort");
    const first = numeric ? "descending" : "ascending";
    const other = numeric ? "ascending" : "descending";
    const direction = present === first ? other : first;
    const sign = direction === "ascending" ? 1 : -1;
    const body = table.tBodies[0];
    const rows = Array.from(body.rows, function (row) { return { row: row, key: keyOf(row, column, numeric) }; });
    rows.sort(function (a, b) { return compare(a.key, b.key, numeric, sign); });
    body.append(...rows.map(function (entry) { return entry.row; }));
    for (const one of table.tHead.rows[0].cells) { one.removeAttribute("aria-sort"); }
    header.setAttribute("aria-sort", direction);
    announcer.textContent = "Sorted by " + header.textContent.trim() + ", " + direction;
  }
  for (const button of document.querySelectorAll("button.sort")) {
    button.disabled = false;
    button.addEventListener("click", function () { sortBy(button.closest("table"), button.closest("th")); });
  }

  // ---- filtering
  for (const input of document.querySelectorAll("input[data-table]")) {
    const table = document.getElementById(input.dataset.table);
    input.closest(".filter").hidden = false;
    input.addEventListener("input", function () {
      const wanted = input.value.trim().toLowerCase();
      let shown = 0;
      for (const row of table.tBodies[0].rows) {
        row.hidden = wanted !== "" && !row.textContent.toLowerCase().includes(wanted);
        shown += row.hidden ? 0 : 1;
      }
      announcer.textContent = shown + " rows shown";
    });
  }

  // ---- a table that is wider than its place says so
  if (window.ResizeObserver) {
    const observer = new ResizeObserver(function (entries) {
      for (const entry of entries) {
        entry.target.previousElementSibling.hidden = entry.target.scrollWidth <= entry.target.clientWidth + 1;
      }
    });
    for (const scroll of document.querySelectorAll(".table > .scroll")) { observer.observe(scroll); }
  }

  // ---- printing shows what is folded away
  const opened = [];
  window.addEventListener("beforeprint", function () {
    for (const details of document.querySelectorAll("details:not([open])")) { details.open = true; opened.push(details); }
  });
  window.addEventListener("afterprint", function () {
    while (opened.length) { opened.pop().open = false; }
  });
})();
