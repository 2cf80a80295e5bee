
"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const pictures = all("figure > .layers");
  const toggle = document.getElementById("masks");
  const tools = document.getElementById("tools");
  let shown = -1;

  const make = (name, properties) => Object.assign(document.createElement(name), properties);
  const dialog = make("dialog", { id: "enlarged" });
  dialog.setAttribute("aria-label", "Enlarged picture");
  const bar = make("div", { className: "bar" });
  const back = make("button", { type: "button", textContent: "← Previous" });
  const on = make("button", { type: "button", textContent: "Next →" });
  const masks = make("button", { type: "button", textContent: "Masks (m)" });
  const close = make("button", { type: "button", textContent: "Close (Esc)" });
  const place = make("span", { className: "small" });
  const frame = make("figure", {});
  place.setAttribute("role", "status");
  bar.append(back, on, masks, close, place);
  dialog.append(bar, frame);
  document.body.append(dialog);

  const setMasks = (visible) => {
    document.body.classList.toggle("no-masks", !visible);
    for (const button of [toggle, masks]) if (button) button.setAttribute("aria-pressed", String(visible));
  };
  const flip = () => setMasks(document.body.classList.contains("no-masks"));

  const show = (index) => {
    shown = (index + pictures.length) % pictures.length;
    const from = pictures[shown].parentElement;
    const layers = make("div", { className: "layers" });
    layers.append(...all("img", pictures[shown]).map((one) => one.cloneNode()));
    const caption = from.querySelector("figcaption");
    frame.replaceChildren(layers, ...(caption ? [caption.cloneNode(true)] : []));
    masks.hidden = !layers.querySelector(".mask");
    place.textContent = `${shown + 1} of ${pictures.length}`;
    if (!dialog.open) dialog.showModal();
  };

  const below = (from, direction) => {
    const start = pictures[from].getBoundingClientRect();
    const rows = pictures.map((one, index) => ({ index, box: one.getBoundingClientRect() }))
      .filter(({ box }) => direction * (box.top - start.top) > start.height / 2);
    const near = ({ box }) => Math.abs(box.top - start.top) * 1e4 + Math.abs(box.left - start.left);
    rows.sort((a, b) => near(a) - near(b));
    return rows.length ? rows[0].index : from;
  };
  const moves = {
    ArrowRight: (index) => Math.min(index + 1, pictures.length - 1),
    ArrowLeft: (index) => Math.max(index - 1, 0),
    ArrowDown: (index) => below(index, 1),
    ArrowUp: (index) => below(index, -1),
  };

  pictures.forEach((picture, index) => {
    const image = picture.querySelector("img");
    picture.tabIndex = 0;
    picture.setAttribute("role", "button");
    picture.setAttribute("aria-haspopup", "dialog");
    picture.setAttribute("aria-label", `Enlarge: ${image.alt}`);
    picture.addEventListener("click", () => show(index));
    picture.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "Enter" || event.key === " ") show(index);
      else if (event.key in moves) pictures[moves[event.key](index)].focus();
      else return;
      event.preventDefault();
    });
  });

  back.addEventListener("click", () => show(shown - 1));
  on.addEventListener("click", () => show(shown + 1));
  masks.addEventListener("click", flip);
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => pictures[shown].focus());
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight") show(shown + 1);
    else if (event.key === "ArrowLeft") show(shown - 1);
    else return;
    event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    const plain = !(event.ctrlKey || event.metaKey || event.altKey || event.repeat);
    if (plain && event.key.toLowerCase() === "m" && toggle) flip();
  });
  if (toggle) toggle.addEventListener("click", flip);
  if (tools) tools.hidden = false;
  setMasks(true);

  let folded = [];
  addEventListener("beforeprint", () => {
    folded = all("details:not([open])");
    folded.forEach((one) => { one.open = true; });
  });
  addEventListener("afterprint", () => folded.forEach((one) => { one.open = false; }));
})();
