// What must be looked at after each redraw of the page, once a frame: window.agvOnRedraw(what).
(() => {
  const all = [];
  let due = 0;
  const later = () => { cancelAnimationFrame(due); due = requestAnimationFrame(() => { for (const what of all) what(); }); };
  window.agvOnRedraw = (what) => { all.push(what); if (document.body) later(); };
  const start = () => {
    new MutationObserver(later).observe(document.body, { childList: true, subtree: true });
    later();
  };
  document.body ? start() : addEventListener("DOMContentLoaded", start);
})();
