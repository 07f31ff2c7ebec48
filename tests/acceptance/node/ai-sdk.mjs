// Vercel's AI SDK through its provider for Ollama, against SERVER_URL. Throws where something is not as it should be.
import assert from "node:assert/strict";
import { embedMany, generateText, stepCountIs, streamText, tool } from "ai";
import { createOllama } from "ai-sdk-ollama";
import { z } from "zod";

const ollama = createOllama({ baseURL: process.env.SERVER_URL });
const model = ollama("scripted", { think: false });

const whole = await generateText({ model, prompt: "Hello there" });
assert.match(whole.text, /Hello there/);
assert.equal(whole.finishReason, "stop");

let text = "";
for await (const part of streamText({ model, prompt: "Hello there" }).textStream) text += part;
assert.equal(text, whole.text);

const cities = [];
const weather = tool({
  description: "The weather of a city",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => {
    cities.push(city);
    return "sunny";
  },
});
const answered = await generateText({ model, tools: { weather }, stopWhen: stepCountIs(3), prompt: "Ulm?" });
assert.equal(cities.length, 1);
assert.match(answered.text, /sunny/);

const { embeddings } = await embedMany({ model: ollama.embedding("scripted"), values: ["a", "b"] });
assert.equal(embeddings.length, 2);
console.log("ok");
