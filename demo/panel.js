// The side panel in the browser: on a phone it is a sheet from below, under the picture that its sliders move; what is
// typed into the sliders' number fields; and their tips.
(() => {
  const SHEET_PX = 960; // as in page.css
  const side = () => document.getElementById("agv-side");
  const handle = () => document.querySelector("#agv-drawer > button.label-wrap");
  const isOpen = () => innerWidth <= SHEET_PX && !!handle()?.classList.contains("open");
  const told = () => setTimeout(() => handle()?.setAttribute("aria-expanded", String(handle().classList.contains("open"))), 50);
  let openedFrom = null; // id of the reply whose button opened the sheet

  const toggle = () => { handle().click(); told(); };
  const goBack = () => {
    const button = openedFrom && document.querySelector(`[data-agv=reply][data-value="${openedFrom}"]`);
    openedFrom = null;
    (button || handle())?.focus({ preventScroll: true });
  };
  const showSliders = (reply) => {
    openedFrom = reply;
    if (!isOpen()) toggle();
    setTimeout(() => { // when it is open, and the reply that is selected now has been drawn
      const drawer = document.getElementById("agv-drawer"), title = drawer.querySelector(".agv-h2");
      drawer.scrollTop += title.getBoundingClientRect().top - handle().getBoundingClientRect().bottom - 4;
      side().querySelector("input[type=range]").focus({ preventScroll: true });
      const figure = document.querySelector(`.agv-pic[data-reply="${reply}"]`), wrap = figure?.closest(".bubble-wrap");
      if (!wrap) return;
      figure.dispatchEvent(new Event("agv-look", { bubbles: true }));
      scrollTo(0, 0);
      wrap.scrollTop += figure.getBoundingClientRect().top - wrap.getBoundingClientRect().top - 4;
    }, 400);
  };

  document.addEventListener("click", (event) => {
    const adjust = event.target.closest("[data-agv=reply]");
    if (adjust && innerWidth <= SHEET_PX) showSliders(adjust.dataset.value);
    if (event.isTrusted && event.target.closest("#agv-drawer > button.label-wrap")) {
      told();
      if (openedFrom) setTimeout(goBack, 50);
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !isOpen() || !side().classList.contains("agv-sheet")) return;
    if (event.target.closest?.(".agv-edit") || document.querySelector(".agv-help[open], [data-agv-panel][aria-expanded=true]")) return;
    event.preventDefault(); // it stops no reply
    toggle();
    goBack();
  }, true);

  // A slider's number field: nothing typed is no value, and of a value out of range the nearest is meant; gradio would show an error.
  const isKnob = (field) => field.matches?.("#agv-side input[type=number]");
  document.addEventListener("input", (event) => {
    const field = event.target;
    if (!isKnob(field)) return;
    if (field.value === "") return event.stopImmediatePropagation();
    if (field.max !== "") {
      const nearest = Math.min(Math.max(+field.value, +field.min), +field.max);
      if (nearest !== +field.value) field.value = nearest;
    }
  }, true); // before gradio reads it
  document.addEventListener("focusout", (event) => {
    const field = event.target;
    if (isKnob(field) && field.value === "") field.value = field.closest(".block").querySelector("input[type=range]").value;
  }, true);

  let met = false;
  const tidy = () => {
    if (handle() && !met) {
      met = true; // on a phone the panel starts closed; it is no sheet before, which would cover the page
      setTimeout(() => {
        if (isOpen()) toggle();
        told();
        side().classList.add("agv-sheet");
      }, 100);
    }
    for (const info of document.querySelectorAll("#agv-side .info-text")) {
      const block = info.closest(".block");
      if (block && block.title !== info.textContent.trim()) block.title = info.textContent.trim();
    }
  };
  window.agvOnRedraw(tidy);
})();
