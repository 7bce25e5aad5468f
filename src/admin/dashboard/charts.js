// The last hour, drawn by uPlot, and the same as a table for who reads rather than looks.

import * as words from "./words.js";

const CLASSES = ["2xx", "3xx", "4xx", "5xx", "1xx"];
const REASONS_SHOWN = 5;
/** An hour, or what is known of it; but no less than so much, in seconds. */
const [SPAN_MAX, SPAN_MIN] = [3600, 900];

/** A chart in a figure: a heading, what its colours mean with the values at the pointer, the drawing, and a table. */
class Chart {
  constructor(id, title, unit, format) {
    this.figure = document.getElementById(id);
    this.format = format;
    const head = document.createElement("figcaption");
    const name = document.createElement("h3");
    name.textContent = title;
    const of = document.createElement("span");
    of.className = "quiet";
    of.textContent = unit;
    name.append(" ", of);
    this.legend = document.createElement("ul");
    this.legend.className = "legend";
    head.append(name, this.legend);
    this.place = document.createElement("div");
    this.place.className = "plot";
    this.place.setAttribute("role", "img");
    this.details = document.createElement("details");
    const summary = document.createElement("summary");
    summary.textContent = "As a table, by minute";
    const scroll = document.createElement("div");
    scroll.className = "scroll short";
    scroll.tabIndex = 0;
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", `${title}, by minute`);
    this.table = document.createElement("table");
    scroll.append(this.table);
    this.details.append(summary, scroll);
    this.details.addEventListener("toggle", () => this.tabulate());
    this.figure.append(head, this.place, this.details);
    new ResizeObserver(() => this.resize()).observe(this.place);
  }

  /** `series`: each with a name, a colour's name, and values; the values of those that are stacked are the sums below too. */
  show({ times, series, stacked, bars, said, minutes }) {
    this.minutes = minutes;
    this.place.setAttribute("aria-label", said);
    const shape = series.map(one => one.name + one.color).join("\n");
    this.series = series;
    const drawn = stacked ? sums(series.map(one => one.values)) : series.map(one => one.values);
    this.data = [times, ...drawn];
    if (shape !== this.shape || !this.plot) {
      this.shape = shape;
      this.begin(stacked, bars);
    } else {
      this.plot.setData(this.data, false);
      this.plot.setScale("x", { min: times.from, max: times.until });
    }
    this.name(null);
    this.tabulate();
  }

  begin(stacked, bars) {
    this.options = [stacked, bars];
    this.plot?.destroy();
    const style = getComputedStyle(document.documentElement);
    const color = name => style.getPropertyValue(`--c-${name}`).trim();
    const quiet = style.getPropertyValue("--quiet").trim();
    const grid = { stroke: style.getPropertyValue("--line").trim(), width: 1 };
    const axis = { stroke: quiet, font: `11px ${style.fontFamily}`, grid, ticks: { show: false } };
    const paths = bars ? uPlot.paths.bars({ size: [0.86, 12], align: 1 }) : undefined;
    const series = this.series.map(one => ({
      label: one.name,
      stroke: color(one.color),
      width: bars ? 0 : stacked ? 0.75 : 1.5,
      fill: stacked ? color(one.color) : undefined,
      paths,
      points: { show: stacked || bars ? false : undefined, size: 4 },
    }));
    this.plot = new uPlot({
      width: Math.max(this.place.clientWidth, 120),
      height: HEIGHT,
      legend: { show: false },
      padding: [8, 18, 0, 0],
      cursor: { y: false, points: { show: !bars, size: 6 }, drag: { x: false, y: false } },
      scales: {
        x: { range: () => [this.data[0].from, this.data[0].until] },
        y: { range: (_, low, high) => [0, high > 0 ? high * 1.08 : 1] },
      },
      axes: [
        { ...axis, size: 26, space: 56, values: (_, splits) => splits.map(words.ofMinute) },
        { ...axis, size: 52, space: 28, values: (_, splits) => splits.map(split => this.format(split)) },
      ],
      // The sums are drawn from the largest, so that each lies before those above it.
      series: [{}, ...series],
      hooks: { setCursor: [plot => this.name(plot.cursor.idx)] },
    }, this.data, this.place);
    this.legend.replaceChildren(...this.series.map(one => {
      const [item, swatch, name, value] = ["li", "span", "span", "b"].map(it => document.createElement(it));
      swatch.className = "swatch";
      swatch.style.setProperty("--swatch", `var(--c-${one.color})`);
      swatch.setAttribute("aria-hidden", "true");
      name.textContent = one.name;
      item.append(swatch, name, value);
      return item;
    }));
  }

  /** Writes the values of one moment beside the names: of the last, where the pointer is nowhere. */
  name(index) {
    this.series.forEach((one, place) => {
      const at = index ?? one.values.length - 1;
      const value = one.values[at];
      const item = this.legend.children[place];
      item.lastElementChild.textContent = value === null || value === undefined ? words.NONE : this.format(value);
    });
  }

  resize() {
    const width = this.place.clientWidth;
    if (this.plot && width && width !== this.plot.width) this.plot.setSize({ width, height: HEIGHT });
  }

  /** Colours are those of the page: light or dark. */
  recolour() {
    if (this.plot) this.begin(...this.options);
  }

  /** Only while somebody looks. */
  tabulate() {
    if (!this.details.open || !this.minutes) return;
    const { heads, rows } = this.minutes();
    const head = this.table.tHead ?? this.table.createTHead();
    const line = document.createElement("tr");
    line.append(...["Minute", ...heads].map((text, index) => {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = text;
      cell.className = index ? "number" : "";
      return cell;
    }));
    head.replaceChildren(line);
    const body = this.table.tBodies[0] ?? this.table.createTBody();
    body.replaceChildren(...rows.map(([minute, ...values]) => {
      const row = document.createElement("tr");
      const name = document.createElement("th");
      name.scope = "row";
      name.textContent = words.ofMinute(minute);
      row.append(name, ...values.map(value => {
        const cell = document.createElement("td");
        cell.className = "number";
        cell.textContent = value === null ? words.NONE : this.format(value);
        return cell;
      }));
      return row;
    }));
  }
}

const HEIGHT = 168;

/** Each with the sum of itself and those behind it. */
function sums(columns) {
  const all = columns.map(column => column.slice());
  for (let place = all.length - 2; place >= 0; place--) {
    all[place] = all[place].map((value, index) => value + all[place + 1][index]);
  }
  return all;
}

/** What a chart goes from and to, beside its times. */
function bounded(times, history) {
  const until = history.time.at(-1) ?? Date.now() / 1e3;
  const known = until - (history.time[0] ?? until);
  return Object.assign(times, { from: until - Math.min(Math.max(known, SPAN_MIN), SPAN_MAX), until });
}

/** The steps by the minute that they ended in, the latest first. */
function byMinute(history) {
  const minutes = new Map();
  history.time.forEach((time, index) => {
    const minute = Math.floor(time / 60) * 60;
    if (!minutes.has(minute)) minutes.set(minute, []);
    minutes.get(minute).push(index);
  });
  return [...minutes].reverse();
}

const sum = (column, indices) => indices.reduce((all, index) => all + column[index], 0);
const most = (column, indices) => {
  const values = indices.map(index => column[index]).filter(value => value !== null);
  return values.length ? Math.max(...values) : null;
};

export class Charts {
  constructor() {
    this.traffic = new Chart("chart-traffic", "Responses", "a second, by class of status", words.rate);
    this.latency = new Chart("chart-latency", "Latency", "to the response’s end", words.latency);
    this.refusals = new Chart("chart-refusals", "Refusals", "a minute, by reason", words.short);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", () => this.all().forEach(chart => chart.recolour()));
  }

  all() {
    return [this.traffic, this.latency, this.refusals];
  }

  show(history) {
    const times = bounded(history.time.slice(), history);
    this.showTraffic(history, times);
    this.showLatency(history, times);
    this.showRefusals(history);
  }

  showTraffic(history, times) {
    const came = CLASSES.filter(name => name === "2xx" || history.responses[name].some(Boolean));
    const series = came.map(name => ({
      name,
      color: name,
      values: history.responses[name].map((count, index) => count / history.seconds[index]),
    }));
    const all = came.reduce((all, name) => all + sum(history.responses[name], times.map((_, index) => index)), 0);
    this.traffic.show({
      times,
      series,
      stacked: true,
      said: `Responses a second over the last hour; ${words.count(all)} in all`,
      minutes: () => ({
        heads: came.map(name => `${name}, a second`),
        rows: byMinute(history).map(([minute, steps]) => {
          const seconds = sum(history.seconds, steps);
          return [minute, ...came.map(name => sum(history.responses[name], steps) / seconds)];
        }),
      }),
    });
  }

  showLatency(history, times) {
    const { p50, p99 } = history.hour;
    this.latency.show({
      times,
      series: [
        { name: "p99", color: "p99", values: history.p99 },
        { name: "median", color: "p50", values: history.p50 },
      ],
      said: `Latency over the last hour: median ${words.latency(p50)}, 99th percentile ${words.latency(p99)}`,
      minutes: () => ({
        heads: ["p99, the highest", "median, the highest"],
        rows: byMinute(history).map(([minute, steps]) => [minute, most(history.p99, steps), most(history.p50, steps)]),
      }),
    });
  }

  showRefusals(history) {
    const minutes = byMinute(history).reverse();
    const totals = Object.entries(history.refused)
      .map(([reason, column]) => [reason, column.reduce((all, one) => all + one, 0)])
      .filter(([, total]) => total)
      .sort((one, other) => other[1] - one[1]);
    const shown = totals.slice(0, totals.length > REASONS_SHOWN + 1 ? REASONS_SHOWN : REASONS_SHOWN + 1).map(([reason]) => reason);
    const rest = totals.slice(shown.length).map(([reason]) => reason);
    const of = reasons => minutes.map(([, steps]) => reasons.reduce((all, reason) => all + sum(history.refused[reason], steps), 0));
    const series = shown.map((reason, index) => ({ name: reason, color: `r${index}`, values: of([reason]) }));
    if (rest.length) series.push({ name: `${rest.length} more`, color: "rest", values: of(rest) });
    if (!series.length) series.push({ name: "none", color: "rest", values: minutes.map(() => 0) });
    const starts = bounded(minutes.map(([minute]) => minute), history);
    const all = totals.reduce((all, [, total]) => all + total, 0);
    this.refusals.show({
      times: starts,
      series,
      stacked: true,
      bars: true,
      said: `Refusals a minute over the last hour; ${words.count(all)} in all`,
      minutes: () => ({
        heads: series.map(one => one.name),
        rows: minutes.map(([minute], index) => [minute, ...series.map(one => one.values[index])]).reverse(),
      }),
    });
  }
}
