/* What all parts share: the kernel's words that older headers lack, memory that outlives this
 * process, and the frames (the same as wire.ts draws them). */
#ifndef TELLTALE_BASE_H
#define TELLTALE_BASE_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif
#define SYNC_WAKE_UP 1UL
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425
#endif
#define X32_BIT 0x40000000

enum { EVENTS_FD = 3, CONTROL_FD = 4 };
/* Frame types, wire.ts. */
enum {
  F_HELLO = 1, F_REFUSED, F_PROCESS, F_EXEC_TRY, F_EXEC_DONE, F_EXEC_SETTLE, F_FILE, F_NET,
  F_EXITING, F_EXIT, F_BLOCKED, F_GO, F_NOT_STARTED, F_MAIN_EXIT, F_END, F_RUNNING, F_EXEC_LOST,
  F_CALL, F_DROPPED, F_RESUMED
};
/* FILE_OPS and NET_OPS, wire.ts. */
enum { OP_CREATE, OP_WRITE, OP_RENAME, OP_DELETE, OP_MODE, OP_LINK, OP_SYMLINK, OP_MKDIR,
       OP_RMDIR, OP_TRUNCATE, OP_MKNOD, OP_READ };
enum { NET_CONNECT, NET_BIND, NET_SEND };
enum { EVASION_IO_URING, EVASION_ARCHITECTURE };
enum { FLAG_UNREADABLE = 1, FLAG_TMPFILE = 2, FLAG_RACEABLE = 4 };
#define NO_NUMBER 0xffffffffu

/* Frames are handed over this often at most; a full pipe is waited for in steps of WAIT_MS. */
#define FLUSH_MS 50
#define WAIT_MS 100
/* Longer than the longest frame: the kernel takes at most 6 MiB of arguments. */
#define RING_BYTES (16u << 20)
/* From so many waiting bytes on, the reader is given them at once. */
#define FLUSH_BYTES (64u << 10)
#define ARENA_BYTES (8u << 20)
#define PIDS_MAX (4u << 20)
#define CALLS_MAX 512
#define MARK_BYTES 32

/* Where the arguments of a table-driven call stand; 0xff: none, 0xfe: no path at all. */
struct shape {
  uint16_t number;
  uint8_t op, path, dirfd, path2, dirfd2, mode;
};
enum { SHAPE_NONE = 0xff, SHAPE_NO_PATH = 0xfe, SHAPE_GUARDED = 0xff };

/* What a successor goes on with when this process is killed: see keeper.h. */
struct shared {
  /* Bytes written; handed to the reader; handed to it in whole frames. */
  _Atomic uint64_t tail, head, whole;
  _Atomic uint32_t number;
  _Atomic uint64_t dropped;
  _Atomic bool serving, going, running, ended, done;
  int listener, main_pid;
  struct seccomp_notif notif; /* the call in hand */
  _Atomic int in_hand; /* HAND_ of unotify.h */
  /* `tail` when the writing of the call in hand began. */
  _Atomic uint64_t written_from;
};

static struct shared *shared;
static uint8_t *ring;
static struct {
  bool exit_state, ptrace;
  uint32_t block_ms;
  uint8_t mark[MARK_BYTES];
  const char *argv, *env, *cwd, *keys, *secrets;
  uint32_t argv_size, env_size, cwd_size, keys_size, secrets_size;
  struct sock_fprog filter;
  struct shape shapes[CALLS_MAX];
  bool shaped[CALLS_MAX];
  bool no_new_privs;
} spec;
static pid_t self_pid;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void give_up(const char *what) {
  dprintf(2, "telltale-sensor: %s: %s\n", what, strerror(errno));
  _exit(1);
}

/* Memory of one stop; given up at the next. */
static uint8_t arena[ARENA_BYTES];
static size_t arena_used;
static void *room(size_t size) {
  if (arena_used + size > sizeof arena) return NULL;
  arena_used += size;
  return arena + arena_used - size;
}
static void give_back(size_t size) { arena_used -= size; }

struct part {
  const void *at;
  size_t size;
};
#define PART(text, length) ((struct part){(text), (length)})
#define NO_PART ((struct part){"", 0})

/* ---------- the ring: mapped twice, one behind the other, so that nothing has to wrap ---------- */
static struct timespec now;
static bool dropping;
static void take_time(void) { clock_gettime(CLOCK_MONOTONIC, &now); }
static double ms_of(const struct timespec *at) { return at->tv_sec * 1e3 + at->tv_nsec / 1e6; }

static void make_shared(void) {
  int fd = memfd_create("telltale-ring", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, RING_BYTES) != 0) give_up("ring");
  ring = mmap(NULL, 2 * (size_t)RING_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (ring == MAP_FAILED) give_up("ring");
  for (int half = 0; half < 2; half++)
    if (mmap(ring + (size_t)half * RING_BYTES, RING_BYTES, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
      give_up("ring");
  close(fd);
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) give_up("shared memory");
}

/* Moves `whole` on to the last boundary of frames that the reader has got to. */
static void note_whole(void) {
  uint64_t whole = shared->whole, head = shared->head;
  while (whole < head) {
    uint32_t length;
    memcpy(&length, ring + whole % RING_BYTES, 4);
    if (whole + 4 + length > head) break;
    whole += 4 + length;
  }
  shared->whole = whole;
}

/* For a successor: the reader gives up a torn frame, so it is handed over once more from its start.
 * The three numbers are set one after the other where an empty ring is begun anew. */
static void rewind_ring(void) {
  if (shared->head > shared->tail) shared->tail = shared->head;
  if (shared->whole > shared->head) shared->head = shared->tail = shared->whole;
  shared->head = shared->whole;
}

/* Hands over what waits, as much as the reader takes at once. Ends with the reader. */
static void flush_some(void) {
  for (;;) {
    uint64_t head = shared->head, size = shared->tail - head;
    if (size == 0) return;
    ssize_t sent = send(EVENTS_FD, ring + head % RING_BYTES, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    // Nothing may be done unrecorded: calls of the filter fail from here on.
    if (sent < 0) _exit(1);
    shared->head = head + (uint64_t)sent;
    note_whole();
  }
}

/* Waits for the reader for `ms` in all; true when `size` bytes fit. */
static bool wait_for_room(uint64_t size, double ms) {
  struct timespec began, at;
  clock_gettime(CLOCK_MONOTONIC, &began);
  for (;;) {
    flush_some();
    if (RING_BYTES - (shared->tail - shared->whole) >= size) return true;
    clock_gettime(CLOCK_MONOTONIC, &at);
    if (ms_of(&at) - ms_of(&began) >= ms) return false;
    struct pollfd one = {EVENTS_FD, POLLOUT, 0};
    poll(&one, 1, WAIT_MS);
  }
}

static void put_u32(uint8_t **at, uint32_t value) {
  memcpy(*at, &value, 4);
  *at += 4;
}

static bool put_frame(uint16_t type, uint32_t pid, uint32_t a, uint32_t b, uint16_t flags,
                      const struct part *parts, uint32_t count) {
  uint64_t size = 36;
  for (uint32_t i = 0; i < count; i++) size += 4 + parts[i].size;
  uint64_t tail = shared->tail;
  if (RING_BYTES - (tail - shared->whole) < size && !wait_for_room(size, dropping ? 0 : spec.block_ms))
    return false;
  if (shared->head == tail && tail % RING_BYTES != 0) {
    // An empty ring begins at its start again, which is in the cache.
    uint64_t start = (tail / RING_BYTES + 1) * RING_BYTES;
    shared->whole = start;
    shared->head = start;
    shared->tail = start;
    tail = start;
  }
  uint8_t *at = ring + tail % RING_BYTES;
  put_u32(&at, (uint32_t)size - 4);
  put_u32(&at, type | (uint32_t)flags << 16);
  put_u32(&at, shared->number);
  put_u32(&at, pid);
  put_u32(&at, (uint32_t)now.tv_sec);
  put_u32(&at, (uint32_t)now.tv_nsec);
  put_u32(&at, a);
  put_u32(&at, b);
  put_u32(&at, count);
  for (uint32_t i = 0; i < count; i++) {
    put_u32(&at, (uint32_t)parts[i].size);
    memcpy(at, parts[i].at, parts[i].size);
    at += parts[i].size;
  }
  // A frame counts from here on; a hole in the numbers is better than two of the same.
  shared->number++;
  shared->tail = tail + size;
  return true;
}

/* Writes a frame. When the reader takes nothing for `block_ms`, frames are counted instead. */
static void put(uint16_t type, uint32_t pid, uint32_t a, uint32_t b, uint16_t flags,
                const struct part *parts, uint32_t count) {
  if (dropping && shared->dropped > 0) {
    uint32_t lost = (uint32_t)shared->dropped;
    // Only when half of it is free again, so that it does not go back and forth with each frame.
    flush_some();
    if (RING_BYTES - (shared->tail - shared->whole) < RING_BYTES / 2 ||
        !put_frame(F_DROPPED, 0, lost, 0, 0, NULL, 0)) {
      shared->dropped++;
      return;
    }
    shared->dropped = 0;
    dropping = false;
  }
  if (put_frame(type, pid, a, b, flags, parts, count)) {
    if (shared->tail - shared->head >= FLUSH_BYTES) flush_some();
    return;
  }
  dropping = true;
  shared->dropped++;
}

static void put_text(uint16_t type, uint32_t pid, uint32_t a, const char *form, ...) {
  static char text[4096];
  va_list list;
  va_start(list, form);
  int length = vsnprintf(text, sizeof text, form, list);
  va_end(list);
  if (length >= (int)sizeof text) length = sizeof text - 1;
  put(type, pid, a, 0, 0, &PART(text, (size_t)length), 1);
}

/* The last words: waited for without a bound, since the command is over or goes on unrecorded. */
static void flush_all(void) {
  while (shared->tail != shared->head) {
    flush_some();
    struct pollfd one = {EVENTS_FD, POLLOUT, 0};
    if (shared->tail != shared->head) poll(&one, 1, WAIT_MS);
  }
}
#endif
