/* Reads of secret files. A filter can't see paths, and to stop every read-only open would cost ten
 * times what all else does; so the files themselves are watched: by fanotify(7), which names the
 * reader, where that is allowed, else by inotify(7), which does not. */
#ifndef TELLTALE_WATCH_H
#define TELLTALE_WATCH_H
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include "processes.h"

#define WATCHES_MAX 1024
#define TOLD_MAX 4096
#define ANCESTORS_MAX 64

static int watch_fd_ = -1;
static bool by_fanotify;
static const char *watched[WATCHES_MAX];

static const char *watch_name(void) {
  return watch_fd_ < 0 ? "none" : by_fanotify ? "fanotify" : "inotify";
}

static bool mark(const char *path) {
  if (by_fanotify)
    return fanotify_mark(watch_fd_, FAN_MARK_ADD, FAN_ACCESS | FAN_EVENT_ON_CHILD, AT_FDCWD,
                         path) == 0;
  int watch = inotify_add_watch(watch_fd_, path, IN_ACCESS);
  if (watch >= 0 && watch < WATCHES_MAX) watched[watch] = path;
  return watch >= 0;
}

static bool mark_all(void) {
  int marked = 0, refused = 0;
  const char *last = spec.secrets + spec.secrets_size;
  for (const char *path = spec.secrets; path < last; path += strlen(path) + 1) {
    if (mark(path)) marked++;
    else if (errno != ENOENT && errno != ENOTDIR) refused++;
  }
  return marked > 0 || refused == 0;
}

static void watch_secrets(void) {
  if (spec.secrets_size == 0) return;
  by_fanotify = true;
  watch_fd_ = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK, O_RDONLY | O_CLOEXEC);
  if (watch_fd_ >= 0 && mark_all()) return;
  if (watch_fd_ >= 0) close(watch_fd_);
  by_fanotify = false;
  watch_fd_ = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (watch_fd_ >= 0) mark_all();
}

/* The recorded process that a pid belongs to; NULL where it is none of the command's. */
static struct process *reader_of(pid_t pid) {
  if (pid <= 0 || pid >= (pid_t)PIDS_MAX) return NULL;
  if (by_tid[pid] != NULL) return by_tid[pid];
  pid_t at = pid;
  for (int i = 0; i < ANCESTORS_MAX && at > 1; i++) {
    at = read_stat(at).ppid;
    if (at == self_pid) return NULL;
    if (at > 0 && at < (pid_t)PIDS_MAX && by_tid[at] != NULL) return process_of(pid);
  }
  return NULL;
}

/* inotify names no reader: the process that has the file open now, if there is one. */
static struct process *holder_of(const char *path) {
  char dir[64], name[96], target[STRING_MAX];
  for (struct process *process = processes; process != NULL; process = process->next) {
    snprintf(dir, sizeof dir, "/proc/%d/fd", process->pid);
    DIR *fds = opendir(dir);
    if (fds == NULL) continue;
    bool holds = false;
    for (struct dirent *entry; !holds && (entry = readdir(fds)) != NULL;) {
      snprintf(name, sizeof name, "%.60s/%.30s", dir, entry->d_name);
      ssize_t size = readlink(name, target, sizeof target - 1);
      if (size <= 0) continue;
      target[size] = 0;
      holds = strcmp(target, path) == 0;
    }
    closedir(fds);
    if (holds) return process;
  }
  return NULL;
}

/* Told once for a process and a path: a file is read in many pieces. */
static void tell_read(pid_t pid, const char *path) {
  static uint64_t told[TOLD_MAX];
  static int count;
  uint64_t key = 14695981039346656037u ^ (uint64_t)pid;
  for (const char *at = path; *at != 0; at++) key = (key ^ (uint8_t)*at) * 1099511628211u;
  for (int i = 0; i < (count < TOLD_MAX ? count : TOLD_MAX); i++)
    if (told[i] == key) return;
  told[count++ % TOLD_MAX] = key;
  struct part parts[] = {PART("", 0), PART(path, strlen(path))};
  put(F_FILE, (uint32_t)pid, OP_READ, NO_NUMBER, 0, parts, 2);
}

static void read_fanotify(const uint8_t *bytes, ssize_t size) {
  char name[64], path[STRING_MAX];
  const struct fanotify_event_metadata *event = (const void *)bytes;
  for (; FAN_EVENT_OK(event, size); event = FAN_EVENT_NEXT(event, size)) {
    if (event->fd < 0) continue;
    snprintf(name, sizeof name, "/proc/self/fd/%d", event->fd);
    ssize_t length = readlink(name, path, sizeof path - 1);
    close(event->fd);
    struct process *process = length > 0 ? reader_of(event->pid) : NULL;
    if (process == NULL) continue;
    path[length] = 0;
    tell_read(process->pid, path);
  }
}

static void read_inotify(const uint8_t *bytes, ssize_t size) {
  char path[2 * STRING_MAX];
  for (ssize_t at = 0; at + (ssize_t)sizeof(struct inotify_event) <= size;) {
    const struct inotify_event *event = (const void *)(bytes + at);
    at += (ssize_t)sizeof *event + event->len;
    if (event->wd < 0 || event->wd >= WATCHES_MAX || watched[event->wd] == NULL) continue;
    if ((event->mask & (IN_ISDIR | IN_IGNORED)) != 0) continue;
    snprintf(path, sizeof path, event->len > 0 ? "%s/%s" : "%s", watched[event->wd],
             event->len > 0 ? event->name : "");
    struct process *process = holder_of(path);
    tell_read(process == NULL ? 0 : process->pid, path);
  }
}

/* Reads what has come. Before ends are taken, so that the reader is still known. */
static void take_reads(void) {
  static uint8_t bytes[16 << 10] __attribute__((aligned(8)));
  if (watch_fd_ < 0) return;
  for (ssize_t size; (size = read(watch_fd_, bytes, sizeof bytes)) > 0;)
    if (by_fanotify) read_fanotify(bytes, size);
    else read_inotify(bytes, size);
}
#endif
