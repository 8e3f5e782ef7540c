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
  code.hidden = cells.length === 0;
  code.addEventListener("click", () => {
    const open = code.getAttribute("aria-pressed") !== "true";
    cells.forEach((cell) => { cell.open = open; });
    code.setAttribute("aria-pressed", String(open));
    code.textContent = open ? "Ocultar el código" : "Mostrar el código";
  });

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

  const ratio = (part, rest) => (part + rest ? (part / (part + rest)).toFixed(3) : "–");
  const show = (value) => {
    const table = { vn: 0, fp: 0, fn: 0, vp: 0 };
    p.forEach((probability, i) => { table[probability >= value ? (y[i] ? "vp" : "fp") : (y[i] ? "fn" : "vn")] += 1; });
    const { vn, fp, fn, vp } = table;
    Object.entries(table).forEach(([id, count]) => { find(id).textContent = count; });
    find("sensibilidad").textContent = ratio(vp, fn);
    find("especificidad").textContent = ratio(vn, fp);
    find("vpp").textContent = ratio(vp, fp);
    find("vpn").textContent = ratio(vn, fn);
    find("umbral-valor").textContent = value.toFixed(3);
    cut.setAttribute("x1", value * 600);
    cut.setAttribute("x2", value * 600);
  };
  slider.addEventListener("input", () => show(slider.valueAsNumber));
  find("umbral-elegido").addEventListener("click", () => { slider.value = threshold; show(threshold); });
  show(threshold);
  find("umbral-interactivo").hidden = false;
})();
