"""The same API through LiteLLM's video calls: a second opinion. Run by its own Python.

Content is not fetched: `video_content` of 1.80.0 takes an `api_base` and does not pass it on, so it would ask
api.openai.com, with the key of this line.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid

given = json.loads(sys.argv[1])
# Its video calls leave out the key that they are given.
os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "OPENAI_API_KEY": given["key"]}
import litellm  # noqa: E402

access = {"api_base": given["url"], "custom_llm_provider": "openai"}
prompt = f"a white square moving up on a purple background, {uuid.uuid4().hex}"
video = litellm.video_generation(prompt=prompt, model="openai/tiny", **access)
deadline = time.monotonic() + 120
while video.status in ("queued", "in_progress"):
    assert time.monotonic() < deadline, video
    time.sleep(1)
    video = litellm.video_status(video_id=video.id, **access)
assert video.status == "completed", video
print(json.dumps({"video": None}))
