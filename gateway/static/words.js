// How a video gets on, in words for people.
const DOING = { encode: "Reading the prompt", denoise: "Denoising", decode: "Decoding", mux: "Finishing the file" };
const FAILED = {
  cancelled: () => "Cancelled.",
  invalid_input: (message) => `This cannot be made: ${message}`,
  gpu_out_of_memory: (message) => `The worker had too little memory. Try a smaller size or fewer seconds. (${message})`,
};

export const isOver = (video) => video.status === "completed" || video.status === "failed";

export function wordsOf(video) {
  const { stage, waiting, step, steps_total, queue_position, eta_s, seed } = video.x_latentline;
  if (video.status === "failed") return failure(video.error);
  if (video.status === "completed") return `${video.size}, ${Number(video.seconds).toFixed(1)} s, seed ${seed}`;
  const parts = [waiting ? queued(stage, queue_position) : DOING[stage] ?? "Working"];
  if (step !== null && !waiting) parts.push(`step ${step} of ${steps_total}`);
  if (eta_s) parts.push(`about ${range(eta_s)} of work left`);
  return parts.join(" · ");
}

function failure({ code, message }) {
  return FAILED[code]?.(message) ?? `Something failed on the server, not in your prompt: ${message}`;
}

function queued(stage, before) {
  if (!before) return `Next in line for ${stage}`;
  return before === 1 ? `Waits for ${stage}, one job before it` : `Waits for ${stage}, ${before} jobs before it`;
}

function range([low, high]) {
  const unit = high >= 90 ? "min" : "s";
  const [from, to] = [low, high].map((seconds) => Math.max(1, Math.ceil(unit === "min" ? seconds / 60 : seconds)));
  return from === to ? `${to} ${unit}` : `${from} to ${to} ${unit}`;
}

export function retryOf({ x_latentline: { attempt, last_retry } }) {
  return last_retry ? `Attempt ${attempt}, since ${last_retry}` : "";
}
