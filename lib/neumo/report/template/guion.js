"use strict";
(() => {
  const root = document.documentElement;
  const find = (id) => document.getElementById(id);
  const store = {
    get: () => { try { return localStorage.getItem("tema"); } catch { return null; } },
    set: (value) => { try { localStorage.setItem("tema", value); } catch { /* un archivo local puede no tener memoria */ } },
  };

  // Tema: el del sistema mientras nadie elija otro.
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const theme = find("tema");
  const current = () => root.dataset.tema || (dark.matches ? "oscuro" : "claro");
  const label = () => { theme.textContent = current() === "oscuro" ? "Tema claro" : "Tema oscuro"; };
  if (["claro", "oscuro"].includes(store.get())) root.dataset.tema = store.get();
  theme.addEventListener("click", () => {
    root.dataset.tema = current() === "oscuro" ? "claro" : "oscuro";
    store.set(root.dataset.tema);
    label();
  });
  dark.addEventListener("change", label);
  label();
  theme.hidden = false;

  // Código: un mando para todas las celdas.
  const code = find("codigo");
  const cells = document.querySelectorAll("details.codigo");
  const button = (text, action, className = "") => {
    const node = Object.assign(document.createElement("button"), { type: "button", textContent: text, className });
    node.addEventListener("click", action);
    return node;
  };
  code.hidden = cells.length === 0;
  code.addEventListener("click", () => {
    const open = code.getAttribute("aria-pressed") !== "true";
    cells.forEach((cell) => { cell.open = open; });
    code.setAttribute("aria-pressed", String(open));
    code.textContent = open ? "Ocultar el código" : "Mostrar el código";
  });

  if (navigator.clipboard) cells.forEach((cell) => {
    const copy = button("Copiar", async () => {
      await navigator.clipboard.writeText(cell.querySelector("pre").textContent.trim());
      copy.textContent = "Copiado";
      setTimeout(() => { copy.textContent = "Copiar"; }, 2000);
    }, "copiar");
    cell.append(copy);
  });

  // Un ancla dentro de un pliegue lo abre, también en los navegadores que no lo hacen solos.
  const reveal = () => {
    const target = find(decodeURIComponent(location.hash.slice(1)));
    const folds = [];
    for (let fold = target?.closest("details"); fold; fold = fold.parentElement.closest("details")) folds.push(fold);
    if (folds.every((fold) => fold.open)) return;
    folds.forEach((fold) => { fold.open = true; });
    target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  reveal();

  // Figuras: cada una se abre a todo el ancho; Esc o el botón la cierran.
  const lens = find("lupa");
  lens.querySelector("button").addEventListener("click", () => lens.close());
  document.querySelectorAll("figure.figura").forEach((drawing) => {
    const image = drawing.querySelector("img");
    const enlarge = () => {
      const copy = image.cloneNode();
      copy.style.width = `${Math.max(1.5 * image.width, 0.94 * innerWidth)}px`;
      lens.lastElementChild.replaceChildren(copy);
      lens.showModal();
    };
    const open = button("Ampliar", enlarge, "ampliar");
    open.setAttribute("aria-label", `Ampliar la ${drawing.querySelector(".rotulo").textContent.toLowerCase().replace(".", "")}`);
    drawing.querySelector("figcaption").append(" ", open);
    image.parentElement.addEventListener("click", enlarge);
  });

  // Tablas: cada cabecera ordena por su columna; a la tercera vuelve el orden de la página.
  const number = (text) => {
    const found = text.replace(/[\s\u202f]/g, "").replace("−", "-").match(/^[-+]?\d+(\.\d+)?(?:×10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))?/);
    if (!found) return NaN;
    const power = [...(found[2] || "")].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹".indexOf(digit)).map((digit) => (digit < 0 ? "-" : digit)).join("");
    return parseFloat(found[0]) * 10 ** Number(power);
  };
  const sortable = (table) => table.tHead?.rows.length === 1 && table.tBodies[0]?.rows.length > 2
    && !table.querySelector("[rowspan], [colspan]") && [...table.tBodies[0].rows].every((row) => row.cells.length === table.tHead.rows[0].cells.length);
  [...document.querySelectorAll("figure.tabla table")].filter(sortable).forEach((table) => {
    const body = table.tBodies[0];
    const before = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    heads.filter((head) => head.textContent.trim()).forEach((head) => {
      const sort = button("", () => {
        const next = { none: "ascending", ascending: "descending", descending: "none" }[head.ariaSort || "none"];
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        const text = (row) => row.cells[head.cellIndex].textContent.trim();
        const value = (row) => number(text(row));
        const digits = before.some((row) => !Number.isNaN(value(row)));
        const last = (row) => digits && Number.isNaN(value(row));
        const sign = next === "descending" ? -1 : 1;
        const order = (a, b) => last(a) - last(b) || sign * (digits ? value(a) - value(b) : text(a).localeCompare(text(b), "es"));
        body.append(...(next === "none" ? before : [...before].sort(order)));
        if (next !== "none") head.setAttribute("aria-sort", next);
      }, "orden");
      sort.append(...head.childNodes);
      head.append(sort);
    });
  });

  // Vistas: lo que hay tras una referencia, una cita o un término, sin dejar el sitio; con el foco o el ratón, y Esc la quita.
  const view = find("vista");
  let shownFor = null, timer = 0;
  const hide = () => {
    if (!shownFor) return;
    shownFor.removeAttribute("aria-describedby");
    view.hidePopover();
    shownFor = null;
  };
  const preview = (link) => {
    const target = find(link.hash.slice(1));
    if (!target || link === shownFor) return;
    hide();
    const copy = target.cloneNode(true);
    copy.querySelectorAll("button, .csv, a.footnote").forEach((node) => node.remove());
    copy.querySelectorAll("a").forEach((node) => node.replaceWith(...node.childNodes));
    [copy, ...copy.querySelectorAll("[id], [tabindex], [role]")].forEach((node) => ["id", "tabindex", "role"].forEach((name) => node.removeAttribute(name)));
    view.replaceChildren(...(target.matches("li") ? copy.childNodes : [copy]));
    view.showPopover();
    const place = link.getBoundingClientRect();
    const box = view.getBoundingClientRect();
    const above = place.bottom + box.height + 8 > innerHeight && place.top > box.height + 8;
    view.style.top = `${Math.max(4, above ? place.top - box.height - 4 : place.bottom + 4)}px`;
    view.style.left = `${Math.max(4, Math.min(place.left, innerWidth - box.width - 12))}px`;
    link.setAttribute("aria-describedby", "vista");
    shownFor = link;
  };
  const soon = (action) => { clearTimeout(timer); timer = setTimeout(action, 250); };
  document.querySelectorAll("main a:is(.termino, .cita, .footnote-ref *, [href^='#fig-'], [href^='#tab-'])").forEach((link) => {
    link.addEventListener("focus", () => { if (link.matches(":focus-visible")) preview(link); });
    link.addEventListener("blur", hide);
    link.addEventListener("click", hide);
    if (!matchMedia("(hover: hover)").matches) return;
    link.addEventListener("mouseenter", () => soon(() => preview(link)));
    link.addEventListener("mouseleave", () => soon(hide));
  });
  view.addEventListener("mouseenter", () => clearTimeout(timer));
  view.addEventListener("mouseleave", () => soon(hide));
  addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });

  // Índice: abierto a un lado si hay sitio, plegado si no; sigue a quien lee.
  const menu = document.querySelector("#indice > details");
  const wide = matchMedia("(min-width: 70rem)");
  const fit = () => { menu.open = wide.matches; };
  wide.addEventListener("change", fit);
  fit();
  menu.addEventListener("click", (event) => {
    if (event.target.closest("a") && !wide.matches) menu.open = false;
  });
  addEventListener("beforeprint", () => { menu.open = true; });
  addEventListener("afterprint", fit);

  const links = new Map([...menu.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]));
  const targets = [...links.keys()].map(find);
  const follow = () => {
    const passed = targets.filter((target) => target.getBoundingClientRect().top < innerHeight * 0.3);
    const here = links.get((passed.at(-1) || targets[0]).id);
    if (here.ariaCurrent === "true") return;
    links.forEach((link) => link.removeAttribute("aria-current"));
    menu.querySelectorAll("li.abierto").forEach((item) => item.classList.remove("abierto"));
    here.setAttribute("aria-current", "true");
    for (let item = here.closest("li"); item; item = item.parentElement.closest("li")) item.classList.add("abierto");
    if (wide.matches) {
      const box = find("indice");
      const gap = here.getBoundingClientRect().top - box.getBoundingClientRect().top;
      if (gap < 80 || gap > box.clientHeight - 80) box.scrollTop += gap - box.clientHeight / 2;
    }
  };
  if (targets.length) {
    const watcher = new IntersectionObserver(follow, { rootMargin: "0px 0px -70% 0px" });
    targets.forEach((target) => watcher.observe(target));
    follow();
  }

  // Umbral: recuento exacto sobre las probabilidades guardadas.
  const source = find("umbral-datos");
  if (!source) return;
  const { y, p, threshold } = JSON.parse(source.textContent);
  const slider = find("umbral");
  const drawing = find("umbral-dibujo");
  const shape = (name, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.entries(attributes).forEach(([key, value]) => node.setAttribute(key, value));
    return drawing.appendChild(node);
  };
  const bins = 40;
  const counts = [new Array(bins).fill(0), new Array(bins).fill(0)];
  p.forEach((value, i) => { counts[y[i]][Math.min(bins - 1, Math.floor(value * bins))] += 1; });
  // Raíz cuadrada: las cajas de los extremos no aplastan a las del medio.
  const scale = 66 / Math.sqrt(Math.max(...counts.flat()));
  counts.forEach((row, label) => row.forEach((count, bin) => {
    const height = Math.sqrt(count) * scale;
    shape("rect", { class: label ? "pneumonia" : "normal", x: bin * 15 + 1, width: 13, height, y: label ? 71 : 69 - height });
  }));
  shape("line", { class: "eje", x1: 0, x2: 600, y1: 70, y2: 70 });
  const cut = shape("line", { class: "corte", y1: 0, y2: 140 });

  // Curva ROC: los puntos de todos los umbrales posibles, y el del mando.
  const total = [y.filter((label) => !label).length, y.filter(Boolean).length];
  const sorted = p.map((probability, i) => [probability, y[i]]).sort((a, b) => b[0] - a[0]);
  const seen = [0, 0];
  const path = sorted.reduce((line, [probability, label], i) => {
    seen[label] += 1;
    if (sorted[i + 1]?.[0] === probability) return line;  // los empates cruzan el umbral juntos
    return `${line} L${(seen[0] / total[0]) * 200} ${200 - (seen[1] / total[1]) * 200}`;
  }, "M0 200");
  find("roc-curva").setAttribute("d", path);

  const ratio = (part, rest) => (part + rest ? (part / (part + rest)).toFixed(3) : "–");
  const observed = total[1] / y.length;
  const prevalence = find("prevalencia");
  let share = observed;
  const show = (value) => {
    const table = { vn: 0, fp: 0, fn: 0, vp: 0 };
    p.forEach((probability, i) => { table[probability >= value ? (y[i] ? "vp" : "fp") : (y[i] ? "fn" : "vn")] += 1; });
    const { vn, fp, fn, vp } = table;
    Object.entries(table).forEach(([id, count]) => { find(id).textContent = count; });
    find("sensibilidad").textContent = ratio(vp, fn);
    find("especificidad").textContent = ratio(vn, fp);
    // Teorema de Bayes: lo mismo que contar casillas si la prevalencia es la de la prueba.
    const [ill, well] = [share / total[1], (1 - share) / total[0]];
    find("vpp").textContent = ratio(vp * ill, fp * well);
    find("vpn").textContent = ratio(vn * well, fn * ill);
    find("umbral-valor").textContent = value.toFixed(3);
    find("prevalencia-valor").textContent = `${(100 * share).toFixed(1)} %`;
    find("roc-punto").setAttribute("cx", (fp / total[0]) * 200);
    find("roc-punto").setAttribute("cy", 200 - (vp / total[1]) * 200);
    cut.setAttribute("x1", value * 600);
    cut.setAttribute("x2", value * 600);
  };
  const refresh = () => show(slider.valueAsNumber);
  slider.addEventListener("input", refresh);
  find("umbral-elegido").addEventListener("click", () => { slider.value = threshold; show(threshold); });
  prevalence.addEventListener("input", () => { share = prevalence.valueAsNumber / 100; refresh(); });
  const back = () => { share = observed; prevalence.value = 100 * observed; };
  find("prevalencia-prueba").addEventListener("click", () => { back(); refresh(); });
  back();
  show(threshold);
  find("umbral-interactivo").hidden = false;
})();
