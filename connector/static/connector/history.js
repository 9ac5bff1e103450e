// The shipment history: addresses without empty filters, and how far a download is. Everything works without this file, too.
(function () {
  "use strict";
  // Ask how far the files are; the server renders it. A file may take a moment to begin.
  function follow(box, patience) {
    fetch(box.dataset.url, { credentials: "same-origin" })
      .then(function (answer) { return answer.ok ? answer.text() : null; })
      .then(function (text) {
        if (text === null) return;
        var holder = document.createElement("template");
        holder.innerHTML = text;
        var running = holder.content.querySelector("[data-running]");
        box.replaceChildren(holder.content);
        if (running || patience > 0) window.setTimeout(function () { follow(box, patience - 1); }, 1000);
      })
      .catch(function () { if (patience > 0) window.setTimeout(function () { follow(box, patience - 1); }, 3000); });
  }
  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll("form[data-tidy]").forEach(function (form) {
      form.addEventListener("submit", function () {
        form.querySelectorAll("input, select").forEach(function (field) { if (!field.value) field.disabled = true; });
        window.setTimeout(function () { form.querySelectorAll(":disabled").forEach(function (field) { field.disabled = false; }); }, 0);
      });
    });
    document.querySelectorAll("[data-exports]").forEach(function (details) {
      var box = details.querySelector("[data-url]");
      details.addEventListener("toggle", function () { if (details.open) follow(box, 0); });
      details.querySelector("form").addEventListener("submit", function () {
        window.setTimeout(function () { follow(box, 5); }, 300);
      });
    });
  });
})();
