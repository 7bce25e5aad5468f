// Tables that change in place: a row stays the same element as long as its key does, so that focus and selection stay too. All
// text is put as text; nothing here makes markup of it.

/**
 * A table. A column has a `head`, and draws what a row has there: `text(row)`; `number: true` aligns it; `state(row)` is a class
 * beside the words; `click(row)` makes a button of it where `clicks(row)` says so; `draw(cell, row)` does it all by itself.
 * `wide` columns are left out on phones; `long` ones wrap anywhere, and of these `prose` has sentences and stays wide.
 */
export class Table {
  constructor(element, columns, { key, empty, caption }) {
    this.columns = columns;
    this.key = key;
    this.rows = new Map();
    const title = element.createCaption();
    title.className = "unseen";
    title.textContent = caption;
    const head = element.createTHead().insertRow();
    for (const column of columns) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = column.head;
      cell.className = classes(column);
      head.append(cell);
    }
    this.body = element.createTBody();
    this.empty = document.createElement("tr");
    const cell = this.empty.insertCell();
    cell.colSpan = columns.length;
    cell.className = "empty";
    cell.textContent = empty;
  }

  update(all) {
    const seen = new Set();
    let place = this.body.firstElementChild;
    for (const row of all) {
      const key = this.key(row);
      if (seen.has(key)) continue;
      seen.add(key);
      let kept = this.rows.get(key);
      if (!kept) {
        kept = { element: document.createElement("tr"), row };
        for (const column of this.columns) kept.element.append(this.cell(column, kept));
        this.rows.set(key, kept);
      }
      kept.row = row;
      this.columns.forEach((column, index) => draw(kept.element.children[index], column, row));
      if (kept.element === place) place = place.nextElementSibling;
      else this.body.insertBefore(kept.element, place);
    }
    for (const [key, kept] of this.rows) {
      if (!seen.has(key)) {
        kept.element.remove();
        this.rows.delete(key);
      }
    }
    if (seen.size) this.empty.remove();
    else this.body.append(this.empty);
  }

  cell(column, kept) {
    const cell = document.createElement(column.names ? "th" : "td");
    if (column.names) cell.scope = "row";
    cell.className = classes(column);
    if (column.click) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "link";
      button.addEventListener("click", () => column.click(kept.row));
      cell.button = button;
    }
    return cell;
  }
}

function classes(column) {
  return [column.number && "number", column.wide && "wide", column.long && "long", column.prose && "prose"].filter(Boolean).join(" ");
}

function draw(cell, column, row) {
  if (column.draw) {
    column.draw(cell, row);
    return;
  }
  const text = column.text(row);
  const clicks = cell.button && (column.clicks?.(row) ?? true);
  if (clicks && !cell.button.isConnected) cell.replaceChildren(cell.button);
  const holder = clicks ? cell.button : column.state ? stateOf(cell) : cell;
  if (column.state) holder.dataset.state = column.state(row);
  if (holder.textContent !== text) holder.textContent = text;
  if (clicks && column.says) holder.setAttribute("aria-label", column.says(row));
  if (column.title) cell.title = column.title(row) ?? "";
}

function stateOf(cell) {
  if (!cell.firstElementChild) {
    const span = document.createElement("span");
    span.className = "state";
    cell.replaceChildren(span);
  }
  return cell.firstElementChild;
}

/** A number beside its limit, with a bar for how much of it is taken. */
export function drawShare(cell, part, limit) {
  if (!cell.firstElementChild) {
    const [text, bar] = [document.createElement("span"), document.createElement("span")];
    bar.className = "bar";
    bar.setAttribute("aria-hidden", "true");
    cell.replaceChildren(text, bar);
  }
  const [text, bar] = cell.children;
  const written = `${part.toLocaleString("en")} / ${limit.toLocaleString("en")}`;
  if (text.textContent !== written) text.textContent = written;
  const share = limit > 0 ? Math.min(part / limit, 1) : 0;
  bar.style.setProperty("--share", share.toFixed(3));
  bar.dataset.full = share >= 0.9 ? "full" : share >= 0.5 ? "half" : "";
}

/** A line of how it went, as high as its highest value. */
export function drawSpark(cell, values, said) {
  let canvas = cell.firstElementChild;
  if (!canvas) {
    canvas = document.createElement("canvas");
    canvas.className = "spark";
    canvas.setAttribute("role", "img");
    cell.replaceChildren(canvas);
  }
  canvas.setAttribute("aria-label", said);
  cell.title = said;
  const [width, height, scale] = [96, 20, window.devicePixelRatio || 1];
  canvas.width = width * scale;
  canvas.height = height * scale;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  // The canvas may not be in the page yet.
  const style = getComputedStyle(document.documentElement);
  context.strokeStyle = style.getPropertyValue("--line-strong");
  context.beginPath();
  context.moveTo(0, height - 0.5);
  context.lineTo(width, height - 0.5);
  context.stroke();
  const most = Math.max(...values, 0);
  if (!most) return;
  context.fillStyle = style.getPropertyValue("--c-wait");
  const each = width / values.length;
  values.forEach((value, index) => {
    const tall = (value / most) * (height - 2);
    if (tall) context.fillRect(index * each, height - 1 - tall, Math.max(each, 1), tall);
  });
}
