// The page: asks for the last hour once, listens to what happens from then on, and puts each thing in its place.
//
// Hosts, paths and server names come from anybody. They are put as text, never as markup; the page's policy refuses markup made of
// texts besides (require-trusted-types-for).

import { Charts } from "./charts.js";
import { explainBy } from "./explain.js";
import { Table, drawShare, drawSpark } from "./tables.js";
import * as words from "./words.js";

const byId = id => document.getElementById(id);
const say = (id, text) => {
  const place = byId(id);
  if (place.textContent !== text) place.textContent = text;
};

/** What is asked again by itself. */
const CERTIFICATES_EVERY = 60_000;
const AGAIN_AFTER = 3_000;
/** So many refusals are shown. */
const REQUESTS_SHOWN = 100;
/** Days from which the end of a certificate is near, and from which it is very near. */
const [DAYS_NEAR, DAYS_VERY_NEAR] = [30, 7];

const state = { history: null, overview: null, filter: null };

class NotLoggedIn extends Error {}

async function ask(path) {
  const response = await fetch(path, { headers: { accept: "application/json" } });
  if (response.status === 401) {
    location.assign("/login");
    throw new NotLoggedIn("log in first");
  }
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error ?? response.statusText);
  return answer;
}

// The last hour.

const charts = new Charts();
const COLUMNS = ["number", "time", "seconds", "p50", "p99", "received", "sent", "handshakes", "connections", "running", "waiting"];

/** Adds a step to what is known, or says that some are missing. */
function append(history, last) {
  const newest = history.number.at(-1) ?? -1;
  if (last.number <= newest) return true;
  if (last.number !== newest + 1) return false;
  const steps = history.number.length;
  for (const name of COLUMNS) history[name].push(last[name]);
  for (const [name, column] of Object.entries(history.responses)) column.push(last.responses[name] ?? 0);
  for (const group of ["refused", "queues"]) {
    for (const name of Object.keys(last[group])) history[group][name] ??= new Array(steps).fill(0);
    for (const [name, column] of Object.entries(history[group])) column.push(last[group][name] ?? 0);
  }
  history.hour = last.hour;
  const old = history.time.findIndex(time => time > last.time - history.kept_seconds);
  const gone = Math.max(old, history.number.length - history.steps_max, 0);
  if (gone) {
    const all = [...COLUMNS.map(name => history[name]), ...["responses", "refused", "queues"].flatMap(group => Object.values(history[group]))];
    for (const column of all) column.splice(0, gone);
  }
  return true;
}

/** The sum of the steps of the last so many seconds. */
function since(history, column, seconds) {
  const from = (history.time.at(-1) ?? 0) - seconds;
  return column.reduce((all, value, index) => (history.time[index] > from ? all + value : all), 0);
}

// Figures.

function showFigures({ history, overview }) {
  const last = history.number.length - 1;
  const at = column => column[last] ?? 0;
  const seconds = history.seconds[last] || 1;
  const all = Object.values(history.responses);
  const sum = (columns, within) => columns.reduce((total, column) => total + since(history, column, within), 0);
  say("rate", words.rate(all.reduce((total, column) => total + at(column), 0) / seconds));
  say("rate-beside", `${words.short(sum(all, 3600))} in the hour`);
  say("p50", words.latency(history.p50[last]));
  say("p50-beside", `hour: ${words.latency(history.hour.p50)}`);
  say("p99", words.latency(history.p99[last]));
  say("p99-beside", `hour: ${words.latency(history.hour.p99)}`);
  const failed = sum([history.responses["5xx"]], 300);
  const answered = sum(all, 300);
  say("errors", answered ? words.percent(failed / answered) : words.NONE);
  say("errors-beside", `${words.short(failed)} in 5 min`);
  tint("errors", failed && failed / answered >= 0.05 ? "bad" : failed ? "warn" : "");
  const refused = Object.values(history.refused);
  say("refused", words.rate(refused.reduce((total, column) => total + at(column), 0) / seconds));
  say("refused-beside", `${words.short(sum(refused, 3600))} in the hour`);
  const waiting = overview.pools.reduce((total, pool) => total + pool.waiting, 0);
  const running = overview.pools.reduce((total, pool) => total + pool.running, 0);
  say("running", `${words.count(running)}, ${words.count(waiting)}`);
  const oldest = Math.max(0, ...overview.pools.map(pool => pool.oldest_wait_seconds ?? 0));
  say("running-beside", waiting ? `the longest for ${words.age(oldest)}` : "nobody waits");
  tint("running", overview.pools.some(pool => pool.queue_length && pool.waiting >= 0.9 * pool.queue_length) ? "warn" : "");
  const { open, limit } = overview.connections;
  say("connections", words.count(open));
  say("connections-beside", limit ? `of ${words.short(limit)}, ${words.percent(open / limit)}` : "no limit");
  tint("connections", limit && open >= 0.9 * limit ? "warn" : "");
}

function tint(id, how) {
  byId(id).dataset.state = how;
}

// The head.

function showHead(overview) {
  const faults = overview.checks.filter(check => check.fault);
  const ready = byId("ready");
  say("ready", overview.ready ? "Ready" : `Not ready: ${faults.map(check => check.fault).join("; ")}`);
  ready.dataset.state = overview.ready ? "good" : "bad";
  say("version", overview.version);
  say("uptime", words.age(overview.uptime_seconds));
  const { configuration } = overview;
  const refused = configuration.last_reload_taken ? "" : "; the last reload was refused";
  say("configuration", `${configuration.file}, taken ${words.time(configuration.taken_at)}${refused}`);
  byId("configuration").dataset.state = configuration.last_reload_taken ? "" : "bad";
  say("updated", `of ${words.time(overview.time)}`);
  document.title = overview.ready ? "Portunus" : "(!) Portunus";
}

// Tables.

const BLAME = { client: "client", upstream: "upstream", ourselves: "ourselves", shed: "on purpose" };

const reasons = new Table(byId("reasons"), [
  { head: "Reason", names: true, text: row => row.reason, click: row => open({ reason: row.reason }), says: row => `${row.reason}: show the requests` },
  { head: "Whose doing", wide: true, text: row => BLAME[row.blame] ?? row.blame },
  { head: "5 min", number: true, text: row => words.count(row.recent) },
  { head: "Hour", number: true, text: row => words.count(row.hour) },
  { head: "Over the hour", wide: true, draw: (cell, row) => drawSpark(cell, row.column, `${row.hour} in the hour`) },
], { key: row => row.reason, empty: "Nothing was refused in the last hour.", caption: "Refusals of the last hour by reason" });

function showReasons(history) {
  const rows = Object.entries(history.refused).map(([reason, column]) => ({
    reason,
    blame: history.reasons[reason],
    column: spread(history, column),
    recent: since(history, column, 300),
    hour: since(history, column, 3600),
  }));
  reasons.update(rows.filter(row => row.hour).sort((one, other) => other.hour - one.hour));
}

/** A column by minutes of the hour, those before the first step too. */
function spread(history, column) {
  const until = history.time.at(-1) ?? 0;
  const minutes = new Array(60).fill(0);
  column.forEach((value, index) => {
    const minute = 59 - Math.floor((until - history.time[index]) / 60);
    if (minute >= 0) minutes[minute] += value;
  });
  return minutes;
}

/** The highest of each minute. */
function highest(history, column) {
  const until = history.time.at(-1) ?? 0;
  const minutes = new Array(60).fill(0);
  column?.forEach((value, index) => {
    const minute = 59 - Math.floor((until - history.time[index]) / 60);
    if (minute >= 0) minutes[minute] = Math.max(minutes[minute], value);
  });
  return minutes;
}

const POOL_STATES = {
  Running: "good", Idle: "quiet", Starting: "warn", Recycling: "warn", Stopping: "warn", Stopped: "quiet", Disabled: "bad",
};

const pools = new Table(byId("pool-table"), [
  { head: "Pool", names: true, text: row => row.name },
  { head: "State", text: row => row.state, state: row => POOL_STATES[row.state] ?? "warn" },
  { head: "Running", number: true, draw: (cell, row) => drawShare(cell, row.running, row.concurrency) },
  { head: "Waiting", number: true, draw: (cell, row) => drawShare(cell, row.waiting, row.queue_length) },
  { head: "Oldest", number: true, text: row => (row.waiting ? words.age(row.oldest_wait_seconds) : words.NONE) },
  { head: "Queue, hour", wide: true, draw: (cell, row) => drawSpark(cell, row.queue, `${Math.max(...row.queue)} waited at most`) },
  { head: "Arrived", number: true, wide: true, text: row => words.short(row.arrived) },
  {
    head: "Refused", number: true, text: row => words.short(row.failed), click: row => open({ pool: row.name }),
    clicks: row => row.failed > 0, says: row => `${row.failed} refused by ${row.name}: show the requests`,
  },
], { key: row => row.name, empty: "There is no pool.", caption: "Pools, their slots and their queues" });

const UPSTREAM_STATES = { up: "good", warming: "good", ejected: "bad", down: "bad", trying: "warn", draining: "quiet" };

/** One that gets requests and fails them is not well, whatever its state: the last one of a pool is never ejected. */
const fails = row => row.failing && UPSTREAM_STATES[row.state] === "good";
const moodOf = row => (fails(row) ? "warn" : UPSTREAM_STATES[row.state] ?? "warn");
const lastFailure = row => (row.last_failure ? `${words.time(row.last_failure.time)} ${row.last_failure.what}` : words.NONE);

const upstreams = new Table(byId("upstream-table"), [
  { head: "Upstream", names: true, text: row => row.name },
  { head: "Pool", text: row => row.pool },
  { head: "State", text: row => row.state + (fails(row) ? ", fails" : "") + (row.backup ? ", backup" : ""), state: moodOf },
  { head: "Running", number: true, text: row => words.count(row.running) },
  { head: "Responses", number: true, text: row => words.short(row.responses) },
  { head: "of 5xx", number: true, text: row => words.short(row.errors) },
  { head: "Failures", number: true, text: row => words.short(row.failures) },
  { head: "Last failure", long: true, prose: true, text: lastFailure },
], { key: row => JSON.stringify([row.pool, row.name]), empty: "There is no upstream.", caption: "Upstreams, those that are not well first" });

const WORKER_STATES = { ready: "good", starting: "warn", suspended: "quiet", draining: "quiet", ending: "quiet" };

const workers = new Table(byId("worker-table"), [
  { head: "Pool", names: true, text: row => row.pool },
  { head: "Worker", number: true, text: row => words.count(row.number) },
  { head: "State", text: row => row.state, state: row => WORKER_STATES[row.state] ?? "warn" },
  { head: "PID", number: true, text: row => (row.pid ? String(row.pid) : words.NONE) },
  { head: "Age", number: true, text: row => words.age(row.age_seconds) },
  { head: "Requests", number: true, text: row => words.short(row.requests) },
  { head: "In flight", number: true, text: row => words.count(row.in_flight) },
  { head: "Memory", number: true, wide: true, text: row => words.bytes(row.memory_bytes ?? NaN) },
], { key: row => JSON.stringify([row.pool, row.number]), empty: "No worker runs.", caption: "Workers" });

function showPools({ history, overview }) {
  const total = counts => Object.values(counts).reduce((all, one) => all + one, 0);
  pools.update(overview.pools.map(pool => ({
    ...pool,
    failed: total(pool.refused_by_reason),
    queue: highest(history, history.queues[pool.name]),
  })));
  heading("pools-title", "Pools", overview.pools.length, overview.pools_in_all);
  const ups = overview.pools.flatMap(pool => (pool.upstreams ?? []).map(it => ({ ...it, pool: pool.name })));
  const order = { bad: 0, warn: 1, quiet: 2, good: 3 };
  ups.sort((one, other) => order[moodOf(one)] - order[moodOf(other)]);
  upstreams.update(ups);
  byId("upstreams").hidden = !ups.length;
  const all = overview.pools.flatMap(pool => (pool.workers ?? []).map(it => ({ ...it, pool: pool.name })));
  workers.update(all);
  byId("workers").hidden = !overview.pools.some(pool => pool.workers);
  byId("behind").hidden = byId("upstreams").hidden && byId("workers").hidden;
}

function heading(id, name, shown, all) {
  say(id, shown < all ? `${name} (${shown} of ${all})` : name);
}

const ofClass = name => row => (row.responses_by_class[name] ? words.short(row.responses_by_class[name]) : "0");

const bindings = new Table(byId("binding-table"), [
  { head: "Binding", names: true, text: row => row.binding },
  { head: "Site", text: row => row.site, click: row => open({ site: row.site }), says: row => `${row.site}: show what was refused of it` },
  { head: "Protocols", wide: true, text: row => row.protocols.join(", ") },
  { head: "Now, /s", number: true, text: row => words.rate(row.rate) },
  { head: "Responses", number: true, text: row => words.short(row.responses) },
  { head: "2xx", number: true, wide: true, text: ofClass("2xx") },
  { head: "3xx", number: true, wide: true, text: ofClass("3xx") },
  { head: "4xx", number: true, text: ofClass("4xx") },
  { head: "5xx", number: true, text: ofClass("5xx") },
  { head: "Received", number: true, wide: true, text: row => words.bytes(row.bytes_received) },
  { head: "Sent", number: true, wide: true, text: row => words.bytes(row.bytes_sent) },
  { head: "Pools", wide: true, text: row => [...new Set(row.routes.map(route => route.pool))].join(", ") },
], { key: row => row.binding, empty: "There is no binding.", caption: "Bindings, with what came of their requests since the start" });

const certificates = new Table(byId("certificate-table"), [
  { head: "Certificate", names: true, text: row => row.name, title: row => row.file },
  { head: "Days left", number: true, text: row => words.count(row.days_left) },
  { head: "State", text: row => endOf(row)[0], state: row => endOf(row)[1] },
  { head: "Until", text: row => (row.not_after ? words.date(row.not_after) : words.NONE) },
  { head: "Issuer", wide: true, long: true, text: row => row.issuer ?? words.NONE },
  { head: "Key", wide: true, text: row => row.key ?? words.NONE },
  { head: "Findings", wide: true, long: true, text: row => row.faults.map(fault => fault.message).join("; ") || "none" },
], { key: row => row.file, empty: "There is no certificate: nothing is served over https.", caption: "Certificates by days left" });

function endOf(row) {
  if (row.days_left === undefined) return ["unusable", "bad"];
  if (row.days_left < 0) return ["expired", "bad"];
  if (row.days_left < DAYS_VERY_NEAR) return ["ends very soon", "bad"];
  if (row.days_left < DAYS_NEAR) return ["ends soon", "warn"];
  return ["good", "good"];
}

async function showCertificates() {
  const { certificates: all } = await ask("/v1/certificates");
  const days = row => row.days_left ?? -Infinity;
  all.sort((one, other) => days(one) - days(other));
  certificates.update(all.slice(0, 200));
  heading("certificates-title", "Certificates, by days left", Math.min(all.length, 200), all.length);
  const used = all.filter(row => row.used_by.length);
  const next = used[0] ?? all[0];
  say("next-certificate", !next ? words.NONE : next.days_left === undefined ? "unusable" : `${words.count(next.days_left)} days`);
  say("next-certificate-beside", next ? next.name : "nothing is served over https");
  tint("next-certificate", next ? { bad: "bad", warn: "warn" }[endOf(next)[1]] ?? "" : "");
}

const failures = new Table(byId("failure-table"), [
  { head: "Reason", names: true, text: row => row.reason, click: row => open({ reason: row.reason }), says: row => `${row.reason}: show the handshakes` },
  { head: "Count", number: true, text: row => words.count(row.count) },
  { head: "Server name", text: row => row.sni ?? "(none)" },
  { head: "Client", text: row => row.client },
  { head: "Over", wide: true, text: row => row.transport },
  { head: "Last", number: true, text: row => words.time(row.last) },
  { head: "Detail", wide: true, long: true, text: row => row.detail },
], { key: row => JSON.stringify([row.reason, row.sni, row.client]), empty: "No handshake has failed.", caption: "Handshakes that failed, those alike together" });

async function showFailures() {
  const { failures: all } = await ask("/v1/tls-failures");
  failures.update(all.slice(0, 100));
  heading("tls-title", "TLS failures", Math.min(all.length, 100), all.length);
}

// What is behind a number.

const explain = explainBy(ask);

const requests = new Table(byId("request-table"), [
  { head: "Time", names: true, text: row => words.time(row.time) },
  { head: "Reason", text: row => row.reason },
  { head: "Status", number: true, text: row => (row.status ? String(row.status) : words.NONE) },
  { head: "Client", text: row => row.client },
  { head: "Method", text: row => row.method ?? words.NONE },
  { head: "Host", long: true, text: row => row.host ?? row.sni ?? words.NONE },
  {
    head: "Path", long: true, text: row => row.path ?? words.NONE, clicks: row => Boolean(row.host && row.path),
    click: row => explain(`${row.scheme}://${row.host}:${portOf(row.local)}${row.path}`, row.method, hostOf(row.local), row.sni),
    says: row => `${row.path}: explain`,
  },
  { head: "Site", text: row => row.site ?? words.NONE },
  { head: "Pool", text: row => row.pool ?? words.NONE },
  { head: "Detail", long: true, prose: true, text: row => row.detail ?? words.NONE },
  { head: "Request id", text: row => row.request_id ?? words.NONE },
], { key: row => row.key, empty: "None of these is remembered.", caption: "What was refused last, the latest first" });

const portOf = address => address.slice(address.lastIndexOf(":") + 1);
const hostOf = address => address.slice(0, address.lastIndexOf(":")).replace(/^\[|\]$/g, "");

function open(filter) {
  location.hash = `refused?${new URLSearchParams(filter)}`;
}

/** The address of the page says what is open, so that it can be handed on, and gone back from. */
async function follow() {
  const [name, query] = location.hash.slice(1).split("?");
  if (name !== "refused") {
    state.filter = null;
    byId("requests").hidden = true;
    return;
  }
  const known = new URLSearchParams(query);
  state.filter = {};
  for (const key of ["reason", "site", "pool"]) if (known.get(key)) state.filter[key] = known.get(key);
  byId("requests").hidden = false;
  choices();
  await showRequests(true);
  byId("requests").scrollIntoView();
  byId("requests").focus({ preventScroll: true });
}

async function showRequests(aloud) {
  const filter = state.filter;
  const { remembered, refusals } = await ask(`/v1/refusals?${new URLSearchParams({ ...filter, limit: REQUESTS_SHOWN })}`);
  if (filter !== state.filter) return;
  const times = new Map();
  // Two may be of the same moment.
  const rows = refusals.map(row => {
    const same = [row.time, row.client, row.reason, row.path].join(" ");
    times.set(same, (times.get(same) ?? 0) + 1);
    return { ...row, key: `${same} ${times.get(same)}` };
  });
  requests.update(rows);
  const which = Object.entries(filter).map(([key, value]) => `${key} ${value}`).join(", ") || "any reason";
  const said = `${words.count(remembered)} remembered of ${which}${remembered > rows.length ? `, the last ${rows.length} shown` : ""}`;
  if (aloud || byId("requests-said").textContent !== said) say("requests-said", said);
}

/** What the form offers, and what is chosen of it. */
function choices() {
  const { history, overview, filter } = state;
  if (!history || !overview || !filter) return;
  const sites = [...new Set(overview.bindings.map(binding => binding.site))].sort();
  const offered = {
    reason: Object.keys(history.refused).filter(reason => since(history, history.refused[reason], 3600)).sort(),
    site: sites,
    pool: overview.pools.map(pool => pool.name).sort(),
  };
  const form = byId("requests-filter");
  for (const [name, values] of Object.entries(offered)) {
    const select = form.elements[name];
    const chosen = filter[name] ?? "";
    if (chosen && !values.includes(chosen)) values.push(chosen);
    const wanted = ["", ...values];
    const there = [...select.options].map(option => option.value);
    if (wanted.join("\n") !== there.join("\n")) {
      select.replaceChildren(...wanted.map(value => new Option(value || "any", value)));
    }
    select.value = chosen;
  }
}

byId("requests-filter").addEventListener("change", event => {
  const form = event.currentTarget;
  const filled = ["reason", "site", "pool"].map(name => [name, form.elements[name].value]).filter(([, value]) => value);
  open(Object.fromEntries(filled));
});
byId("requests-close").addEventListener("click", () => {
  location.hash = "refusals";
});
addEventListener("hashchange", () => follow().catch(tell));

// Life.

function show() {
  if (!state.history || !state.overview) return;
  showHead(state.overview);
  showFigures(state);
  charts.show(state.history);
  showReasons(state.history);
  showPools(state);
  const rates = state.overview.responses_per_second;
  bindings.update(state.overview.bindings.map(row => ({ ...row, rate: rates[row.binding] })));
  heading("bindings-title", "Bindings", state.overview.bindings.length, state.overview.bindings_in_all);
  choices();
  document.documentElement.dataset.step = String(state.history.number.at(-1) ?? "");
}

async function take(overview) {
  state.overview = overview;
  const { last } = overview;
  if (!state.history || (last && !append(state.history, last))) state.history = await ask("/v1/history");
  show();
  const more = [];
  const refused = Object.keys(last?.refused ?? {});
  if (state.filter && refused.length) more.push(showRequests(false));
  if (refused.some(reason => reason.startsWith("Tls_") || reason.startsWith("Quic_"))) more.push(showFailures());
  await Promise.all(more);
  isLive(true);
}

function isLive(live) {
  byId("live").dataset.state = live ? "good" : "bad";
  say("live", live ? "Live" : "Not live, trying again");
  document.documentElement.dataset.live = live ? "yes" : "no";
  if (live) byId("trouble").hidden = true;
}

function tell(error) {
  if (error instanceof NotLoggedIn) return;
  const of = state.overview ? ` What you see is of ${words.time(state.overview.time)}.` : "";
  const text = error instanceof TypeError ? "The server does not answer." : `The server says: ${error.message}.`;
  say("trouble", text + of);
  byId("trouble").hidden = false;
}

function listen() {
  const events = new EventSource("/v1/events");
  events.addEventListener("overview", event => take(JSON.parse(event.data)).catch(tell));
  events.addEventListener("error", () => {
    isLive(false);
    // A browser tries again by itself where the connection broke, but not where it was refused: then it says why.
    events.close();
    setTimeout(() => {
      ask("/v1/overview").then(take).then(() => {
        isLive(false);
        listen();
      }, error => {
        tell(error);
        if (!(error instanceof NotLoggedIn)) setTimeout(listen, AGAIN_AFTER);
      });
    }, AGAIN_AFTER);
  });
}

function keep(what, every) {
  const again = () => what().catch(tell);
  setInterval(again, every);
  return again();
}

async function begin() {
  const logsOut = localStorage.getItem("portunus-logs-out");
  byId("logout").hidden = !logsOut;
  state.history = await ask("/v1/history");
  listen();
  await Promise.all([keep(showCertificates, CERTIFICATES_EVERY), keep(showFailures, CERTIFICATES_EVERY)]);
  await follow();
}

begin().catch(error => {
  tell(error);
  if (!(error instanceof NotLoggedIn)) setTimeout(() => location.reload(), 2 * AGAIN_AFTER);
});
