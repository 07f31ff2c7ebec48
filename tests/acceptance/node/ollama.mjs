// The official JavaScript client against SERVER_URL. Throws where something is not as it should be.
import assert from "node:assert/strict";
import { Ollama } from "ollama";

const ollama = new Ollama({ host: process.env.SERVER_URL });
const model = "scripted";
const messages = [{ role: "user", content: "What is the weather in Ulm?" }];
const weather = {
  type: "function",
  function: {
    name: "weather",
    description: "The weather of a city",
    parameters: { type: "object", required: ["city"], properties: { city: { type: "string" } } },
  },
};

const { models } = await ollama.list();
assert.ok(models.some((listed) => listed.name === `${model}:latest`));

const shown = await ollama.show({ model });
assert.deepEqual(shown.capabilities, ["tools", "thinking", "completion"]);

const whole = await ollama.chat({ model, messages, think: true });
assert.ok(whole.done);
assert.match(whole.message.thinking, /Let me see/);
assert.match(whole.message.content, /You said/);

let text = "";
let last;
for await (const part of await ollama.chat({ model, messages, stream: true, think: true })) {
  text += part.message.content;
  last = part;
}
assert.equal(text, whole.message.content);
assert.equal(last.done_reason, "stop");

const called = await ollama.chat({ model, messages, tools: [weather], think: false });
const [call] = called.message.tool_calls;
assert.equal(call.function.name, "weather");
assert.equal(typeof call.function.arguments.city, "string");

const answered = await ollama.chat({
  model,
  messages: [...messages, called.message, { role: "tool", content: "sunny", tool_name: "weather" }],
  tools: [weather],
  think: false,
});
assert.match(answered.message.content, /sunny/);

const format = { type: "object", properties: { age: { type: "integer" } }, required: ["age"] };
const structured = await ollama.generate({ model, prompt: "He is 7.", format, think: false });
assert.deepEqual(JSON.parse(structured.response), { age: 7 });

const { embeddings } = await ollama.embed({ model, input: ["a", "b"] });
assert.equal(embeddings.length, 2);

await ollama.copy({ source: model, destination: "copied" });
await ollama.delete({ model: "copied" });
await assert.rejects(ollama.show({ model: "copied" }), /not found/);
await assert.rejects(ollama.chat({ model: "absent", messages }), /not found/);

const ps = await ollama.ps();
assert.equal(ps.models[0].name, `${model}:latest`);
assert.match((await ollama.version()).version, /^\d+\.\d+\.\d+$/);

const stream = await ollama.chat({ model, messages, stream: true, think: true });
stream.abort();
await assert.rejects(async () => {
  for await (const _ of stream);
});
console.log("ok");
