// A link that `portunus dashboard` printed has a code behind its #, which works once. It leaves the address at once, so that
// neither the history of the browser nor a copied address keeps it.

function byCode() {
  const code = location.hash.slice(1);
  if (!code) return;
  history.replaceState(null, "", location.pathname);
  const form = document.getElementById("by-code");
  form.elements.code.value = code;
  remember();
  form.submit();
}

/** Where nobody logs in, nobody logs out either. */
function remember() {
  localStorage.setItem("portunus-logs-out", "yes");
}

document.getElementById("by-token").addEventListener("submit", remember);
// Who opens the link in a page that is here already only changes what stands behind the #.
addEventListener("hashchange", byCode);
byCode();
