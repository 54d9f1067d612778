/** The registry: a line a kind. To add one: a file here, a line below, `npm run gen`. */

import { access } from './access.ts';
import { alert } from './alert.ts';
import { annotation } from './annotation.ts';
import { approval } from './approval.ts';
import { exec } from './exec.ts';
import { exit } from './exit.ts';
import { file } from './file.ts';
import { gap } from './gap.ts';
import { modelTurn } from './model-turn.ts';
import { net } from './net.ts';
import { policyDecision } from './policy-decision.ts';
import { prompt } from './prompt.ts';
import { sensor } from './sensor.ts';
import { sessionClose } from './session-close.ts';
import { sessionHeartbeat } from './session-heartbeat.ts';
import { sessionOpen } from './session-open.ts';
import { syscall } from './syscall.ts';
import { toolCall } from './tool-call.ts';
import { toolResult } from './tool-result.ts';

export const KINDS = [
  sessionOpen,
  sessionHeartbeat,
  sessionClose,
  gap,
  sensor,
  prompt,
  modelTurn,
  toolCall,
  toolResult,
  approval,
  policyDecision,
  exec,
  exit,
  file,
  net,
  syscall,
  alert,
  annotation,
  access,
] as const;
