// A link that `portunus dashboard` printed has a code behind its #, which works once. It leaves the address at once, so that
// neither the history of the browser nor a copied address keeps it.

const code = location.hash.slice(1);
if (code) {
  history.replaceState(null, "", location.pathname);
  const form = document.getElementById("by-code");
  form.elements.code.value = code;
  remember();
  form.submit();
}

// Where nobody logs in, nobody logs out either.
document.getElementById("by-token").addEventListener("submit", remember);

function remember() {
  localStorage.setItem("portunus-logs-out", "yes");
}
