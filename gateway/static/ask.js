// The form: what may be asked of each model, what is asked now, and the same as a program.
import { find } from "./api.js";

const FIELDS = ["model", "size", "seconds", "num_inference_steps", "seed"];
const WHOLE = ["seed", "num_inference_steps"];
let models = [];

export function offer(known) {
  models = known;
  find("model").replaceChildren(...models.map(({ id }) => new Option(id)));
  find("model").value = models.find((each) => each.x_latentline.default)?.id ?? models[0]?.id;
  showLimits();
}

export function asked() {
  const body = { prompt: find("prompt").value.trim() };
  for (const name of FIELDS) {
    const value = find(name).value.trim();
    // A seed may be larger than any number that this language holds: then it goes as the digits that were typed.
    const isExact = WHOLE.includes(name) && /^\d+$/.test(value) && Number.isSafeInteger(Number(value));
    if (value) body[name] = isExact ? Number(value) : value;
  }
  return body;
}

export function fill(video) {
  find("prompt").value = video.prompt ?? "";
  if (models.some(({ id }) => id === video.model)) find("model").value = video.model;
  find("size").value = video.size;
  find("seconds").value = video.seconds;
  find("seed").value = video.x_latentline.seed ?? "";
  showLimits();
  showPrograms();
  find("prompt").focus();
}

export function showLimits() {
  const model = models.find(({ id }) => id === find("model").value);
  if (!model) return;
  const { limits, defaults } = model.x_latentline;
  const side = Math.floor(Math.sqrt(limits.max_pixels) / limits.size_multiple) * limits.size_multiple;
  const longest = (limits.max_frames / defaults.fps).toFixed(0);
  find("prompt").maxLength = limits.max_prompt_characters;
  find("size").placeholder = `${defaults.width}x${defaults.height}`;
  find("seconds").placeholder = (defaults.num_frames / defaults.fps).toFixed(1);
  find("num_inference_steps").placeholder = defaults.num_inference_steps;
  find("sizes").replaceChildren(new Option(find("size").placeholder), new Option(`${side}x${side}`));
  find("limits").textContent =
    `${model.id} makes sides that are multiples of ${limits.size_multiple}, from ${limits.min_side}, up to ${side}x${side} or as many ` +
    `pixels in another shape, no wider than ${limits.max_width} and no higher than ` +
    `${limits.max_height}; up to ${longest} s at ${defaults.fps} frames a second; up to ${limits.max_inference_steps} steps; ` +
    `prompts up to ${limits.max_prompt_characters} characters.`;
}

export function showPrograms() {
  const body = asked(), base = new URL("v1", location.href).href;
  const { prompt, model, size, seconds, ...rest } = body;
  const quoted = JSON.stringify(body).replaceAll("'", "'\\''");
  find("curl").textContent =
    `curl ${base}/videos \\\n  -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" \\\n  -d '${quoted}'`;
  const named = Object.entries({ prompt, model, size, seconds }).filter(([, value]) => value !== undefined);
  const given = named.map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  if (Object.keys(rest).length) given.push(`extra_body=${JSON.stringify(rest)}`);
  find("python").textContent =
    `import os\n\nfrom openai import OpenAI\n\nclient = OpenAI(base_url="${base}", api_key=os.environ["KEY"])\n` +
    `video = client.videos.create_and_poll(\n    ${given.join(",\n    ")},\n)\n` +
    `client.videos.download_content(video.id).write_to_file("video.mp4")`;
}

// Says what is wrong, at the field that is.
export function complain(error) {
  find("problem").textContent = error?.message ?? "";
  for (const name of ["prompt", ...FIELDS]) find(name).removeAttribute("aria-invalid");
  const field = FIELDS.includes(error?.param) || error?.param === "prompt" ? find(error.param) : null;
  field?.setAttribute("aria-invalid", "true");
  field?.focus();
}
