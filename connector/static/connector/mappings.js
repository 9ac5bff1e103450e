// The mapping editor without reloading: show only the fields of the chosen kind, add rows. The server does the rest.
(function () {
  "use strict";
  function follow(slot) {
    var mode = slot.querySelector("[data-part=mode]");
    function show() {
      ["source", "constant", "default"].forEach(function (part) {
        var holder = slot.querySelector("[data-holds=" + part + "]");
        holder.hidden = part === "default" ? mode.value === "constant" : part !== mode.value;
      });
    }
    mode.addEventListener("change", show);
    show();
  }
  function rows(card) {
    var button = card.querySelector("[data-add]");
    var total = card.querySelector("input[name$=TOTAL_FORMS]");
    var body = card.querySelector("tbody");
    if (!body.lastElementChild) return;
    var pattern = body.lastElementChild.cloneNode(true);
    pattern.querySelectorAll(".mlc-error").forEach(function (told) { told.remove(); });
    button.hidden = false;
    button.addEventListener("click", function () {
      var fresh = pattern.cloneNode(true);
      fresh.querySelectorAll("input").forEach(function (input) {
        input.name = input.name.replace(/-\d+-/, "-" + total.value + "-");
        input.value = input.type === "checkbox" ? "on" : "";
        input.checked = false;
      });
      total.value = String(Number(total.value) + 1);
      body.appendChild(fresh);
      fresh.querySelector("input").focus();
    });
  }
  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll("[data-slot]").forEach(follow);
    document.querySelectorAll("[data-rows]").forEach(rows);
    var result = document.querySelector("[data-result='1']");
    if (result) result.scrollIntoView();
  });
})();
