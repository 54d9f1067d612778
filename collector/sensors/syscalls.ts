/** Linux x86_64 system call numbers and constants that the filter and the supervisor share. */

/** AUDIT_ARCH_X86_64 of linux/audit.h. */
export const ARCH_X86_64 = 0xc000003e;

export const SYS = {
  open: 2,
  sendto: 44,
  connect: 42,
  sendmsg: 46,
  bind: 49,
  clone: 56,
  execve: 59,
  truncate: 76,
  rename: 82,
  mkdir: 83,
  rmdir: 84,
  creat: 85,
  link: 86,
  unlink: 87,
  symlink: 88,
  chmod: 90,
  fchmod: 91,
  ptrace: 101,
  mknod: 133,
  pivot_root: 155,
  prctl: 157,
  arch_prctl: 158,
  chroot: 161,
  mount: 165,
  umount2: 166,
  init_module: 175,
  delete_module: 176,
  exit_group: 231,
  tgkill: 234,
  kexec_load: 246,
  waitid: 247,
  openat: 257,
  mkdirat: 258,
  mknodat: 259,
  unlinkat: 263,
  renameat: 264,
  linkat: 265,
  symlinkat: 266,
  fchmodat: 268,
  unshare: 272,
  open_by_handle_at: 304,
  sendmmsg: 307,
  setns: 308,
  process_vm_readv: 310,
  process_vm_writev: 311,
  finit_module: 313,
  renameat2: 316,
  seccomp: 317,
  memfd_create: 319,
  kexec_file_load: 320,
  bpf: 321,
  execveat: 322,
  pidfd_send_signal: 424,
  io_uring_setup: 425,
  move_mount: 429,
  fsmount: 432,
  pidfd_open: 434,
  openat2: 437,
  pidfd_getfd: 438,
  fchmodat2: 452,
} as const;

export const AT_FDCWD = -100;
export const AT_REMOVEDIR = 0x200;
export const AT_EMPTY_PATH = 0x1000;

export const O_WRONLY = 0o1;
export const O_RDWR = 0o2;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_TRUNC = 0o1000;
export const O_CLOEXEC = 0o2000000;
/** The kernel's __O_TMPFILE without O_DIRECTORY. */
export const O_TMPFILE_BIT = 0o20000000;
/** An open with none of these can't change anything. */
export const O_WRITE_MASK = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC;

export const ARCH_SET_FS = 0x1002;
export const PR_SET_DUMPABLE = 4;
export const PR_SET_CHILD_SUBREAPER = 36;
export const PR_SET_NO_NEW_PRIVS = 38;
/** Execute bits, set-user-id, set-group-id, sticky: the bits that make a chmod worth a stop. */
export const MODE_BITS_WATCHED = 0o7111;

/** clone(2) and unshare(2): the bits that make a namespace (CLONE_NEW*), without NEWTIME. */
export const CLONE_NAMESPACES = 0x7e020000;
/** unshare(2) only: in clone(2) this bit belongs to the signal's number. */
export const CLONE_NEWTIME = 0x80;

export const PTRACE_TRACEME = 0;
export const PTRACE_ATTACH = 16;
export const PTRACE_SEIZE = 0x4206;

export const SECCOMP_SET_MODE_FILTER = 1;
export const SECCOMP_FILTER_FLAG_SPEC_ALLOW = 4;
export const SECCOMP_FILTER_FLAG_NEW_LISTENER = 8;
export const SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 32;
export const SECCOMP_USER_NOTIF_FLAG_CONTINUE = 1;
export const IOCTL_NOTIF_RECV = 0xc0502100;
export const IOCTL_NOTIF_SEND = 0xc0182101;
export const IOCTL_NOTIF_ID_VALID = 0x40082102;
export const IOCTL_NOTIF_SET_FLAGS = 0x40082104;
export const SYNC_WAKE_UP = 1;

export const IOCTL_PIDFD_GET_INFO = 0xc040ff0b;
export const PIDFD_INFO_PID = 1;
export const PIDFD_INFO_EXIT = 8;
