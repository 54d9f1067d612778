import { defineKind } from '../define.ts';
import { words } from '../words.ts';

export const modelTurn = defineKind({
  kind: 'model.turn',
  doc: 'One exchange with the model, or a part of its answer.',
  role: 'conversation',
  required: [],
  optional: [
    'model',
    'provider',
    'response_id',
    'finish_reason',
    'phase',
    'text',
    'input_tokens',
    'output_tokens',
    'cached_tokens',
    'reasoning_tokens',
    'attempt',
    'http_status',
    'duration_ns',
    'outcome',
    'error',
    'truncated',
    'attrs',
  ],
  summary: (e) =>
    `model ${words(e.model)}${e.text === undefined ? '' : `: ${words(e.text)}`}${e.output_tokens === undefined ? '' : ` (${words(e.input_tokens)} in, ${words(e.output_tokens)} out)`}${e.error === undefined ? '' : ` failed: ${words(e.error)}`}`,
  samples: [
    {
      model: 'gpt-5.5',
      phase: 'request',
      input_tokens: 1040,
      output_tokens: 53,
      cached_tokens: 512,
      reasoning_tokens: 16,
      duration_ns: 14000000,
      outcome: 'success',
    },
    {
      model: 'gpt-5.5',
      phase: 'message',
      text: 'I will look around first.',
    },
    {
      outcome: 'failure',
      error: 'http 503',
      http_status: 503,
      attempt: 0,
    },
  ],
});
