// One card for each video: how it gets on, and the film when it is there.
import { call, events, find, json, pause, Refused } from "./api.js";
import { complain, fill } from "./ask.js";
import { hidePreview, load, release, showPoster, showPreview } from "./player.js";
import { isOver, retryOf, wordsOf } from "./words.js";

const MOST_STREAMS = 3; // A browser opens six connections to one host, and some are needed for the rest.
const LOOK_MS = 3000;
const AGAIN_MS = 1000;
const cards = new Map();
let streams = 0;

export function clear() {
  [...cards.keys()].forEach(remove);
}

export function follow(video, first = false) {
  const known = cards.has(video.id);
  show(video, first);
  if (!known && !isOver(video)) keepUp(video.id);
}

export const cardOf = (id) => cards.get(id);

function made(video, first) {
  const card = find("card").content.firstElementChild.cloneNode(true);
  card.dataset.id = video.id;
  card.querySelector("h2").id = `title-${video.id}`;
  card.setAttribute("aria-labelledby", `title-${video.id}`);
  card.querySelector(".cancel").onclick = (event) => cancel(video.id, event.currentTarget);
  card.querySelector(".delete").onclick = () => forget(video.id);
  card.querySelector(".again").onclick = () => fill(video);
  card.querySelector(".play").onclick = async () => (await load(video, card))?.play();
  card.querySelector(".download").onclick = async (event) => {
    if (event.currentTarget.hasAttribute("download")) return;
    event.preventDefault();
    if (await load(video, card)) card.querySelector(".download").click();
  };
  find("videos")[first ? "prepend" : "append"](card);
  cards.set(video.id, card);
  find("none").hidden = true;
  return card;
}

function show(video, first = false) {
  const known = cards.get(video.id), card = known ?? made(video, first), before = card.dataset.status;
  card.dataset.status = video.status;
  card.className = `${video.status} ${video.error?.code ?? ""}`;
  card.querySelector(".download").hidden = video.status !== "completed";
  card.querySelector("h2").textContent = video.prompt ?? video.id;
  card.querySelector(".state").textContent = wordsOf(video);
  card.querySelector(".retry").textContent = retryOf(video);
  card.querySelector(".retry").hidden = !retryOf(video);
  card.querySelector(".warning").textContent = video.x_latentline.warnings.join(" ");
  card.querySelector(".warning").hidden = !video.x_latentline.warnings.length;
  card.querySelector(".stages").replaceChildren(...video.x_latentline.stages.map(chip));
  const progress = card.querySelector("progress");
  progress.value = video.progress;
  progress.hidden = card.querySelector(".cancel").hidden = isOver(video);
  progress.setAttribute("aria-label", `${video.progress} percent of ${video.prompt ?? video.id}`);
  if (before !== undefined && before !== video.status) find("said").textContent = `${video.prompt}: ${wordsOf(video)}`;
  if (video.status === "completed") known ? load(video, card) : showPoster(video, card);
  else if (video.status === "failed") hidePreview(card);
  else showPreview(video, card);
}

function chip({ stage, state, seconds, reused }) {
  const item = document.createElement("li");
  item.className = state;
  const took = reused ? "reused" : `${(seconds ?? 0).toFixed(1)} s`;
  item.textContent = state === "done" ? `✓ ${stage} ${took}` : stage;
  item.setAttribute("aria-label", `${stage}: ${state}`);
  return item;
}

async function cancel(id, button) {
  button.disabled = true;
  button.textContent = "Cancelling";
  try {
    show(await json(`/videos/${id}/cancel`, { method: "POST" }));
  } catch (error) {
    complain(error);
  }
  button.disabled = false;
  button.textContent = "Cancel";
}

async function forget(id) {
  try {
    await call(`/videos/${id}`, { method: "DELETE" });
    remove(id);
  } catch (error) {
    complain(error);
  }
}

function remove(id) {
  const card = cards.get(id);
  if (!card) return;
  const next = card.nextElementSibling ?? card.previousElementSibling;
  if (card.contains(document.activeElement)) (next ?? find("prompt")).focus();
  release(card);
  card.remove();
  cards.delete(id);
  find("none").hidden = cards.size > 0;
}

// Until the end of a video, whatever happens to the connection: by events for a few, by looking for the rest.
async function keepUp(id) {
  let last = null;
  while (cards.has(id)) {
    try {
      if (streams < MOST_STREAMS) last = await listen(id, last);
      else show(await json(`/videos/${id}`));
      find("connection").textContent = "";
      if (last === "done" || !cards.has(id) || ["completed", "failed"].includes(cards.get(id).dataset.status)) return;
    } catch (error) {
      if (error.code === "video_not_found") return remove(id);
      if (!(error instanceof Refused)) throw error;
      if (error.code === null) find("connection").textContent = "The gateway does not answer; it is asked again every second.";
    }
    await pause(streams < MOST_STREAMS ? AGAIN_MS : LOOK_MS);
  }
}

// The id of the last event, or "done" after the final one.
async function listen(id, last) {
  streams += 1;
  try {
    for await (const event of events(id, last)) {
      find("connection").textContent = "";
      last = event.id ?? last;
      if (event.data.deleted) remove(id);
      else show(event.data);
      if (event.event === "done") return "done";
    }
    return last;
  } finally {
    streams -= 1;
  }
}
