import { defineKind } from '../define.ts';
import { words } from '../words.ts';

export const prompt = defineKind({
  kind: 'prompt',
  doc: 'What the agent was asked.',
  role: 'conversation',
  required: [],
  optional: ['prompt', 'prompt_bytes', 'truncated', 'attrs'],
  summary: (e) => `prompt: ${words(e.prompt) || `${words(e.prompt_bytes)} bytes, not kept`}`,
  samples: [
    {
      prompt: 'Fix add() in app.py. Ω',
      prompt_bytes: 24,
    },
    {
      prompt_bytes: 74,
    },
  ],
});
