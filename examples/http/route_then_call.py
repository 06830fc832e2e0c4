"""Route first, then call: tierwise names the model, and the prompt goes to it. Needs `pip install openai`."""

import json
import os
import sys
from urllib.request import Request, urlopen

from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

FALLBACK = os.environ["FALLBACK_MODEL"]  # the model to call where tierwise cannot be asked
URL = os.environ.get("TIERWISE_URL", "http://127.0.0.1:8080")
KEY = os.environ.get("TIERWISE_API_KEY")
TIMEOUT_S = float(os.environ.get("TIERWISE_TIMEOUT_S", "0.2"))
HEADERS = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {KEY}"} if KEY else {})


def model_for(messages: list[ChatCompletionMessageParam]) -> str:
    """Return the model that tierwise names for these messages, else the one to fall back on."""
    request = Request(f"{URL}/v1/route", json.dumps({"messages": messages}).encode(), HEADERS)
    try:
        with urlopen(request, timeout=TIMEOUT_S) as answer:
            return str(json.load(answer)["model"])
    except Exception as error:  # whatever becomes of tierwise, the prompt is answered
        print(f"tierwise named no model ({type(error).__name__}); calling {FALLBACK}", file=sys.stderr)
        return FALLBACK


messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": sys.argv[1]}]
client = OpenAI()  # reads OPENAI_API_KEY and OPENAI_BASE_URL
completion = client.chat.completions.create(model=model_for(messages), messages=messages)
print(completion.choices[0].message.content)
