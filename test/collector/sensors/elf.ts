/**
 * Small programs without any C library, as machine code: what an agent could write to go round a
 * sensor that watches libraries only. They call the kernel and nothing else.
 */
import fs from 'node:fs';

const BASE = 0x400000;
const HEADERS_BYTES = 64 + 56;

/** Writes a static x86_64 ELF file that holds `code` and, behind it, `data`. */
export function writeElf(file: string, code: readonly number[], data = Buffer.alloc(0)): void {
  const size = HEADERS_BYTES + code.length + data.length;
  const elf = Buffer.alloc(size);
  elf.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  elf.writeUInt16LE(2, 16); // ET_EXEC
  elf.writeUInt16LE(62, 18); // EM_X86_64
  elf.writeUInt32LE(1, 20);
  elf.writeBigUInt64LE(BigInt(BASE + HEADERS_BYTES), 24); // entry
  elf.writeBigUInt64LE(64n, 32); // program headers
  elf.writeUInt16LE(64, 52);
  elf.writeUInt16LE(56, 54);
  elf.writeUInt16LE(1, 56);
  elf.writeUInt32LE(1, 64); // PT_LOAD
  elf.writeUInt32LE(7, 68); // rwx
  elf.writeBigUInt64LE(BigInt(BASE), 80);
  elf.writeBigUInt64LE(BigInt(BASE), 88);
  elf.writeBigUInt64LE(BigInt(size), 96);
  elf.writeBigUInt64LE(BigInt(size), 104);
  elf.writeBigUInt64LE(0x1000n, 112);
  elf.set(code, HEADERS_BYTES);
  elf.set(data, HEADERS_BYTES + code.length);
  fs.writeFileSync(file, elf, { mode: 0o755 });
}

const u32 = (value: number) => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
const SYSCALL = [0x0f, 0x05];
const INT_80 = [0xcd, 0x80];
/** exit_group with the negated result of the last call as its code: the errno, or 0. */
const EXIT_WITH_ERRNO = [0x89, 0xc7, 0xf7, 0xdf, 0xb8, ...u32(231), ...SYSCALL];

/** `mov eax, number; mov edi, a; mov esi, b; syscall; exit_group(-eax)`. */
export const call64 = (number: number, a: number, b: number): number[] => [
  ...[0xb8, ...u32(number), 0xbf, ...u32(a), 0xbe, ...u32(b), 0x31, 0xd2],
  ...SYSCALL,
  ...EXIT_WITH_ERRNO,
];

/** open(path, O_CREAT|O_WRONLY, 0644) by the 32-bit gate, path behind the code; exits with errno. */
export function openBy32Bit(file: string, path: string): void {
  const before = (at: number) => [
    ...[0xb8, ...u32(5), 0xbb, ...u32(at), 0xb9, ...u32(0o101), 0xba, ...u32(0o644)],
    ...INT_80,
    ...EXIT_WITH_ERRNO,
  ];
  const length = before(0).length;
  writeElf(file, before(BASE + HEADERS_BYTES + length), Buffer.from(`${path}\0`));
}
