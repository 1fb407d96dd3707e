// The gateway, as the page talks to it: with the key of the person, and with errors in plain words.
export const find = (id) => document.getElementById(id);
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Refused extends Error {
  // `code` and `param` as in the error shape of the API; code is null where nobody answered.
  constructor(message, code = null, param = null) {
    super(message);
    Object.assign(this, { code, param });
  }
}

const PLAIN = {
  invalid_api_key: "This API key is unknown or was revoked. Put a valid one into the field at the top.",
  too_many_streams: "Too many videos are being followed at once; this one is looked at now and then.",
  temporarily_unavailable: "The line does not take work at the moment. Try again in a few seconds.",
  starting: "The gateway has just started and is still reading. Try again in a few seconds.",
};

export async function call(path, options = {}) {
  const headers = { ...options.headers, authorization: `Bearer ${find("key").value}` };
  let answer;
  try {
    answer = await fetch(`v1${path}`, { ...options, headers });
  } catch {
    throw new Refused("The gateway does not answer. Check that it runs and that you are online.");
  }
  if (answer.ok) return answer;
  const error = (await answer.json().catch(() => null))?.error ?? {};
  throw new Refused(PLAIN[error.code] ?? error.message ?? `The gateway answered ${answer.status}.`, error.code ?? "unknown", error.param);
}

export const json = async (path, options) => (await call(path, options)).json();
export const blobOf = async (path) => URL.createObjectURL(await (await call(path)).blob());

// EventSource cannot carry a key, so the stream is read by hand.
export async function* events(id, last) {
  const { body } = await call(`/videos/${id}/events`, { headers: last ? { "last-event-id": last } : {} });
  if (!body) return;
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    let text = "";
    for (let { value, done } = await reader.read(); !done; { value, done } = await reader.read()) {
      const parts = (text + value).split("\n\n");
      text = parts.pop();
      yield* parts.map(parsed).filter((event) => event.data);
    }
  } catch (error) {
    throw new Refused(`The stream of events broke: ${error.message}`);
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parsed(part) {
  const lines = part.split("\n").map((line) => line.match(/^(\w+): (.*)$/)).filter(Boolean);
  const event = Object.fromEntries(lines.map(([, name, rest]) => [name, rest]));
  return event.data ? { ...event, data: JSON.parse(event.data) } : event;
}
