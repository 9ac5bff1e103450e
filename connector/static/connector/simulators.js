// Ask every two seconds what the simulators saw, while somebody looks. The server renders it; this only swaps it in.
(function () {
  "use strict";
  var EVERY_MS = 2000;
  var paused = false;
  function swap(box, text) {
    var holder = document.createElement("template");
    holder.innerHTML = text;
    var fresh = holder.content.querySelector("[data-calls]");
    if (!fresh) return box; // another page, such as the login
    box.replaceWith(fresh);
    return fresh;
  }
  function follow(box) {
    window.setTimeout(function () {
      if (paused || document.hidden) { follow(box); return; }
      fetch(box.dataset.url, { credentials: "same-origin" })
        .then(function (answer) { return answer.ok ? answer.text() : ""; })
        .then(function (text) { follow(swap(box, text)); })
        .catch(function () { follow(box); });
    }, EVERY_MS);
  }
  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll("[data-calls]").forEach(follow);
    document.querySelectorAll("[data-pause]").forEach(function (button) {
      button.hidden = false;
      button.addEventListener("click", function () {
        paused = !paused;
        button.setAttribute("aria-pressed", paused ? "true" : "false");
      });
    });
  });
})();
