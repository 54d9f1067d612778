/** A scripted model that speaks Gemini's generateContent, streaming or not. */
import {
  type Answer,
  type Loose,
  type Model,
  type Part,
  type Script,
  sendJson,
  startScripted,
} from './server.ts';

const listOf = (value: unknown): readonly Loose[] => (Array.isArray(value) ? value : []);

const partOf = (part: Part): Loose =>
  part.type === 'call'
    ? { functionCall: { name: part.name, args: part.input, id: part.id } }
    : { text: part.text, ...(part.type === 'thinking' ? { thought: true } : {}) };

const usageMetadata = {
  promptTokenCount: 900,
  candidatesTokenCount: 40,
  totalTokenCount: 955,
  cachedContentTokenCount: 300,
  thoughtsTokenCount: 15,
};

/** What a model is asked on the side: a judgement in JSON. */
const SIDE = '{"reasoning":"scripted","complexity_score":10,"next_speaker":"user"}';

/** Starts the model. The script is asked with each request. */
export const startGenerate = (script: Script): Promise<Model> =>
  startScripted((body, path, response, count) => {
    const [, model, method] = /models\/([^:]+):(\w+)/.exec(path) ?? [];
    if (model === undefined) return sendJson(response, 404, { error: { code: 404 } });
    if (method === 'countTokens') return sendJson(response, 200, { totalTokens: 321 });
    const contents = listOf(body.contents);
    const results = contents.flatMap((content) =>
      listOf(content.parts).filter((part) => part.functionResponse !== undefined),
    ).length;
    const tools = listOf(body.tools)
      .flatMap((tool) => listOf(tool.functionDeclarations))
      .map((tool) => String(tool.name));
    const config = (body.generationConfig ?? {}) as Loose;
    const id = `gen_${count()}`;
    const answer: Answer =
      config.responseMimeType === 'application/json'
        ? [{ type: 'text', text: SIDE }]
        : script({ results, text: JSON.stringify(contents), tools });
    if ('status' in answer) {
      const error = { code: answer.status, message: 'scripted failure', status: 'INTERNAL' };
      return sendJson(response, answer.status, { error });
    }
    const chunk = (parts: readonly Part[], last: boolean): Loose => ({
      candidates: [
        {
          content: { role: 'model', parts: parts.map(partOf) },
          index: 0,
          ...(last ? { finishReason: 'STOP' } : {}),
        },
      ],
      modelVersion: model,
      responseId: id,
      ...(last ? { usageMetadata } : {}),
    });
    if (method === 'generateContent') return sendJson(response, 200, chunk(answer, true));
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    answer.forEach((part, index) => {
      const data = JSON.stringify(chunk([part], index === answer.length - 1));
      response.write(`data: ${data}\r\n\r\n`);
    });
    response.end();
  });
