/* What both rungs share: ends of processes, the reader's wishes, the time to hand over, the end. */
#ifndef TELLTALE_SERVE_H
#define TELLTALE_SERVE_H
#include "capture.h"
#include "launch.h"
#include "watch.h"

/* How long ends are waited for when no process has the filter any more. */
#define LAST_ENDS_MS 200
/* The filter is let go of early in a process's end; what it leaves (mounts) may take a while. */
#define LAST_MAIN_MS 10000
/* At the stop, calls that wait already are still recorded, for at most so long. */
#define STOP_DRAIN_MS 2000
/* Ends wait this long for company, unless a call comes before: each wakes this thread else. */
#define ENDS_MS 5
#define BLOCKED_MAX 4096

static int kick_fd = -1;
static pid_t keeper_pid;
static bool users_gone, recording = true;
static bool kicked;

static void watch_fd(int fd, uint64_t tag, uint32_t events) {
  struct epoll_event event = {.events = events, .data.u64 = tag << 40};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) give_up("epoll_ctl");
}

/* Makes the other thread hand over what was written, soon. Called with the lock. */
static void kick(void) {
  uint64_t one = 1;
  if (kicked || shared->tail == shared->head) return;
  kicked = true;
  if (write(kick_fd, &one, sizeof one) < 0) return;
}

/* Told once a process: a loop of refused calls must not fill the stream. */
static void put_blocked(pid_t pid, uint32_t evasion) {
  static uint64_t told[BLOCKED_MAX];
  static int count;
  uint64_t key = (uint64_t)pid << 8 | evasion;
  for (int i = 0; i < count; i++)
    if (told[i] == key) return;
  told[count % BLOCKED_MAX] = key;
  if (count < BLOCKED_MAX) count++;
  put(F_BLOCKED, (uint32_t)pid, evasion, 0, 0, NULL, 0);
}

/* The launcher's own first exec: all before it was the probe. */
static void note_start(struct process *process, int number) {
  if (shared->going || process->pid != shared->main_pid || !is_exec(number)) return;
  shared->going = true;
  put(F_GO, (uint32_t)process->pid, 0, 0, 0, NULL, 0);
}

/* The launcher's channel closed (it runs the command) or tells why it can't. */
static void read_channel(void) {
  char text[8192];
  ssize_t got = read(channel_fd, text, sizeof text);
  size_t size = got > 0 ? (size_t)got : 0;
  epoll_ctl(epoll_fd, EPOLL_CTL_DEL, channel_fd, NULL);
  close(channel_fd);
  channel_fd = -1;
  shared->running = true;
  put(size == 0 ? F_RUNNING : F_NOT_STARTED, (uint32_t)shared->main_pid, 0, 0, 0,
      &PART(text, size), 1);
}

static bool call_waits(void) {
  struct pollfd one = {shared->listener, POLLIN, 0};
  return shared->listener >= 0 && poll(&one, 1, 0) > 0 && (one.revents & POLLIN) != 0;
}

/* Said when all that was stopped before it is written. */
static void tell_main_exit(void) {
  if (!main_gone || shared->ended || (recording && call_waits())) return;
  shared->ended = true;
  put(F_MAIN_EXIT, (uint32_t)shared->main_pid, main_status, 0, 0, NULL, 0);
  flush_some();
}

static void put_end(void) {
  static pid_t below[8192];
  static char text[64 << 10];
  int count = descendants(keeper_pid, below, 8192), told = 0;
  size_t used = 0;
  for (int i = 0; i < count; i++) {
    if (below[i] == self_pid) continue;
    told++;
    if (used < sizeof text - 16)
      used += (size_t)snprintf(text + used, 16, used == 0 ? "%d" : " %d", below[i]);
  }
  dropping = false;
  if (shared->dropped > 0) put(F_DROPPED, 0, (uint32_t)shared->dropped, 0, 0, NULL, 0);
  put(F_END, 0, (uint32_t)told, 0, 0, &PART(text, used), 1);
  flush_all();
  shared->done = true;
}

static void finish(void) {
  take_reads();
  sweep();
  tell_main_exit();
  put_end();
  _exit(0);
}

/* Records what waits already, says what still runs, and from then on calls are only answered. */
static void stop_recording(void) {
  for (int ms = 0; ms < STOP_DRAIN_MS && call_waits(); ms++) {
    pthread_mutex_unlock(&lock);
    usleep(1000);
    pthread_mutex_lock(&lock);
  }
  recording = false;
  take_reads();
  sweep();
  tell_main_exit();
  put_end();
  // Their ends are nobody's concern any more.
  for (struct process *process = processes; process != NULL; process = process->next) {
    if (process->pidfd >= 0) close(process->pidfd);
    process->pidfd = -1;
  }
  if (watch_fd_ >= 0) close(watch_fd_);
  watch_fd_ = -1;
  close(EVENTS_FD);
  epoll_ctl(epoll_fd, EPOLL_CTL_DEL, CONTROL_FD, NULL);
  close(CONTROL_FD);
  int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd < 3; fd++) dup2(nowhere, fd);
  if (users_gone) _exit(0);
}

static void read_control(void) {
  char text[64];
  ssize_t got = read(CONTROL_FD, text, sizeof text);
  if (got < 0 && errno == EINTR) return;
  // Without a reader nothing may go on unrecorded: calls of the filter fail from here on.
  if (got < 4 || memcmp(text, "stop", 4) != 0) {
    shared->done = true;
    _exit(1);
  }
  stop_recording();
}

static void rearm_ends(void) {
  struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = (uint64_t)TAG_ENDS << 40};
  epoll_ctl(epoll_fd, EPOLL_CTL_MOD, ends_fd, &event);
}

/* How long the second thread may sleep, in milliseconds. */
static int sleep_ms(bool ends_wait) {
  if (!recording) return -1;
  if (ends_wait) return ENDS_MS;
  if (main_gone && !shared->ended) return 1;
  if (users_gone) return LAST_ENDS_MS;
  return shared->tail != shared->head ? FLUSH_MS : -1;
}

/* The second thread: it waits for everything but calls. */
static void *attend(void *unused) {
  static struct epoll_event events[EVENTS_MAX];
  double flushed_ms = 0, gone_ms = 0;
  bool ends_wait = false;
  (void)unused;
  for (;;) {
    pthread_mutex_lock(&lock);
    int timeout = sleep_ms(ends_wait);
    pthread_mutex_unlock(&lock);
    int count = epoll_wait(epoll_fd, events, EVENTS_MAX, timeout);
    if (count < 0 && errno == EINTR) continue;
    pthread_mutex_lock(&lock);
    take_time();
    arena_used = 0;
    bool stop = false, at_once = count == 0 || users_gone;
    for (int i = 0; i < count; i++) {
      uint64_t tag = events[i].data.u64 >> 40, value;
      if (tag == TAG_ENDS) ends_wait = true;
      else if (tag == TAG_MAIN) at_once = true;
      else if (tag == TAG_READS) take_reads();
      else if (tag == TAG_CHANNEL) read_channel();
      else if (tag == TAG_CONTROL) stop = true;
      else if (tag == TAG_KICK) {
        if (read(kick_fd, &value, sizeof value) < 0) continue;
      } else if ((events[i].events & EPOLLHUP) != 0) {
        users_gone = true;
        epoll_ctl(epoll_fd, EPOLL_CTL_DEL, shared->listener, NULL);
        if (!recording) _exit(0);
      }
    }
    if (recording && at_once) {
      take_ends();
      ends_wait = false;
      rearm_ends();
    }
    wait_for_children();
    if (recording) tell_main_exit();
    if (recording && ms_of(&now) - flushed_ms >= FLUSH_MS) {
      flush_some();
      flushed_ms = ms_of(&now);
    }
    if (recording && shared->tail == shared->head) kicked = false;
    if (users_gone && gone_ms == 0) gone_ms = ms_of(&now);
    bool over = main_gone || ms_of(&now) - gone_ms > LAST_MAIN_MS;
    if (recording && users_gone && over && (count == 0 || known_count == 0)) finish();
    if (stop) read_control();
    pthread_mutex_unlock(&lock);
  }
}
#endif
