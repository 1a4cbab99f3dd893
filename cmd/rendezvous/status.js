"use strict";
// Fetches the page and replaces the live part, unless the user is selecting text in it.
async function refresh() {
  const live = document.getElementById("live");
  try {
    if (document.hidden || getSelection().toString()) return;
    const answer = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(answer.status);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    live.replaceWith(page.getElementById("live"));
  } catch {
    const state = live.querySelector(".state");
    state.textContent = "The point does not answer.";
    state.classList.add("bad");
  } finally {
    setTimeout(refresh, 2000);
  }
}
setTimeout(refresh, 2000);

// A click on an ID or address selects it. A button copies it, if the browser allows that.
if (navigator.clipboard) {
  for (const code of document.querySelectorAll("header code, li code")) {
    const button = document.createElement("button");
    button.textContent = "copy";
    button.onclick = async () => {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "copied";
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    };
    code.after(" ", button);
  }
}
