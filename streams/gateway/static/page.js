// One page, no build step: asks for videos, follows each by server-sent events, plays what is finished.
const find = (id) => document.getElementById(id);
const FIELDS = ["model", "size", "seconds", "num_inference_steps", "seed"];
const cards = new Map();
let models = [];
let oldest = null;

async function call(path, options = {}) {
  const headers = { ...options.headers, authorization: `Bearer ${find("key").value}` };
  const answer = await fetch(`v1${path}`, { ...options, headers });
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => null);
  throw new Error(told?.error?.message ?? `the server answered ${answer.status}`);
}

const json = async (path, options) => (await call(path, options)).json();

function say(error) {
  find("problem").textContent = error ? error.message ?? String(error) : "";
}

// -- asking ---------------------------------------------------------------------------------------------------------

function asked() {
  const body = { prompt: find("prompt").value };
  for (const name of FIELDS) {
    const value = find(name).value.trim();
    if (value) body[name] = ["seed", "num_inference_steps"].includes(name) && /^\d+$/.test(value) ? Number(value) : value;
  }
  return body;
}

function showPrograms() {
  const body = asked(), base = new URL("v1", location.href).href.replace(/\/$/, "");
  const { prompt, model, size, seconds, ...rest } = body;
  const quoted = JSON.stringify(body).replaceAll("'", "'\\''");
  find("curl").textContent =
    `curl ${base}/videos -H "authorization: Bearer $KEY" -H "content-type: application/json" -d '${quoted}'`;
  const named = Object.entries({ prompt, model, size, seconds }).filter(([, value]) => value);
  const given = named.map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  if (Object.keys(rest).length) given.push(`extra_body=${JSON.stringify(rest)}`);
  find("python").textContent =
    `from openai import OpenAI\nclient = OpenAI(base_url="${base}", api_key=KEY)\n` +
    `video = client.videos.create_and_poll(${given.join(", ")})\n` +
    `client.videos.download_content(video.id).write_to_file("video.mp4")`;
}

function showLimits() {
  const model = models.find((each) => each.id === find("model").value);
  if (!model) return;
  const { limits, defaults } = model.x_latentline;
  find("size").placeholder = `${defaults.width}x${defaults.height}`;
  find("seconds").placeholder = (defaults.num_frames / defaults.fps).toFixed(1);
  find("num_inference_steps").placeholder = defaults.num_inference_steps;
  find("limits").textContent =
    `${model.id}: sides are multiples of ${limits.size_multiple}, from ${limits.min_side} pixels, at most ` +
    `${limits.max_pixels} pixels a frame; at most ${limits.max_frames} frames, ` +
    `${limits.max_inference_steps} steps, ${limits.max_prompt_characters} characters.`;
}

async function submit(event) {
  event.preventDefault();
  say();
  const button = event.target.querySelector("button[type=submit]");
  button.disabled = true;
  try {
    const headers = { "content-type": "application/json", "idempotency-key": newKey() };
    follow(await json("/videos", { method: "POST", headers, body: JSON.stringify(asked()) }), true);
  } catch (error) {
    say(error);
  } finally {
    button.disabled = false;
  }
}

const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16)).join("-");

// -- cards ----------------------------------------------------------------------------------------------------------

function cardOf(video, first) {
  if (cards.has(video.id)) return cards.get(video.id);
  const card = find("card").content.firstElementChild.cloneNode(true);
  card.querySelector(".cancel").onclick = () => call(`/videos/${video.id}/cancel`, { method: "POST" }).catch(say);
  card.querySelector(".delete").onclick = () => forget(video.id);
  card.querySelector(".again").onclick = () => useAgain(video);
  find("videos")[first ? "prepend" : "append"](card);
  cards.set(video.id, card);
  return card;
}

function follow(video, first = false) {
  show(video, first);
  if (!isOver(video)) listen(video.id);
}

const isOver = (video) => video.status === "completed" || video.status === "failed";

function show(video, first) {
  const card = cardOf(video, first);
  card.className = video.status;
  card.querySelector("h2").textContent = video.prompt ?? video.id;
  card.querySelector(".state").textContent = words(video);
  const progress = card.querySelector("progress");
  progress.value = video.progress;
  progress.hidden = isOver(video);
  progress.setAttribute("aria-label", `${video.progress} percent`);
  card.querySelector(".cancel").hidden = isOver(video);
  card.querySelector(".stages").replaceChildren(...video.x_latentline.stages.map(chip));
  if (video.status === "completed") play(video, card);
}

function chip({ stage, state, seconds }) {
  const item = document.createElement("li");
  item.className = state;
  item.textContent = state === "done" ? `${stage} ${seconds.toFixed(1)} s` : stage;
  item.setAttribute("aria-label", `${stage}: ${state}`);
  return item;
}

function words(video) {
  const { stage, waiting, step, steps_total, queue_position, eta_s, last_retry } = video.x_latentline;
  if (video.status === "failed") return `failed: ${video.error.message}`;
  if (video.status === "completed") return `finished, ${video.size}, ${video.seconds} s`;
  const parts = [waiting ? `waits for ${stage}, ${queue_position} before it` : stage];
  if (step !== null) parts.push(`step ${step} of ${steps_total}`);
  if (eta_s) parts.push(`about ${Math.ceil(eta_s[0])} to ${Math.ceil(eta_s[1])} s of work left`);
  if (last_retry) parts.push(`again after: ${last_retry}`);
  return parts.join(" · ");
}

async function play(video, card) {
  const player = card.querySelector("video"), link = card.querySelector(".download");
  if (player.src || card.dataset.loading) return;
  card.dataset.loading = "yes";
  try {
    const blob = await (await call(`/videos/${video.id}/content?delivery=proxy`)).blob();
    player.src = link.href = URL.createObjectURL(blob);
    link.download = `${video.id}.mp4`;
    player.setAttribute("aria-label", video.prompt);
    player.hidden = link.hidden = false;
  } catch (error) {
    say(error);
  } finally {
    delete card.dataset.loading;
  }
}

async function forget(id) {
  try {
    await call(`/videos/${id}`, { method: "DELETE" });
    remove(id);
  } catch (error) {
    say(error);
  }
}

function remove(id) {
  const card = cards.get(id), source = card?.querySelector("video").src;
  if (source) URL.revokeObjectURL(source);
  card?.remove();
  cards.delete(id);
}

function useAgain(video) {
  find("prompt").value = video.prompt ?? "";
  find("size").value = video.size;
  find("seed").value = video.x_latentline.seed ?? "";
  showPrograms();
  find("prompt").focus();
}

// -- events: EventSource cannot carry a key, so the stream is read by hand --------------------------------------------

async function listen(id) {
  let last = null;
  while (cards.has(id)) {
    try {
      const headers = last ? { "last-event-id": last } : {};
      const { body } = await call(`/videos/${id}/events`, { headers });
      for await (const event of eventsOf(body)) {
        last = event.id ?? last;
        if (event.data.deleted) return remove(id);
        show(event.data);
        if (event.event === "done") return;
      }
    } catch (error) {
      if (/there is no video/.test(error.message)) return remove(id);
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

async function* eventsOf(body) {
  let text = "";
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let { value, done } = await reader.read(); !done; { value, done } = await reader.read()) {
    const parts = (text + value).split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const lines = part.split("\n").map((line) => line.match(/^(\w+): (.*)$/)).filter(Boolean);
      const event = Object.fromEntries(lines.map(([, name, rest]) => [name, rest]));
      if (event.data) yield { ...event, data: JSON.parse(event.data) };
    }
  }
}

// -- beginning ------------------------------------------------------------------------------------------------------

async function older() {
  const page = await json(`/videos?limit=12${oldest ? `&after=${oldest}` : ""}`);
  page.data.forEach((video) => follow(video));
  oldest = page.last_id ?? oldest;
  find("more").hidden = !page.has_more;
}

async function begin() {
  say();
  [...cards.keys()].forEach(remove);
  oldest = null;
  try {
    models = (await json("/models")).data;
    find("model").replaceChildren(...models.map(({ id }) => new Option(id)));
    find("model").value = models.find((each) => each.x_latentline.default)?.id ?? models[0].id;
    showLimits();
    await older();
    localStorage.setItem("key", find("key").value);
  } catch (error) {
    say(error);
  }
  showPrograms();
}

find("ask").onsubmit = submit;
find("ask").oninput = showPrograms;
find("model").onchange = showLimits;
find("key").onchange = begin;
find("more").onclick = () => older().catch(say);
find("key").value = localStorage.getItem("key") || (await (await fetch("page.json")).json()).key;
begin();
