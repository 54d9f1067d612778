import { describe, expect, it } from 'vitest';
import { createGeminiState, remember, takeId } from '../../../../collector/agents/gemini/state.ts';

const ARGS = { command: 'ls' };

describe('a call is found by its tool and arguments', () => {
  it('though the first channel that told of it left the tool out', () => {
    const state = createGeminiState();
    remember(state, 'call-1', undefined, ARGS);
    remember(state, 'call-1', 'run_shell_command', ARGS);
    expect(takeId(state, 'run_shell_command', ARGS)).toBe('call-1');
  });

  it('though the first channel told of other arguments, and only once', () => {
    const state = createGeminiState();
    remember(state, 'call-1', 'run_shell_command', { command: 'pwd' });
    remember(state, 'call-1', 'run_shell_command', JSON.stringify(ARGS));
    remember(state, 'call-2', 'run_shell_command', { command: 'pwd' });
    expect(takeId(state, 'run_shell_command', ARGS)).toBe('call-1');
    expect(takeId(state, 'run_shell_command', { command: 'pwd' })).toBe('call-2');
    expect(takeId(state, 'run_shell_command', ARGS)).toBeUndefined();
  });
});
