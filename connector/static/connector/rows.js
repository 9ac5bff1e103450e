// Adds rows to lists of rows in a form without reloading. Without it there is one empty row, and another after each save.
(function () {
  "use strict";
  function grow(list) {
    var button = list.querySelector("[data-add]");
    var total = list.querySelector("input[name$=TOTAL_FORMS]");
    var rows = list.querySelectorAll("[data-row]");
    if (!rows.length) return;
    var pattern = rows[rows.length - 1].cloneNode(true);
    button.hidden = false;
    button.addEventListener("click", function () {
      var number = total.value;
      var fresh = pattern.cloneNode(true);
      fresh.querySelectorAll("[name], [id], [for], [aria-describedby]").forEach(function (part) {
        ["name", "id", "for", "aria-describedby"].forEach(function (kind) {
          var value = part.getAttribute(kind);
          if (value) part.setAttribute(kind, value.replace(/-\d+-/g, "-" + number + "-"));
        });
        if (part.matches("input, textarea")) part.value = "";
      });
      fresh.open = true;
      total.value = String(Number(number) + 1);
      button.parentNode.before(fresh);
      fresh.querySelector("input").focus();
    });
  }
  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll("[data-rows]").forEach(grow);
  });
})();
