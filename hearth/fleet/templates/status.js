"use strict";
// Everything that comes from the fleet reaches the page by textContent or setAttribute, never as HTML.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const PAGE = 100;
  const SVG = "http://www.w3.org/2000/svg";
  const [rows, heads, more, search, select, shown] =
    ["rows", "heads", "more", "search", "sort", "shown"].map((id) => document.getElementById(id));
  const collator = new Intl.Collator("en", { numeric: true });
  const DASH = "–";

  const add = (parent, name, attributes = {}, text) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return parent.appendChild(made);
  };
  const draw = (parent, name, attributes) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return parent.appendChild(made);
  };
  const age = (at) => {
    const minutes = Math.max(0, Math.floor((data.at - at) / 60));
    if (minutes < 60) return `${minutes} min`;
    return minutes < 48 * 60 ? `${Math.floor(minutes / 60)} h` : `${Math.floor(minutes / 1440)} d`;
  };
  const when = (at) => new Date(at * 1000).toISOString().slice(0, 16).replace("T", " ") + " UTC";
  const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

  const icon = (parent, state) => {
    const svg = draw(parent, "svg", { class: "icon", "aria-hidden": "true", focusable: "false" });
    draw(svg, "use", { href: `#icon-${state}` });
  };
  const spark = (cell) => draw(cell, "svg", { class: "spark", viewBox: "0 0 60 18", "aria-hidden": "true", focusable: "false" });
  const gauge = (cell, share, tone) => {
    const svg = draw(cell, "svg", { class: `gauge ${tone}`, viewBox: "0 0 56 4", preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" });
    draw(svg, "rect", { class: "base", width: 56, height: 4 });
    draw(svg, "rect", { class: "full", width: Math.max(1, Math.round(56 * Math.min(1, Math.max(0, share)))), height: 4 });
  };
  const toned = (cell, tone, text) => add(cell, "span", { class: tone === "good" ? "" : `tone ${tone}` }, text);

  const fillName = (cell, host, number) => {
    const id = `details-${number}`;
    const button = add(cell, "button", { type: "button", "aria-expanded": "false", "aria-controls": id }, host.name);
    button.addEventListener("click", () => toggle(button, host, id));
    add(cell, "span", { class: "under" }, host.kind === "box" ? host.domain : host.kind === "pi" ? "support Pi" : "relay");
  };
  const fillState = (cell, host) => {
    const [state, word] = data.states[host.state];
    const label = add(cell, "span", { class: `label ${state}` });
    icon(label, state);
    add(label, "span", {}, word);
    if (host.why) add(cell, "span", { class: "under", title: host.why }, host.why);
  };
  const fillTook = (cell, host) => {
    const points = host.took;
    if (points.length > 1) {
      const most = Math.max(...points, 1);
      const path = points.map((value, place) =>
        `${place ? "L" : "M"}${(place / (points.length - 1) * 60).toFixed(1)} ${(17 - value / most * 16).toFixed(1)}`);
      draw(spark(cell), "path", { d: path.join(" ") });
    }
    add(cell, "span", {}, `${Math.round(points[points.length - 1])} s`);
  };
  const fillDrift = (cell, host) => {
    const most = Math.max(...host.drifts), svg = spark(cell), wide = 60 / host.drifts.length;
    draw(svg, "rect", { class: "base", y: 17, width: 60, height: 1 });
    host.drifts.forEach((count, place) => {
      if (count) draw(svg, "rect", { x: place * wide, y: 17 - Math.max(3, count / most * 16), width: wide * .8, height: Math.max(3, count / most * 16) });
    });
    add(cell, "span", {}, String(host.drift));
  };
  const fillCertificate = (cell, host) => {
    const tone = host.cert <= 3 ? "failed" : host.cert <= 14 ? "warning" : "good";
    toned(cell, tone, host.cert < 0 ? "ended" : `${host.cert} d`);
    gauge(cell, host.cert / 90, tone);
  };
  const fillUpdates = (cell, host) => {
    toned(cell, host.security ? "warning" : "good", String(host.updates));
    if (host.security) add(cell, "span", { class: "under" }, `${host.security} security`);
    if (host.reboot) add(cell, "span", { class: "under" }, "reboot");
  };
  const fillDisk = (cell, host) => {
    const tone = host.free < 5 ? "failed" : host.free < 10 ? "warning" : "good";
    toned(cell, tone, `${host.free} %`);
    gauge(cell, host.free / 100, tone);
  };
  const fillVersion = (cell, host) => {
    add(cell, "span", {}, host.version);
    const pin = (host.release || "").split(" ").pop();
    if (!(host.version === pin || host.version.startsWith(`${pin}.`))) add(cell, "span", { class: "under tone warning" }, `→ ${pin}`);
  };
  const fillAge = (key) => (cell, host) => add(cell, "time", { datetime: new Date(host[key] * 1000).toISOString(), title: when(host[key]) }, age(host[key]));

  // Each column: its heading, the key that it needs and sorts by, how to fill a cell; "down": big values come first;
  // "aside": not on a phone's cards, whose details have it; "live": only when the hosts were asked and somebody has it;
  // "known": whenever somebody has it.
  const COLUMNS = [
    { head: "Household", key: "name", fill: fillName },
    { head: "State", key: "state", fill: fillState },
    { head: "Converged", key: "converged", fill: fillAge("converged"), down: true },
    { head: "Took", key: "took", aside: true, fill: fillTook, value: (host) => host.took && host.took[host.took.length - 1], down: true },
    { head: "Drift", key: "drift", fill: fillDrift, down: true },
    { head: "Certificate", key: "cert", fill: fillCertificate, live: true },
    { head: "Updates", key: "updates", fill: fillUpdates, live: true, down: true },
    { head: "Disk free", key: "free", fill: fillDisk, live: true },
    { head: "Tunnel since", key: "tunnel", aside: true, fill: fillAge("tunnel"), live: true, down: true },
    { head: "Backup", key: "backup", fill: fillAge("backup"), live: true },
    { head: "Proven restore", key: "proven", aside: true, fill: fillAge("proven"), known: true },
    { head: "Version", key: "version", aside: true, fill: fillVersion, live: true },
  ].filter(({ live, known, key }) =>
    (data.live || !live) && (!(live || known) || data.hosts.some((host) => host[key] !== undefined)));

  const describe = (box, host) => {
    if (host.why) add(box, "p", {}, host.why);
    if (host.findings) {
      const list = add(box, "ul");
      for (const [level, sentence, next] of host.findings) {
        const item = add(list, "li");
        add(item, "span", { class: `tone ${level === "required" ? "failed" : "warning"}` }, `${level}: `);
        add(item, "span", {}, `${sentence}. Next: ${next}.`);
      }
    }
    const list = add(box, "dl");
    const fact = (name, value) => {
      if (value === undefined || value === "") return;
      const pair = add(list, "div");
      add(pair, "dt", {}, name);
      add(pair, "dd", {}, value);
    };
    if (host.url) {
      const pair = add(list, "div");
      add(pair, "dt", {}, "Cloud");
      add(add(pair, "dd"), "a", { href: host.url, rel: "noopener noreferrer" }, host.url);
    }
    fact("Host", host.host);
    fact("Relay", host.relay);
    fact("Release", host.version);
    fact("Pinned release", host.release);
    fact("Last converge took", host.took && `${host.took[host.took.length - 1]} s`);
    fact("Last visit", host.lastAt && `${host.last}, ${when(host.lastAt)}`);
    fact("Inventory's commit", host.commit);
    fact("Changes of that visit", host.lastAt && `${host.intended || 0} intended, ${host.corrective || 0} corrective`);
    fact("Last converged", host.converged && when(host.converged));
    fact("Tunnel up since", host.tunnel && when(host.tunnel));
    fact("Last good backup", host.backup && when(host.backup));
    fact("Last proven restore", host.proven && when(host.proven));
    fact("Fullest disk", host.disk && `${host.disk}, ${host.free} % free`);
    fact("Debian", host.debian);
  };
  const toggle = (button, host, id) => {
    const open = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!open));
    const row = button.closest("tr");
    if (open) return void document.getElementById(id).remove();
    const details = document.createElement("tr");
    details.setAttribute("class", "details");
    details.setAttribute("role", "row");
    details.id = id;
    describe(add(details, "td", { role: "cell", colspan: COLUMNS.length }), host);
    row.after(details);
  };

  const words = data.hosts.map((host) =>
    [host.name, host.host, host.domain, host.relay, host.why, host.kind, host.version, data.states[host.state][1]]
      .join("\n").toLowerCase());
  const chosen = { words: "", states: new Set(), column: COLUMNS[1], up: true };
  let found = [], begun = 0;

  const valueOf = (column) => column.value || ((host) => host[column.key]);
  const order = () => {
    const value = valueOf(chosen.column), way = chosen.up ? 1 : -1;
    // What is not known is last in either order; equals stand in the order of their names.
    return (one, other) => {
      const [a, b] = [value(data.hosts[one]), value(data.hosts[other])];
      if (a !== b) {
        if (a === undefined) return 1;
        if (b === undefined) return -1;
        return way * (typeof a === "string" ? collator.compare(a, b) : a - b);
      }
      return collator.compare(data.hosts[one].name, data.hosts[other].name);
    };
  };
  const render = () => {
    const until = Math.min(found.length, begun + PAGE), part = document.createDocumentFragment();
    for (; begun < until; begun++) {
      const host = data.hosts[found[begun]];
      const row = add(part, "tr", { class: "host", role: "row" });
      for (const column of COLUMNS) {
        const known = host[column.key] !== undefined;
        const kind = { name: "name", state: "state-cell" }[column.key] || "number";
        const cell = add(row, "td", { class: `${kind}${known ? "" : " absent"}${column.aside ? " aside" : ""}`, role: "cell", "data-label": column.head });
        if (known) column.fill(cell, host, found[begun]);
        else add(cell, "span", { class: "quiet" }, DASH);
      }
    }
    if (!found.length) add(add(part, "tr", { class: "empty", role: "row" }), "td", { role: "cell", colspan: COLUMNS.length }, "No host is like that.");
    rows.append(part);
    more.hidden = begun >= found.length;
    more.textContent = `Show ${Math.min(PAGE, found.length - begun)} more of ${(found.length - begun).toLocaleString("en")}`;
  };
  const update = () => {
    const wanted = chosen.words.split(/\s+/).filter(Boolean);
    found = [];
    data.hosts.forEach((host, number) => {
      if (chosen.states.size && !chosen.states.has(host.state)) return;
      if (wanted.every((word) => words[number].includes(word))) found.push(number);
    });
    found.sort(order());
    begun = 0;
    rows.replaceChildren();
    render();
    shown.textContent = found.length === data.hosts.length ? counted(found.length, "host") : `${found.length.toLocaleString("en")} of ${counted(data.hosts.length, "host")}`;
    [...heads.children].forEach((head, place) => {
      if (COLUMNS[place] === chosen.column) head.setAttribute("aria-sort", chosen.up ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
    select.value = String(COLUMNS.indexOf(chosen.column));
  };
  const sortBy = (column, up) => {
    chosen.column = column;
    chosen.up = up;
    update();
  };

  COLUMNS.forEach((column, place) => {
    const head = add(heads, "th", { scope: "col", role: "columnheader" });
    add(head, "button", { type: "button" }, column.head).addEventListener("click", () =>
      sortBy(column, column === chosen.column ? !chosen.up : !column.down));
    add(select, "option", { value: place }, column.head);
  });
  select.addEventListener("change", () => sortBy(COLUMNS[Number(select.value)], !COLUMNS[Number(select.value)].down));
  search.addEventListener("input", () => {
    chosen.words = search.value.toLowerCase();
    update();
  });
  search.form.addEventListener("submit", (event) => event.preventDefault());
  document.querySelectorAll(".state").forEach((button) => button.addEventListener("click", () => {
    const state = Number(button.dataset.state), on = chosen.states.has(state);
    if (on) chosen.states.delete(state);
    else chosen.states.add(state);
    button.setAttribute("aria-pressed", String(!on));
    update();
  }));
  more.addEventListener("click", render);
  new IntersectionObserver((entries) => {
    if (entries[0].isIntersecting && !more.hidden) render();
  }, { rootMargin: "600px" }).observe(more);
  update();
})();
