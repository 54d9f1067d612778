/**
 * Scripts for node that make raw system calls, with descriptors and structures that no shell
 * can give.
 */
import { createRequire } from 'node:module';

const koffi = createRequire(import.meta.url).resolve('koffi');

/** The command that runs `body` with `call(number, ...arguments)` bound to syscall(2). */
export const withCalls = (body: string): string[] => [
  process.execPath,
  '--input-type=commonjs',
  '-e',
  `const koffi = require(${JSON.stringify(koffi)});
   const fs = require('node:fs');
   const raw = koffi.load(null).func('long syscall(long, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t)');
   const held = [];
   const pointer = (bytes) => (held.push(bytes), koffi.address(bytes));
   const text = (words) => pointer(Buffer.from(words + '\\0'));
   const call = (number, ...args) => {
     const got = raw(number, ...[0, 1, 2, 3, 4].map((i) => args[i] ?? 0));
     return got < 0 ? -koffi.errno() : got;
   };
   ${body}`,
];
