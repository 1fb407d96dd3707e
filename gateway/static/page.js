// The page: no build step, nothing from elsewhere. Asks for videos, follows each until its end, plays what is finished.
import { find, json } from "./api.js";
import { asked, complain, offer, showLimits, showPrograms } from "./ask.js";
import { cardOf, clear, follow } from "./cards.js";

const PAGE = 12;
let oldest = null;

const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

async function submit(event) {
  event.preventDefault();
  complain(null);
  const body = asked(), button = event.target.querySelector("button[type=submit]");
  if (!body.prompt) return complain({ message: "Say what the video should show.", param: "prompt" });
  button.disabled = true;
  try {
    const headers = { "content-type": "application/json", "idempotency-key": newKey() };
    const video = await json("/videos", { method: "POST", headers, body: JSON.stringify(body) });
    follow(video, true);
    find("said").textContent = [`Accepted: ${video.prompt}`, ...video.x_latentline.warnings].join(". ");
    cardOf(video.id).scrollIntoView({ block: "nearest" });
  } catch (error) {
    complain(error);
  } finally {
    button.disabled = false;
  }
}

async function copy(event) {
  const button = event.currentTarget, text = find(button.dataset.copies).textContent;
  try {
    await navigator.clipboard.writeText(text);
    find("said").textContent = "Copied";
  } catch {
    // Outside of a secure context there is no clipboard: the text is selected instead.
    getSelection().selectAllChildren(find(button.dataset.copies));
    find("said").textContent = "Selected: copy it with your keyboard";
  }
}

async function older() {
  const page = await json(`/videos?limit=${PAGE}${oldest ? `&after=${oldest}` : ""}`);
  page.data.forEach((video) => follow(video));
  oldest = page.last_id ?? oldest;
  find("more").hidden = !page.has_more;
  find("none").hidden = document.querySelector("article") !== null;
}

async function begin() {
  complain(null);
  clear();
  oldest = null;
  try {
    offer((await json("/models")).data);
    await older();
    localStorage.setItem("key", find("key").value);
  } catch (error) {
    complain(error);
  }
  showPrograms();
}

find("ask").onsubmit = submit;
find("ask").oninput = showPrograms;
find("model").onchange = showLimits;
find("key").onchange = begin;
find("more").onclick = () => older().catch(complain);
find("prompt").onkeydown = (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) find("ask").requestSubmit();
};
document.querySelectorAll("[data-copies]").forEach((button) => (button.onclick = copy));
find("key").value = localStorage.getItem("key") || (await (await fetch("page.json")).json()).key;
begin();
