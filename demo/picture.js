// A reply's picture in the browser: its views, the cut between it and the photo, a click that points at a region, and
// the same picture large, in a dialog. Everything is delegated from the document, because gradio redraws messages.
(() => {
  const DRAG_PX = 4; // less is a click
  const NEAR_PX = 6; // around a region's box, so that a speck can be hit
  const LARGE_PX = 480, LARGEST = 3; // the shorter side of an enlarged strip, and how much it is magnified for that
  const looks = new Map(); // reply id -> {view, cut, more}, so that a redrawn picture looks as it did
  const remembered = (figure) => {
    const id = figure.dataset.reply;
    if (!looks.has(id)) looks.set(id, { view: figure.dataset.view, cut: 100 });
    return looks.get(id);
  };
  const apply = (figure) => {
    const { view, cut, more } = remembered(figure);
    const rest = figure.querySelector(".agv-more");
    if (rest && rest.open !== !!more) rest.open = !!more;
    if (figure.dataset.view !== view) figure.dataset.view = view;
    figure.style.setProperty("--cut", cut + "%");
    const slide = figure.querySelector(".agv-slide");
    if (slide && +slide.value !== cut) slide.value = cut;
    for (const button of figure.querySelectorAll("[data-agv-view]"))
      button.setAttribute("aria-pressed", String(button.dataset.agvView === view));
  };
  const look = (figure, change) => {
    Object.assign(remembered(figure), change);
    document.querySelectorAll(`.agv-pic[data-reply="${figure.dataset.reply}"]`).forEach(apply);
  };

  // --- the pointer: a drag moves the cut, a click points at a region ---

  const chipAt = (canvas, event) => {
    const figure = canvas.closest(".agv-pic"), frame = canvas.getBoundingClientRect();
    const scale = frame.width / figure.style.getPropertyValue("--w"), near = NEAR_PX / scale;
    const x = (event.clientX - frame.left) / scale, y = (event.clientY - frame.top) / scale;
    let found = null, least = Infinity;
    for (const chip of document.querySelectorAll(`.agv-chip[data-reply="${figure.dataset.reply}"]`)) {
      const [left, top, right, bottom] = chip.dataset.box.split(",").map(Number), area = (right - left) * (bottom - top);
      const inside = x > left - near && x < right + near && y > top - near && y < bottom + near;
      if (inside && area < least) [found, least] = [chip, area]; // of boxes in each other the innermost
    }
    return found;
  };
  const canvasOf = (event) => {
    const canvas = event.target.closest?.(".agv-pic[data-reply] .agv-canvas");
    return canvas && canvas.closest(".agv-pic").dataset.view !== "photo" ? canvas : null;
  };
  let press = null; // {canvas, x, y, dragged}
  const pressed = () => { // the canvas, also when words that stream had its message drawn anew
    if (!press.canvas.isConnected)
      press.canvas = document.querySelector(`#agv-chat .agv-pic[data-reply="${press.canvas.closest(".agv-pic").dataset.reply}"] .agv-canvas`);
    return press.canvas;
  };
  document.addEventListener("pointerdown", (event) => {
    const canvas = event.button ? null : canvasOf(event);
    press = canvas && { canvas, x: event.clientX, y: event.clientY, dragged: false };
  });
  document.addEventListener("pointermove", (event) => {
    if (!press) {
      const canvas = canvasOf(event);
      if (canvas) canvas.style.cursor = chipAt(canvas, event) ? "pointer" : "";
      return;
    }
    const canvas = pressed();
    if (!canvas) return void (press = null);
    if (!press.dragged && Math.abs(event.clientX - press.x) > DRAG_PX) {
      press.dragged = true;
      canvas.setPointerCapture(event.pointerId);
    }
    if (!press.dragged) return;
    const frame = canvas.getBoundingClientRect();
    const cut = Math.min(100, Math.max(0, (100 * (event.clientX - frame.left)) / frame.width));
    look(canvas.closest(".agv-pic"), { cut: Math.round(2 * cut) / 2 });
  });
  document.addEventListener("pointerup", (event) => {
    if (press && !press.dragged && Math.hypot(event.clientX - press.x, event.clientY - press.y) <= DRAG_PX && pressed())
      chipAt(press.canvas, event)?.click();
    press = null;
  });
  document.addEventListener("pointercancel", () => { press = null; });
  document.addEventListener("input", (event) => { // by keys
    if (event.target.classList?.contains("agv-slide")) look(event.target.closest(".agv-pic"), { cut: +event.target.value });
  });

  document.addEventListener("toggle", (event) => { // the list of all regions
    if (event.target.matches?.(".agv-more") && event.target.isConnected) remembered(event.target.closest(".agv-pic")).more = event.target.open;
  }, true);

  // --- enlarged ---

  const dialog = () => document.getElementById("agv-large");
  const enlarge = (button) => {
    dialog()?.remove();
    const figure = button.closest(".agv-pic"), large = figure.cloneNode(true), box = document.createElement("dialog");
    const close = Object.assign(document.createElement("button"), { type: "button", textContent: "×", autofocus: true });
    large.querySelector(".agv-chips")?.remove();
    large.querySelector("[data-agv-enlarge]").replaceWith(close);
    close.title = close.ariaLabel = button.dataset.close;
    Object.assign(box, { id: "agv-large", ariaLabel: button.dataset.title });
    box.append(large);
    document.querySelector(".gradio-container").append(box);
    const [width, height] = ["naturalWidth", "naturalHeight"].map((side) => Math.max(...[...figure.querySelectorAll("img")].map((i) => i[side])));
    const fit = Math.min((innerWidth - 60) / width, (innerHeight - 110) / height);
    large.style.setProperty("--large", width * Math.max(1, fit, Math.min(LARGEST, LARGE_PX / Math.min(width, height))) + "px");
    const shut = () => box.close();
    close.addEventListener("click", shut);
    box.addEventListener("click", (event) => { if (event.target === box) shut(); });
    box.addEventListener("close", () => {
      box.remove();
      document.querySelector(`.agv-pic[data-reply="${figure.dataset.reply}"] [data-agv-enlarge]`)?.focus({ preventScroll: true });
    });
    apply(large);
    box.showModal();
  };
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !dialog()) return;
    event.preventDefault();
    event.stopImmediatePropagation(); // it stops no reply
    dialog().close();
  }, true);

  document.addEventListener("click", (event) => {
    const view = event.target.closest("[data-agv-view]");
    if (view) look(view.closest(".agv-pic"), { view: view.dataset.agvView });
    const button = event.target.closest("[data-agv-enlarge]");
    if (button) enlarge(button);
  });

  window.agvOnRedraw(() => {
    document.querySelectorAll(".agv-pic[data-reply]").forEach(apply);
    const large = dialog()?.querySelector(".agv-pic");
    const now = large && document.querySelector(`#agv-chat .agv-pic[data-reply="${large.dataset.reply}"]`);
    for (const [n, layer] of [...(now?.querySelectorAll("img") ?? [])].entries()) { // a region was pointed at
      const shown = large.querySelectorAll("img")[n];
      if (shown && shown.src !== layer.src) shown.src = layer.src;
    }
  });
})();
