// What happens in the browser alone: views, the before/after slider, keys. Everything is delegated from the document,
// because gradio redraws messages while a reply streams. Server events go through window.agvSend (the hidden bridge).
(() => {
  const views = new Map(); // reply id -> {view, cut}, so that a redrawn picture looks as it did
  const remembered = (figure) => {
    const id = figure.dataset.reply || "";
    if (!views.has(id)) views.set(id, { view: "overlay", cut: 100 });
    return views.get(id);
  };
  const apply = (figure) => {
    const { view, cut } = remembered(figure);
    if (figure.dataset.view !== view) figure.dataset.view = view;
    figure.style.setProperty("--cut", cut + "%");
    const slide = figure.querySelector(".agv-slide");
    if (slide && +slide.value !== cut) slide.value = cut;
    for (const button of figure.querySelectorAll("[data-agv-view]"))
      button.setAttribute("aria-pressed", String(button.dataset.agvView === view));
  };

  const putOnClipboard = async (text) => {
    if (navigator.clipboard && isSecureContext) return navigator.clipboard.writeText(text);
    const field = document.createElement("textarea"); // plain http in a factory's network has no clipboard API
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  };

  const askAgain = (button) => {
    const words = button.closest(".agv-edit").querySelector("textarea").value.trim();
    if (words) window.agvSend?.("edit", { value: words, reply: button.dataset.agvEdit });
  };

  document.addEventListener("click", (event) => {
    const view = event.target.closest("[data-agv-view]");
    if (view) {
      const figure = view.closest(".agv-pic");
      remembered(figure).view = view.dataset.agvView;
      apply(figure);
      return;
    }
    const edit = event.target.closest("[data-agv-edit]");
    if (edit) return askAgain(edit);
    const copy = event.target.closest("[data-agv-copy]");
    if (copy) {
      const said = copy.textContent;
      putOnClipboard(copy.dataset.agvCopy).then(() => {
        copy.textContent = copy.dataset.done;
        setTimeout(() => { copy.textContent = said; }, 1200);
      });
      return;
    }
    const action = event.target.closest("[data-agv]");
    if (!action) return;
    if (action.dataset.agv === "region") {
      const on = action.getAttribute("aria-pressed") !== "true";
      for (const other of document.querySelectorAll(`[data-agv=region][data-reply="${action.dataset.reply}"]`))
        other.setAttribute("aria-pressed", String(on && other.dataset.value === action.dataset.value));
    }
    if (action.dataset.agv === "example") {
      action.classList.add("agv-pressed");
      setTimeout(() => action.classList.remove("agv-pressed"), 600);
    }
    window.agvSend?.(action.dataset.agv, { value: action.dataset.value, reply: action.dataset.reply || null });
  });

  document.addEventListener("input", (event) => {
    if (!event.target.classList?.contains("agv-slide")) return;
    const figure = event.target.closest(".agv-pic");
    remembered(figure).cut = +event.target.value;
    apply(figure);
  });

  document.addEventListener("keydown", (event) => {
    const edit = event.target.closest?.(".agv-edit");
    if (edit && event.key === "Enter" && !event.shiftKey && event.target.tagName === "TEXTAREA") {
      event.preventDefault();
      return askAgain(edit.querySelector("button"));
    }
    if (edit && event.key === "Escape") return void (edit.open = false);
    if (event.key === "Escape" && !event.defaultPrevented) window.agvSend?.("halt", {});
  });

  // Names for gradio's own icon-only controls, and uploads noticed as soon as their thumbnail appears.
  let thumbs = 0;
  let drawerMet = false;
  const tidy = () => {
    document.querySelectorAll("figure.agv-pic[data-reply]").forEach(apply);
    const handle = document.querySelector("#agv-drawer > button.label-wrap");
    if (handle && !drawerMet) {
      drawerMet = true; // on a phone the side panel starts as a closed drawer
      if (innerWidth <= 960) setTimeout(() => handle.click(), 100);
    }
    const box = document.getElementById("agv-box");
    if (box) {
      const field = box.querySelector("textarea");
      if (field && !field.getAttribute("aria-label")) field.setAttribute("aria-label", field.placeholder || "Message");
      for (const file of box.querySelectorAll("input[type=file]:not([aria-label])")) file.setAttribute("aria-label", "Image file");
      const now = box.querySelectorAll(".thumbnail-wrapper").length;
      if (now > thumbs) window.agvSend?.("upload", {});
      thumbs = now;
    }
    for (const info of document.querySelectorAll("#agv-side .info-text")) {
      const block = info.closest(".block");
      if (block && block.title !== info.textContent.trim()) block.title = info.textContent.trim();
    }
    for (const button of document.querySelectorAll("#agv-box button:not([aria-label]), #agv-chat button:not([aria-label])"))
      if (!button.textContent.trim())
        button.setAttribute("aria-label", button.title || (button.dataset.testid || button.className || "button").split(" ")[0].replace(/[-_]/g, " "));
  };
  let due = 0;
  const later = () => { cancelAnimationFrame(due); due = requestAnimationFrame(tidy); };
  const start = () => {
    new MutationObserver(later).observe(document.body, { childList: true, subtree: true });
    tidy();
  };
  document.body ? start() : addEventListener("DOMContentLoaded", start);
})();
