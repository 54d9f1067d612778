/* Reads a stopped process: its memory, and the kernel's own account of it under /proc. What is
 * returned lies in the arena and is valid until the next stop. */
#ifndef TELLTALE_READING_H
#define TELLTALE_READING_H
#include "base.h"

#define STRING_MAX 4096u
#define FIRST_BYTES 256u
#define ARGUMENT_MAX (128u << 10)
#define ARGUMENTS_MAX (6u << 20)
#define VECTOR_COUNT 64

struct text {
  char *at;
  size_t size;
  bool ok;
};

static ssize_t read_pieces(pid_t pid, void *into, size_t size, const struct iovec *remote, int n) {
  struct iovec local = {into, size};
  ssize_t got = process_vm_readv(pid, &local, 1, remote, (unsigned long)n, 0);
  if (got > 0 || n != 1) return got;
  // Where a kernel or a policy has no process_vm_readv(2).
  char name[32];
  snprintf(name, sizeof name, "/proc/%d/mem", pid);
  int fd = open(name, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  got = pread(fd, into, remote[0].iov_len < size ? remote[0].iov_len : size,
              (off_t)(uintptr_t)remote[0].iov_base);
  close(fd);
  return got;
}

static ssize_t read_memory(pid_t pid, uint64_t at, void *into, size_t size) {
  struct iovec remote = {(void *)at, size};
  return read_pieces(pid, into, size, &remote, 1);
}

/* Up to the end of its page: one read never fails for what lies behind the string. */
static size_t within_page(uint64_t at, size_t size) {
  size_t rest = 4096 - (at & 4095);
  return size < rest ? size : rest;
}

/* Reads on from what is in `text`, until its NUL or `most` bytes. */
static void finish_string(pid_t pid, uint64_t at, struct text *text, size_t most) {
  for (;;) {
    char *end = memchr(text->at, 0, text->size);
    if (end != NULL) {
      give_back(text->size - (size_t)(end - text->at));
      text->size = (size_t)(end - text->at);
      return;
    }
    if (text->size >= most) return;
    size_t want = within_page(at + text->size, most - text->size);
    char *more = room(want);
    if (more == NULL) return;
    ssize_t got = read_memory(pid, at + text->size, more, want);
    if (got <= 0) {
      give_back(want);
      return;
    }
    give_back(want - (size_t)got);
    text->size += (size_t)got;
  }
}

static struct text read_string_max(pid_t pid, uint64_t at, size_t most) {
  size_t want = within_page(at, FIRST_BYTES);
  struct text text = {room(want), 0, false};
  if (text.at == NULL) return text;
  ssize_t got = at == 0 ? -1 : read_memory(pid, at, text.at, want);
  if (got <= 0) {
    give_back(want);
    return text;
  }
  give_back(want - (size_t)got);
  text.size = (size_t)got;
  text.ok = true;
  finish_string(pid, at, &text, most);
  return text;
}
static struct text read_string(pid_t pid, uint64_t at) { return read_string_max(pid, at, STRING_MAX); }

/* The first pointers of a vector, where they were read together with a string; at 0: none. */
static struct {
  uint64_t at, pointers[VECTOR_COUNT];
  ssize_t got;
} vector_head;

/* A string, and the beginning of a vector by the same system call: one of them is a third of what
 * an exec costs here. The vector's pointers are used up by the next `read_vector` of the same `at`. */
static struct text read_string_and_vector(pid_t pid, uint64_t at, uint64_t vector) {
  size_t want = within_page(at, FIRST_BYTES), size = within_page(vector, sizeof vector_head.pointers);
  vector_head.at = 0;
  if (at == 0 || vector == 0) return read_string_max(pid, at, STRING_MAX);
  struct text text = {room(want), 0, false};
  if (text.at == NULL) return text;
  struct iovec local[2] = {{text.at, want}, {vector_head.pointers, size}};
  struct iovec remote[2] = {{(void *)at, want}, {(void *)vector, size}};
  ssize_t got = process_vm_readv(pid, local, 2, remote, 2, 0);
  if (got < (ssize_t)want) {
    give_back(want);
    return read_string_max(pid, at, STRING_MAX);
  }
  vector_head.at = vector;
  vector_head.got = got - (ssize_t)want;
  text.size = want;
  text.ok = true;
  finish_string(pid, at, &text, STRING_MAX);
  return text;
}

/* The strings of a NULL-ended vector, each with its NUL, one behind the other. */
static struct text read_vector(pid_t pid, uint64_t at) {
  struct text all = {(char *)arena + arena_used, 0, true};
  if (at == 0) return all;
  for (uint64_t next = at;;) {
    uint64_t pointers[VECTOR_COUNT];
    struct iovec remote[VECTOR_COUNT];
    ssize_t got = vector_head.got;
    if (vector_head.at == next && got >= 8) memcpy(pointers, vector_head.pointers, (size_t)got);
    else got = read_memory(pid, next, pointers, within_page(next, sizeof pointers));
    vector_head.at = 0;
    if (got < 8) return all;
    size_t count = (size_t)got / 8, used = 0;
    size_t total = 0;
    for (; used < count && pointers[used] != 0; used++) {
      remote[used].iov_base = (void *)pointers[used];
      total += remote[used].iov_len = within_page(pointers[used], FIRST_BYTES);
    }
    // Beyond the arena's free part, where it does not matter: copied down string by string.
    static uint8_t first[VECTOR_COUNT * FIRST_BYTES];
    ssize_t have = used == 0 ? 0 : read_pieces(pid, first, sizeof first, remote, (int)used);
    size_t offset = 0;
    for (size_t i = 0; i < used; i++) {
      size_t size = remote[i].iov_len;
      struct text one = {room(size), 0, false};
      if (one.at == NULL) return all;
      if (have > 0 && offset + size <= (size_t)have) {
        memcpy(one.at, first + offset, size);
        one.size = size;
        finish_string(pid, pointers[i], &one, ARGUMENT_MAX);
      } else {
        give_back(size);
        one = read_string_max(pid, pointers[i], ARGUMENT_MAX);
      }
      offset += size;
      char *end = room(1);
      if (end == NULL) return all;
      *end = 0;
      all.size += one.size + 1;
    }
    if (used < count || all.size > ARGUMENTS_MAX) return all;
    next += 8 * count;
  }
}

/* Descriptors of /proc/PID by process, plus one: looking a name up below one costs a third of
 * looking it up from the root. 0: not in the table; NOT_OPEN: not opened yet. */
static int *proc_fds;
enum { NOT_OPEN = -1 };
/* Set where a process may be looked at this once only: then opening it does not pay. */
static bool proc_once;

/* Where `name` of a process is to be looked up; the rest of the path is written into `path`. */
static int proc_at(pid_t pid, const char *name, char *path, size_t size) {
  if (!proc_once && pid > 0 && pid < (pid_t)PIDS_MAX && proc_fds[pid] == NOT_OPEN) {
    snprintf(path, size, "/proc/%d", pid);
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) proc_fds[pid] = fd + 1;
  }
  if (pid > 0 && pid < (pid_t)PIDS_MAX && proc_fds[pid] > 0) {
    snprintf(path, size, "%s", name);
    return proc_fds[pid] - 1;
  }
  snprintf(path, size, "/proc/%d/%s", pid, name);
  return AT_FDCWD;
}

static struct text read_link(pid_t pid, const char *name) {
  char path[64];
  int at = proc_at(pid, name, path, sizeof path);
  struct text text = {room(STRING_MAX), 0, false};
  if (text.at == NULL) return text;
  ssize_t got = readlinkat(at, path, text.at, STRING_MAX);
  text.ok = got > 0;
  text.size = got > 0 ? (size_t)got : 0;
  give_back(STRING_MAX - text.size);
  return text;
}

/* The directory that a path starts from: a descriptor's, or the working directory. */
static struct text directory_of(pid_t pid, int dirfd) {
  char name[32];
  if (dirfd == AT_FDCWD) return read_link(pid, "cwd");
  snprintf(name, sizeof name, "fd/%d", dirfd);
  return read_link(pid, name);
}

static struct text read_proc(pid_t pid, const char *name) {
  char path[64];
  int at = proc_at(pid, name, path, sizeof path);
  struct text text = {(char *)arena + arena_used, 0, false};
  int fd = openat(at, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return text;
  for (;;) {
    char *into = room(64 << 10);
    if (into == NULL) break;
    ssize_t got = read(fd, into, 64 << 10);
    give_back((64 << 10) - (size_t)(got > 0 ? got : 0));
    if (got <= 0) break;
    text.size += (size_t)got;
    text.ok = true;
    // The kernel gives all that there is at once: less than asked for is the end.
    if (got < (64 << 10)) break;
  }
  close(fd);
  return text;
}

/* A number of /proc/PID/status; 0 where it can't be read. */
static int read_status(pid_t pid, const char *field) {
  size_t before = arena_used;
  struct text text = read_proc(pid, "status");
  char *end = room(1);
  int value = 0;
  if (text.ok && end != NULL) {
    *end = 0;
    char *at = strstr(text.at, field);
    if (at != NULL) value = atoi(at + strlen(field));
  }
  arena_used = before;
  return value;
}

/* State, parent and wait status out of /proc/PID/stat; the state is 0 where there is none. */
struct stat_facts {
  char state;
  int ppid;
  uint32_t code;
};
static struct stat_facts read_stat(pid_t pid) {
  struct stat_facts facts = {0, 0, NO_NUMBER};
  size_t before = arena_used;
  struct text text = read_proc(pid, "stat");
  char *end = room(1);
  if (text.ok && end != NULL) {
    *end = 0;
    char *at = strrchr(text.at, ')');
    if (at != NULL && at[1] == ' ') {
      at += 2;
      facts.state = *at;
      facts.ppid = atoi(at + 2);
      // The exit code is the last field but none: number 52, of which the state is 3.
      for (int field = 3; field < 52 && at != NULL; field++) {
        at = strchr(at, ' ');
        if (at != NULL) at++;
      }
      if (at != NULL) facts.code = (uint32_t)strtoul(at, NULL, 10);
    }
  }
  arena_used = before;
  return facts;
}

/* access(2) on a path as a process sees it: 0 or an errno. */
static int access_of(pid_t pid, int dirfd, const char *path, size_t size, int mode) {
  static char name[16 << 10];
  char from[32] = "cwd/";
  if (size > 0 && path[0] == '/') strcpy(from, "root");
  else if (dirfd != AT_FDCWD) snprintf(from, sizeof from, "fd/%d/", dirfd);
  int at = proc_at(pid, from, name, sizeof name), length = (int)strlen(name);
  if ((size_t)length + size >= sizeof name) return ENAMETOOLONG;
  memcpy(name + length, path, size);
  name[length + (int)size] = 0;
  return faccessat(at, name, mode, 0) == 0 ? 0 : errno;
}

/* Single variables out of an environment: `NAME=value` strings in the order of the names; a name
 * that ends in `*` stands for all with that beginning. */
static struct text pick_keys(struct text environ) {
  struct text found = {(char *)arena + arena_used, 0, true};
  for (const char *name = spec.keys, *last = spec.keys + spec.keys_size; name < last;
       name += strlen(name) + 1) {
    size_t length = strlen(name);
    bool prefix = length > 0 && name[length - 1] == '*';
    if (prefix) length--;
    for (size_t at = 0; at < environ.size;) {
      const char *one = environ.at + at;
      const char *nul = memchr(one, 0, environ.size - at);
      size_t size = nul == NULL ? environ.size - at : (size_t)(nul - one);
      if (size >= length && memcmp(one, name, length) == 0 && (prefix || one[length] == '=')) {
        char *into = room(size + 1);
        if (into == NULL) return found;
        memcpy(into, one, size);
        into[size] = 0;
        found.size += size + 1;
      }
      at += size + 1;
    }
  }
  return found;
}
static struct text keys_of(pid_t pid) {
  struct text none = {"", 0, true};
  return spec.keys_size == 0 ? none : pick_keys(read_proc(pid, "environ"));
}
#endif
