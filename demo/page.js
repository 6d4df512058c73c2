// What happens in the browser alone: keys, scrolling, popovers, and the echo of a question until the server's own message
// comes. Everything is delegated from the document,
// because gradio redraws messages while a reply streams. Server events go through window.agvSend (the hidden bridge).
(() => {
  const putOnClipboard = async (text) => {
    if (navigator.clipboard && isSecureContext) return navigator.clipboard.writeText(text);
    const field = document.createElement("textarea"); // plain http in a factory's network has no clipboard API
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  };

  const save = async (link) => { // the server's name for a file would win over the link's, and tells no one anything
    const answer = await fetch(link.href);
    if (!answer.ok) return void window.open(link.href);
    const url = URL.createObjectURL(await answer.blob());
    Object.assign(document.createElement("a"), { href: url, download: link.download }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
  };

  const askAgain = (button) => {
    const words = button.closest(".agv-edit").querySelector("textarea").value.trim();
    if (words) window.agvSend?.("edit", { value: words, reply: button.dataset.agvEdit });
  };

  // --- the echo: a question shows at once, with a skeleton, before the server has answered ---

  const scroller = () => document.querySelector("#agv-chat .bubble-wrap");
  const rows = () => document.querySelectorAll("#agv-chat .bot-row").length;
  let echoed = -1; // rows there were when the echo was shown
  const dropEcho = () => {
    document.getElementById("agv-echo")?.remove();
    document.getElementById("agv-chat")?.classList.remove("agv-echoing");
    echoed = -1;
  };
  const make = (tag, name, text = "") => Object.assign(document.createElement(tag), { className: name, textContent: text });
  const echo = (words, pictures) => {
    const wrap = scroller();
    if (!wrap || (!words && !pictures.length)) return;
    dropEcho();
    const box = make("div", "agv-echo");
    box.id = "agv-echo";
    const said = make("div", "agv-question agv-echo-said");
    for (const src of pictures) {
      const photo = make("figure", "agv-asked");
      photo.append(Object.assign(new Image(), { src, alt: "" }));
      said.append(photo);
    }
    said.append(make("p", "agv-said", words));
    const skeleton = make("div", "agv-skeleton agv-skeleton-bare");
    skeleton.append(make("div", "agv-stage-name", "…"));
    box.append(said, skeleton);
    wrap.append(box);
    document.getElementById("agv-chat").classList.add("agv-echoing");
    echoed = rows();
    pinned = true;
    wrap.scrollTop = wrap.scrollHeight;
    setTimeout(() => { if (box.isConnected) dropEcho(); }, 8000); // the question was refused
  };
  const send = () => {
    const box = document.getElementById("agv-box");
    if (!box?.querySelector(".submit-button:not([disabled])")) return;
    echo(box.querySelector("textarea").value.trim(), [...box.querySelectorAll(".thumbnail-wrapper img, .thumbnail-item img")].map((i) => i.src));
  };

  // --- a stop and a new chat show at once; the server hears of them when the engine's step ends ---

  const GIVEN_UP_MS = 60000; // the server has not answered: what was hidden comes back
  const stopButton = () => document.querySelector("#agv-box .stop-button");
  let stopping = "", stopped = null; // the word to show, and the button that was pressed
  const showStop = () => {
    if (!stopButton() || stopping) return;
    stopping = document.querySelector(".agv-header").dataset.stopping;
    stopped = stopButton();
    setTimeout(keepStop); // gradio takes no click of a disabled button
  };
  const keepStop = () => { // redrawn while it runs on
    const chat = document.getElementById("agv-chat");
    if (!stopping || !chat) return;
    if (stopButton() !== stopped) stopping = "";
    else stopped.disabled = true;
    chat.classList.toggle("agv-stopping", !!stopping);
    chat.style.setProperty("--agv-stopping", JSON.stringify(stopping));
    const stage = [...chat.querySelectorAll(".bot-row .agv-stage-name")].pop();
    if (stopping && stage && stage.textContent !== stopping) stage.textContent = stopping;
  };
  const showCleared = () => {
    const chat = document.getElementById("agv-chat");
    if (!rows()) return;
    chat.classList.add("agv-clearing");
    setTimeout(() => chat.classList.remove("agv-clearing"), GIVEN_UP_MS);
  };
  const keepCleared = () => {
    if (!rows() || document.querySelector(".toast-body.error")) document.getElementById("agv-chat")?.classList.remove("agv-clearing");
  };

  // --- scrolling: the newest reply's head stays in view, unless the reader scrolls away ---

  let pinned = false, known = 0, parts = 0; // parts: answers of several engines beside each other
  const pin = () => {
    const wrap = scroller();
    if (!wrap) return;
    const replies = wrap.querySelectorAll(".bot-row");
    if (replies.length !== known) {
      pinned = replies.length > known || pinned;
      known = replies.length;
    }
    const beside = wrap.querySelectorAll(".agv-beside > .agv-part");
    pinned ||= beside.length > parts;
    parts = beside.length;
    if (echoed >= 0 && replies.length !== echoed) dropEcho();
    if (!pinned || !replies.length || echoed >= 0) return;
    const reply = replies[replies.length - 1];
    const asked = [...wrap.querySelectorAll(".user-row")].pop();
    const short = asked && asked.offsetHeight <= wrap.clientHeight / 2; // else only the visitor's own words would be in view
    const newest = [...reply.querySelectorAll(".agv-beside > .agv-part")].pop();
    const first = newest ?? (reply.querySelector(".agv-verdict, .agv-measured, .agv-error") || !short ? reply : asked);
    const top = first.getBoundingClientRect().top - wrap.getBoundingClientRect().top + wrap.scrollTop;
    wrap.scrollTop = Math.max(0, top - 8);
  };
  const release = (event) => { if (event.target.closest?.("#agv-chat")) pinned = false; };
  for (const kind of ["wheel", "touchmove", "pointerdown", "agv-look"]) document.addEventListener(kind, release, { passive: true });
  document.addEventListener("load", (event) => { if (event.target.closest?.("#agv-chat")) pin(); }, true); // sizes are known now

  // --- a long question shows its first lines, and the rest when asked to ---

  const unfolded = new Set(); // reply ids, so that a redrawn question looks as it did
  const fold = () => {
    for (const button of document.querySelectorAll("[data-agv-more]")) {
      const open = unfolded.has(button.dataset.agvMore), said = button.previousElementSibling;
      said.classList.toggle("agv-folded", !open);
      const word = open ? button.dataset.less : button.dataset.more;
      if (button.textContent !== word) button.textContent = word;
      button.setAttribute("aria-expanded", String(open));
      button.hidden = !open && said.offsetHeight > 0 && said.scrollHeight <= said.clientHeight + 1;
    }
  };

  // --- popovers: the engine's card and the help ---

  const closePopovers = (except) => {
    for (const help of document.querySelectorAll(".agv-help[open]")) if (help !== except) help.open = false;
    for (const button of document.querySelectorAll("[data-agv-panel][aria-expanded=true]"))
      if (button !== except) openPanel(button, false);
  };
  let openedFrom = null; // what had the focus before a panel
  const openPanel = (button, on) => {
    button.setAttribute("aria-expanded", String(on));
    const panel = document.getElementById(button.dataset.agvPanel);
    panel.classList.toggle("agv-open", on);
    if (!on) return;
    openedFrom = document.activeElement;
    Object.assign(panel, { tabIndex: -1, role: "dialog", ariaLabel: button.title });
    panel.focus();
  };

  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-agv-panel]");
    const help = event.target.closest(".agv-help");
    if (!event.target.closest("#agv-card")) closePopovers(opener || help);
    if (opener) {
      const open = opener.getAttribute("aria-expanded") !== "true";
      if (open) window.agvSend?.("card", {}); // a reply's card may have been in it
      return openPanel(opener, open);
    }
    if (event.target.closest("#agv-box .submit-button")) send();
    if (event.target.closest("#agv-box .stop-button")) showStop();
    if (event.target.closest("#agv-new")) showCleared();
    const file = event.target.closest(".agv-files a[download]");
    if (file && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      return void save(file);
    }
    const edit = event.target.closest("[data-agv-edit]");
    if (edit) return askAgain(edit);
    const more = event.target.closest("[data-agv-more]");
    if (more) {
      const id = more.dataset.agvMore;
      if (!unfolded.delete(id)) unfolded.add(id);
      return fold();
    }
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
    if (action.dataset.agv === "card") openPanel(document.querySelector("[data-agv-panel=agv-card]"), true);
    if (action.dataset.agv === "other") action.closest("details").open = false;
    if (action.dataset.agv === "ask" && document.querySelector("#agv-box .submit-button")) echo(action.dataset.value, []);
    if (action.dataset.agv === "example") {
      action.classList.add("agv-pressed");
      setTimeout(() => action.classList.remove("agv-pressed"), 600);
      if (document.querySelector("#agv-box .submit-button")) echo(action.dataset.words, [action.querySelector("img").src]);
    }
    window.agvSend?.(action.dataset.agv, { value: action.dataset.value, reply: action.dataset.reply || null });
  });

  document.addEventListener("keydown", (event) => {
    const edit = event.target.closest?.(".agv-edit");
    if (edit && event.key === "Enter" && !event.shiftKey && event.target.tagName === "TEXTAREA") {
      event.preventDefault();
      return askAgain(edit.querySelector("button"));
    }
    if (edit && event.key === "Escape") return void (edit.open = false);
    const open = document.querySelector(".agv-help[open] summary, [data-agv-panel][aria-expanded=true]");
    if (event.key === "Escape" && open) {
      closePopovers();
      const back = open.matches("[data-agv-panel]") && openedFrom?.isConnected ? openedFrom : open;
      return back.focus();
    }
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.target.matches?.("#agv-box textarea")) send();
    if (event.key !== "Escape" || event.defaultPrevented) return;
    showStop();
    window.agvSend?.("halt", {});
  }, true); // before gradio empties the box

  // Names for gradio's own icon-only controls, and uploads noticed as soon as their thumbnail appears.
  // A file input says nothing when the file that it still holds is chosen again.
  const forgetFiles = (box) => { for (const file of box.querySelectorAll("input[type=file]")) file.value = ""; };
  document.addEventListener("click", (event) => {
    if (event.target.matches?.("#agv-box input[type=file]")) event.target.value = "";
  }, true);
  let thumbs = 0;
  const tidy = () => {
    keepStop();
    keepCleared();
    fold();
    pin();
    const box = document.getElementById("agv-box");
    if (box) {
      const field = box.querySelector("textarea");
      if (field && !field.getAttribute("aria-label")) field.setAttribute("aria-label", field.placeholder || "Message");
      for (const file of box.querySelectorAll("input[type=file]:not([aria-label])")) file.setAttribute("aria-label", "Image file");
      for (const file of box.querySelectorAll("input[type=file]:not([accept])")) file.accept = "image/*,.tif,.tiff,.bmp,.webp"; // in the file dialog
      const now = box.querySelectorAll(".thumbnail-wrapper").length;
      if (now > thumbs) window.agvSend?.("upload", {});
      if (now !== thumbs) forgetFiles(box); // taken or sent: the same file may come again
      thumbs = now;
    }
    for (const button of document.querySelectorAll("#agv-box button:not([aria-label]), #agv-chat button:not([aria-label])"))
      if (!button.textContent.trim())
        button.setAttribute("aria-label", button.title || (button.dataset.testid || button.className || "button").split(" ")[0].replace(/[-_]/g, " "));
  };
  window.agvOnRedraw(tidy);
})();
