/*
 * The supervisor as a native program: the faster form of rung 1 and the only form of rung 2. It
 * speaks the frames of wire.ts on descriptor 3; descriptor 4 brings one frame with what to run
 * (native-form.ts writes it) and later perhaps a line `stop`.
 *
 *     keeper          forks the supervisor and waits; holds the same descriptors
 *       supervisor    answers calls, reads, writes frames into a ring that both of them see
 *         command     under the filter
 *
 * When the supervisor is killed, calls of the command wait in the kernel; the keeper starts a
 * successor that goes on with the ring, the listener and the call that was in hand.
 */
#include "base.h"
#include "trace.h"
#include "unotify.h"

/* So many supervisors may die before the sensor gives up. */
#define SUCCESSORS_MAX 8
static const int IGNORED[] = {SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGPIPE,
                              SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU};

static void read_exactly(void *into, size_t size) {
  for (size_t at = 0; at < size;) {
    ssize_t got = read(CONTROL_FD, (char *)into + at, size - at);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) _exit(1);
    at += (size_t)got;
  }
}

static const uint8_t *next_part(const uint8_t **at, const uint8_t *end, uint32_t *size) {
  if (end - *at < 4) _exit(1);
  memcpy(size, *at, 4);
  const uint8_t *part = *at + 4;
  if ((size_t)(end - part) < *size) _exit(1);
  *at = part + *size;
  return part;
}

/* flags u32 (1 exit state, 2 ptrace) | block_ms u32 | parts: mark, argv, env, cwd, keys, filter,
 * secrets, shapes, each `length u32 | bytes`; all of it behind a length u32. */
static void read_spec(void) {
  uint32_t size, flags, length;
  read_exactly(&size, 4);
  uint8_t *bytes = malloc(size);
  if (bytes == NULL || size < 8) _exit(1);
  read_exactly(bytes, size);
  const uint8_t *at = bytes + 8, *end = bytes + size;
  memcpy(&flags, bytes, 4);
  memcpy(&spec.block_ms, bytes + 4, 4);
  spec.exit_state = (flags & 1) != 0;
  spec.ptrace = (flags & 2) != 0;
  const uint8_t *mark = next_part(&at, end, &length);
  if (length != MARK_BYTES) _exit(1);
  memcpy(spec.mark, mark, MARK_BYTES);
  spec.argv = (const char *)next_part(&at, end, &spec.argv_size);
  spec.env = (const char *)next_part(&at, end, &spec.env_size);
  spec.cwd = (const char *)next_part(&at, end, &spec.cwd_size);
  spec.keys = (const char *)next_part(&at, end, &spec.keys_size);
  spec.filter.filter = (struct sock_filter *)next_part(&at, end, &length);
  spec.filter.len = (unsigned short)(length / sizeof(struct sock_filter));
  spec.secrets = (const char *)next_part(&at, end, &spec.secrets_size);
  const uint8_t *shapes = next_part(&at, end, &length);
  for (uint32_t i = 0; i + sizeof(struct shape) <= length; i += sizeof(struct shape)) {
    struct shape shape;
    memcpy(&shape, shapes + i, sizeof shape);
    if (shape.number >= CALLS_MAX) continue;
    spec.shapes[shape.number] = shape;
    spec.shaped[shape.number] = true;
  }
}

static void hello(void) {
  struct timespec wall;
  take_time();
  clock_gettime(CLOCK_REALTIME, &wall);
  put_text(F_HELLO, 0, 0,
           "{\"pid\":%d,\"monotonicNs\":\"%lld%09ld\",\"wallNs\":\"%lld%09ld\",\"exitState\":%s,"
           "\"noNewPrivs\":%s,\"secretReads\":\"%s\"}",
           shared->main_pid, (long long)now.tv_sec, now.tv_nsec, (long long)wall.tv_sec,
           wall.tv_nsec, spec.exit_state ? "true" : "false", spec.no_new_privs ? "true" : "false",
           watch_name());
}

/* The marker tells the reader to let go of a torn frame and to read on behind it. */
static void send_mark(void) {
  rewind_ring();
  size_t sent = 0;
  while (sent < MARK_BYTES) {
    ssize_t got = send(EVENTS_FD, spec.mark + sent, MARK_BYTES - sent, MSG_NOSIGNAL);
    if (got < 0 && errno != EINTR) _exit(1);
    if (got > 0) sent += (size_t)got;
  }
}

/* The descriptors of the supervisor before, without those that are still in use. */
static void close_leftovers(void) {
  DIR *fds = opendir("/proc/self/fd");
  if (fds == NULL) return;
  for (struct dirent *entry; (entry = readdir(fds)) != NULL;) {
    int fd = atoi(entry->d_name);
    if (fd > CONTROL_FD && fd != shared->listener && fd != dirfd(fds)) close(fd);
  }
  closedir(fds);
}

/* The supervisor; it never returns. */
static void supervise(bool successor) {
  pthread_t other;
  self_pid = getpid();
  hand = &shared->in_hand;
  if (spec.exit_state && !spec.ptrace) signal(SIGCHLD, SIG_IGN);
  else signal(SIGCHLD, SIG_DFL);
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  prctl(PR_SET_NAME, "telltale-sensor", 0, 0, 0);
  if (successor) {
    judge_hand();
    close_leftovers();
  }
  make_table();
  kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (kick_fd < 0) give_up("eventfd");
  watch_fd(kick_fd, TAG_KICK, EPOLLIN);
  watch_fd(ends_fd, TAG_ENDS, EPOLLIN | EPOLLONESHOT);
  if (successor && shared->done) recording = false;
  else watch_fd(CONTROL_FD, TAG_CONTROL, EPOLLIN);
  if (!successor || recording) watch_secrets();
  if (watch_fd_ >= 0) watch_fd(watch_fd_, TAG_READS, EPOLLIN);
  if (!successor) {
    launch();
    hello();
    watch_fd(channel_fd, TAG_CHANNEL, EPOLLIN);
    add_process(shared->main_pid, open_pidfd(shared->main_pid), false);
  } else if (recording) {
    send_mark();
    take_over();
  } else finish_in_hand();
  if (!spec.ptrace) {
    ioctl(shared->listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP);
    watch_fd(shared->listener, TAG_LISTENER, 0);
  }
  shared->serving = true;
  if (pthread_create(&other, NULL, attend, NULL) != 0) give_up("pthread_create");
  if (!successor) go_on();
  if (spec.ptrace) trace_calls();
  else receive_calls();
}

/* Whether only an ancestor may read a process's memory (Yama); root may always. */
static bool must_be_ancestor(void) {
  char scope = '0';
  int fd = open("/proc/sys/kernel/yama/ptrace_scope", O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    if (read(fd, &scope, 1) != 1) scope = '0';
    close(fd);
  }
  return scope != '0' && geteuid() != 0;
}

int main(void) {
  for (size_t i = 0; i < sizeof IGNORED / sizeof *IGNORED; i++) signal(IGNORED[i], SIG_IGN);
  for (int fd = EVENTS_FD; fd <= CONTROL_FD; fd++) fcntl(fd, F_SETFD, FD_CLOEXEC);
  read_spec();
  make_shared();
  keeper_pid = getpid();
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  for (int i = 0; i < SUCCESSORS_MAX; i++) {
    if (i > 0 && must_be_ancestor()) supervise(true);
    pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
    if (pid < 0) give_up("clone");
    if (pid == 0) supervise(i > 0);
    int status;
    pid_t got;
    // Orphans come here as well, when the supervisor is gone.
    do got = waitpid(-1, &status, 0);
    while (got != pid && (got > 0 || errno == EINTR));
    if (got != pid || WIFEXITED(status)) return got == pid ? WEXITSTATUS(status) : 1;
    // Nothing can be taken over before the command is under the filter, nor by another tracer.
    if (!shared->serving || spec.ptrace) return 1;
  }
  return 1;
}
