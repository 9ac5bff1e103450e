// Ask for the moving part of the dashboard every ten seconds while somebody looks. The server renders it.
(function () {
  "use strict";
  function follow(box) {
    window.setTimeout(function () {
      if (document.hidden || box.contains(document.activeElement)) { follow(box); return; }
      fetch(box.dataset.live, { credentials: "same-origin", headers: { "X-Requested-With": "fetch" } })
        .then(function (answer) { return answer.ok && !answer.redirected ? answer.text() : null; })
        .then(function (text) { if (text !== null) box.innerHTML = text; follow(box); })
        .catch(function () { follow(box); });
    }, 10000);
  }
  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll("[data-live]").forEach(follow);
  });
})();
