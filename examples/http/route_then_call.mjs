// Route first, then call: tierwise names the model, and the prompt goes to it. Node 18 or newer, no packages.
const env = process.env;
const fallback = env.FALLBACK_MODEL; // the model to call where tierwise cannot be asked
const [prompt] = process.argv.slice(2);
if (!prompt || !fallback) throw new Error('usage: FALLBACK_MODEL=… node route_then_call.mjs "prompt"');

async function post(url, key, seconds, body) {
  const headers = { "content-type": "application/json", ...(key && { authorization: `Bearer ${key}` }) };
  const signal = AbortSignal.timeout(1000 * seconds);
  const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify(body), signal, redirect: "error" });
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}`);
  return answer.json();
}

async function modelFor(messages) {
  const url = `${env.TIERWISE_URL ?? "http://127.0.0.1:8080"}/v1/route`;
  try {
    const { model } = await post(url, env.TIERWISE_API_KEY, env.TIERWISE_TIMEOUT_S ?? 0.2, { messages });
    if (typeof model === "string") return model;
    throw new Error(`${url} is not tierwise`);
  } catch (error) {
    // Whatever becomes of tierwise, the prompt is answered.
    console.error(`tierwise named no model (${error.message}); calling ${fallback}`);
    return fallback;
  }
}

const messages = [{ role: "user", content: prompt }];
const url = `${env.OPENAI_BASE_URL ?? "https://api.openai.com/v1"}/chat/completions`;
const answer = await post(url, env.OPENAI_API_KEY, 600, { model: await modelFor(messages), messages });
console.log(answer.choices[0].message.content);
