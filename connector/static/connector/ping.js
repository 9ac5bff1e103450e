// Ask for the ping's result until it is there. The server renders it; this only swaps it in.
(function () {
  "use strict";
  function follow(box) {
    if (box.dataset.running !== "1") return;
    window.setTimeout(function () {
      fetch(box.dataset.url, { credentials: "same-origin" })
        .then(function (answer) { return answer.ok ? answer.text() : null; })
        .then(function (text) {
          if (text === null) { follow(box); return; }
          var holder = document.createElement("template");
          holder.innerHTML = text;
          var fresh = holder.content.firstElementChild;
          // The same as before: leave it, somebody may be about to press a button in it.
          if (fresh.dataset.mark && fresh.dataset.mark === box.dataset.mark) { follow(box); return; }
          box.replaceWith(fresh);
          follow(fresh);
        })
        .catch(function () { follow(box); });
    }, 1000);
  }
  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll("[data-ping]").forEach(follow);
    document.querySelectorAll("[data-print]").forEach(function (button) {
      button.addEventListener("click", function () { window.open(button.dataset.print, "_blank", "noopener"); });
    });
  });
})();
