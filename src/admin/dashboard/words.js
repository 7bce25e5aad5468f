// How numbers, times and sizes are written.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const minute = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat("en-CA", { year: "numeric", month: "2-digit", day: "2-digit" });

export const NONE = "–";

export function count(number) {
  return number === null || number === undefined ? NONE : whole.format(number);
}

/** A rate a second: small ones with a digit behind the point. */
export function rate(number) {
  if (!Number.isFinite(number)) return NONE;
  return number < 100 && number !== 0 ? tenths.format(number) : whole.format(number);
}

/** Large counts in four places. */
export function short(number) {
  if (!Number.isFinite(number)) return NONE;
  for (const [from, unit] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (number >= from) return `${tenths.format(number / (unit === "k" ? 1e3 : from))} ${unit}`;
  }
  return whole.format(number);
}

/** Seconds, as a latency. */
export function latency(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  const millis = seconds * 1e3;
  if (!millis) return "0";
  if (millis < 1) return `${millis.toFixed(2)} ms`;
  if (millis < 10) return `${millis.toFixed(1)} ms`;
  if (millis < 1000) return `${millis.toFixed(0)} ms`;
  return `${seconds.toFixed(seconds < 10 ? 2 : 0)} s`;
}

/** Seconds, as an age: its two largest units. */
export function age(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const found = units.findIndex(([size]) => seconds >= size);
  if (found < 0) return seconds > 0 ? `${whole.format(seconds * 1e3)} ms` : "0 s";
  const [size, unit] = units[found];
  const rest = units[found + 1];
  const large = `${Math.floor(seconds / size)} ${unit}`;
  const small = rest && Math.floor((seconds % size) / rest[0]);
  return small ? `${large} ${small} ${rest[1]}` : large;
}

export function bytes(number) {
  if (!Number.isFinite(number)) return NONE;
  for (const [size, unit] of [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) {
    if (number >= size) return `${tenths.format(number / size)} ${unit}`;
  }
  return `${whole.format(number)} B`;
}

export function percent(share) {
  if (!Number.isFinite(share)) return NONE;
  return `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;
}

/** A time of today as a time, another with its day. */
export function time(text) {
  const at = new Date(text);
  const today = day.format(at) === day.format(new Date());
  return today ? clock.format(at) : `${day.format(at)} ${clock.format(at)}`;
}

export function date(text) {
  return day.format(new Date(text));
}

export function ofClock(seconds) {
  return clock.format(new Date(seconds * 1e3));
}

export function ofMinute(seconds) {
  return minute.format(new Date(seconds * 1e3));
}
