// Keeps the page as the fleet is: at each change that the server tells of, the main part is fetched and replaced.
"use strict";
(() => {
  const CALM = 800; // milliseconds between two fetches at least
  const AGAIN = 15000; // and at most, where the server tells nothing: how long something lasts is on the page
  const live = document.getElementById("live");
  const news = document.getElementById("news");
  let last = 0, timer = 0, busy = false, wanted = false, said = "", pressed = false;

  const tell = (words) => { live.hidden = false; if (live.textContent !== words) live.textContent = words; };

  // A link that is replaced between press and release gets no click, and a replaced text is no longer selected.
  const atWork = () => pressed || (getSelection() && !getSelection().isCollapsed);

  // What the person does just now stays: the focus, and what is typed.
  const kept = (main) => {
    const one = document.activeElement;
    if (!one || !main.contains(one) || one === main) return null;
    if (one.matches("input, select")) return { waits: true };
    const like = one.getAttribute("href");
    return { find: (now) => [...now.querySelectorAll("a")].find((a) => a.getAttribute("href") === like) };
  };

  const show = (html) => {
    const now = document.getElementById("main");
    const next = new DOMParser().parseFromString(html, "text/html").getElementById("main");
    const focus = kept(now);
    if (!next || atWork() || (focus && focus.waits)) return;
    const scrolled = [...now.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
    now.replaceWith(next);
    next.querySelectorAll(".scroll").forEach((one, place) => { one.scrollLeft = scrolled[place] || 0; });
    const again = focus && focus.find && focus.find(next);
    if (again) again.focus({ preventScroll: true });
    const words = next.dataset.announcement || "";
    if (words && words !== said) { if (said) news.textContent = words; said = words; }
  };

  const fetchNow = async () => {
    timer = 0;
    if (busy) { wanted = true; return; }
    busy = true; wanted = false; last = Date.now();
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "manual", signal: AbortSignal.timeout(30000) });
      if (answer.type === "opaqueredirect" || answer.status === 401) { location.reload(); return; }
      if (answer.ok || answer.status === 503) show(await answer.text());
      tell(answer.ok ? "live" : "etcd is away");
    } catch { tell("the server is away"); }
    busy = false;
    soon(wanted ? 0 : AGAIN);
  };

  const soon = (wait) => {
    clearTimeout(timer);
    timer = setTimeout(fetchNow, Math.max(wait, last + CALM - Date.now()));
  };

  said = document.getElementById("main").dataset.announcement || "";
  const source = new EventSource(document.body.dataset.events);
  source.addEventListener("open", () => tell("live"));
  source.addEventListener("change", () => soon(0));
  source.addEventListener("error", () => { if (source.readyState !== EventSource.OPEN) tell("connecting"); });
  addEventListener("pointerdown", () => { pressed = true; }, true);
  for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => { pressed = false; soon(CALM); }, true);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) soon(0); });
  soon(AGAIN);
})();
