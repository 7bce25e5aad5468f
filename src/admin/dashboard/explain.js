// What would happen to a request: a form, and its answer step by step.

/** `ask(path)` answers what the API does. */
export function explainBy(ask) {
  const form = document.getElementById("explain-form");
  const [verdict, place] = ["verdict", "explanation"].map(id => document.getElementById(id));
  const asked = async () => {
    const fields = new FormData(form);
    const query = new URLSearchParams({ url: fields.get("url").trim(), method: fields.get("method").trim() });
    if (fields.get("ip").trim()) query.set("ip", fields.get("ip").trim());
    if (fields.get("sni").trim()) query.set("sni", fields.get("sni").trim());
    try {
      const explanation = await ask(`/v1/explain?${query}`);
      verdict.replaceChildren(...judged(explanation));
      place.replaceChildren(...written(explanation));
    } catch (error) {
      verdict.replaceChildren(`It cannot be told: ${error.message}`);
      place.replaceChildren();
    }
  };
  form.addEventListener("submit", event => {
    event.preventDefault();
    asked();
  });
  return (url, method, ip, sni) => {
    for (const [name, value] of Object.entries({ url, method, ip, sni })) form.elements[name].value = value ?? "";
    document.getElementById("explain").scrollIntoView();
    form.elements.url.focus({ preventScroll: true });
    asked();
  };
}

function judged({ served, waits, refused, method, url }) {
  const said = served ? (waits ? "Waits, then served" : "Served")
    : refused?.likely ? "Most likely refused" : refused ? "Refused" : "Not served";
  const word = element("span", "state", said);
  word.dataset.state = served ? (waits ? "warn" : "good") : "bad";
  return [word, ` ${method} ${url}`];
}

function written({ waits, refused, instead, steps, now }) {
  const all = element("ol", "steps");
  all.append(...steps.map(step));
  if (now) all.append(standing(now));
  const why = refused ? `${refused.status ? `${refused.status}, ` : ""}${refused.reason}: ${refused.detail}`
    : instead ? `${instead.status}: ${instead.detail}`
    : waits;
  return why ? [element("p", "why", why), all] : [all];
}

/** How the pool stands. */
function standing({ state, running, concurrency, waiting, queue_length, why, upstreams = [] }) {
  const item = document.createElement("li");
  const chosen = element("p", "chosen");
  const full = `${state}: ${running} of ${concurrency} run, ${waiting} of ${queue_length} wait`;
  chosen.append(element("span", "name", "now"), element("b", "", full));
  item.append(chosen, element("p", "quiet", `because ${why}`));
  if (upstreams.length) {
    const list = document.createElement("ul");
    list.append(...upstreams.slice(0, LOST_SHOWN).map(upstream => {
      const words = [upstream.state];
      if (upstream.backup) words.push("a backup");
      if (upstream.failing) words.push("fails");
      if (!upstream.takes) words.push("would not be asked");
      const item = element("li", "", `${upstream.name}: ${words.join(", ")}`);
      const last = upstream.last_failure;
      if (last) item.append(element("span", "quiet", ` (${last.time}: ${last.what})`));
      return item;
    }));
    const more = upstreams.length - LOST_SHOWN;
    if (more > 0) list.append(element("li", "quiet", `and ${more} more`));
    item.append(list);
  }
  return item;
}

function step(step) {
  const item = document.createElement("li");
  const chosen = element("p", "chosen");
  chosen.append(element("span", "name", step.step), element("b", "", step.chosen ?? "none"));
  if (step.line) chosen.append(element("span", "quiet line", `line ${step.line}`));
  item.append(chosen, element("p", "quiet", `because ${step.why}`));
  if (step.lost?.length) {
    const details = document.createElement("details");
    details.append(element("summary", "", `${step.lost.length} not chosen`));
    const list = document.createElement("ul");
    list.append(...step.lost.slice(0, LOST_SHOWN).map(lost => {
      const item = element("li", "", lost.candidate);
      item.append(element("span", "quiet", ` (line ${lost.line}): ${lost.why}`));
      return item;
    }));
    const more = step.lost.length - LOST_SHOWN;
    if (more > 0) list.append(element("li", "quiet", `and ${more} more`));
    details.append(list);
    item.append(details);
  }
  return item;
}

const LOST_SHOWN = 100;

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}
