// A finished video: poster first, the file when it is wanted, and a scrub bar that shows frames of the spritesheet.
import { blobOf } from "./api.js";

const COLUMNS = 5;
const HIDE_AFTER_MS = 1200;

export async function showPoster(video, card) {
  const play = card.querySelector(".play"), screen = card.querySelector(".screen");
  const poster = await kept(card, "poster", `/videos/${video.id}/content?variant=thumbnail&delivery=proxy`);
  if (!poster) return;
  play.querySelector("img").src = poster;
  play.setAttribute("aria-label", `Play: ${video.prompt}`);
  play.hidden = screen.hidden = false;
}

export async function load(video, card) {
  const player = card.querySelector("video"), link = card.querySelector(".download"), play = card.querySelector(".play");
  if (player.src) return player;
  const source = await kept(card, "video", `/videos/${video.id}/content?delivery=proxy`);
  if (!source) return null;
  player.src = link.href = source;
  link.download = `${fileName(video)}.mp4`;
  player.setAttribute("aria-label", video.prompt ?? video.id);
  player.hidden = card.querySelector(".screen").hidden = false;
  play.hidden = true;
  hidePreview(card);
  if (video.x_latentline.variants.includes("spritesheet")) await addScrub(video, card, player);
  return player;
}

async function addScrub(video, card, player) {
  const sheet = await kept(card, "sheet", `/videos/${video.id}/content?variant=spritesheet&delivery=proxy`);
  if (!sheet) return;
  const tiles = Math.min(video.x_latentline.num_frames, COLUMNS * COLUMNS), rows = Math.ceil(tiles / COLUMNS);
  const [width, height] = video.size.split("x").map(Number);
  const scrub = card.querySelector(".scrub"), slider = scrub.querySelector("input"), tile = card.querySelector(".tile");
  Object.assign(tile.style, { backgroundImage: `url("${sheet}")`, backgroundSize: `${COLUMNS * 100}% ${rows * 100}%`, aspectRatio: `${width} / ${height}` });
  slider.max = tiles - 1;
  let hiding = 0;
  slider.oninput = () => {
    const place = Number(slider.value), across = place % COLUMNS, down = Math.floor(place / COLUMNS);
    tile.style.backgroundPosition = `${(across * 100) / (COLUMNS - 1)}% ${rows > 1 ? (down * 100) / (rows - 1) : 0}%`;
    tile.hidden = false;
    clearTimeout(hiding);
    hiding = setTimeout(() => (tile.hidden = true), HIDE_AFTER_MS);
    player.currentTime = (place / Math.max(tiles - 1, 1)) * Math.max(player.duration - 0.5 / video.x_latentline.fps, 0);
    slider.setAttribute("aria-valuetext", `${player.currentTime.toFixed(1)} of ${player.duration.toFixed(1)} seconds`);
  };
  player.ontimeupdate = () => {
    if (tile.hidden && player.duration) slider.value = Math.round((player.currentTime / player.duration) * (tiles - 1));
  };
  scrub.hidden = false;
}

// What the denoise is becoming: fetched again when there is a newer one.
export async function showPreview(video, card) {
  const { preview_step } = video.x_latentline, image = card.querySelector(".preview");
  if (preview_step === null || image.dataset.step === String(preview_step)) return;
  image.dataset.step = preview_step;
  const source = await kept(card, "preview", `/videos/${video.id}/content?variant=preview`);
  if (!source || !card.querySelector("video").hidden) return;
  image.src = source;
  image.alt = card.querySelector(".caption").textContent = `preview after step ${preview_step}`;
  image.hidden = card.querySelector(".caption").hidden = card.querySelector(".screen").hidden = false;
}

export function hidePreview(card) {
  card.querySelector(".preview").hidden = card.querySelector(".caption").hidden = true;
  card.querySelector(".screen").hidden = card.querySelector("video").hidden && card.querySelector(".play").hidden;
}

// The blob's address, held by its card until there is another or the card goes; null where it cannot be had.
const held = new WeakMap();
const asking = new WeakMap();

async function kept(card, name, path) {
  const busy = asking.get(card) ?? asking.set(card, new Set()).get(card);
  if (busy.has(name)) return null;
  busy.add(name);
  try {
    const source = await blobOf(path);
    const all = held.get(card) ?? held.set(card, {}).get(card);
    if (all[name]) URL.revokeObjectURL(all[name]);
    return (all[name] = source);
  } catch {
    return null;
  } finally {
    busy.delete(name);
  }
}

export function release(card) {
  Object.values(held.get(card) ?? {}).forEach((source) => URL.revokeObjectURL(source));
  held.delete(card);
}

const fileName = (video) => (video.prompt ?? video.id).toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 60) || video.id;
