/* The table of living processes. A pidfd a process tells of its end and, from Linux 6.15 on, of
 * its exit state, without ever stopping it. */
#ifndef TELLTALE_PROCESSES_H
#define TELLTALE_PROCESSES_H
#include <dirent.h>
#include <sys/resource.h>
#include "launch.h"
#include "reading.h"

#define PLACES_MAX 64
#define DNS_SOCKETS_MAX 64
#define EVENTS_MAX 256

struct pidfd_facts {
  uint64_t mask, cgroup;
  uint32_t pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
  int32_t exit_code;
};
#define PIDFD_GET_INFO _IOWR(0xFF, 11, struct pidfd_facts)
enum { INFO_PID = 1, INFO_EXIT = 8 };

/* An execve whose success is not known yet: where it was tried, NUL-ended. */
struct pending {
  uint64_t argv;
  char *base, *places;
  size_t places_size;
  int count;
};
struct dns_socket {
  int fd;
  uint32_t size;
  uint8_t address[128];
};
struct process {
  struct process *next, *before;
  pid_t pid, ppid;
  int pidfd;
  bool threaded;
  struct pending *pending;
  struct dns_socket *dns;
  int dns_count;
  pid_t *threads;
  int threads_count, threads_room;
};

/* What the second thread was woken by: in the upper bits of an event's data. */
enum { TAG_LISTENER = 1, TAG_ENDS, TAG_CONTROL, TAG_CHANNEL, TAG_KICK, TAG_READS, TAG_MAIN };
static struct process **by_tid, *processes;
static int known_count;
/* Of all that the second thread waits for; of the pidfds among it. */
static int epoll_fd = -1, ends_fd = -1;
static bool main_gone;
static uint32_t main_status = NO_NUMBER;
/* Wait statuses of orphans that came to us, where pidfds keep none. */
static uint32_t *waited;
static bool *waited_set;

static int open_pidfd(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }
static bool ask_pidfd(int pidfd, uint64_t what, struct pidfd_facts *facts) {
  memset(facts, 0, sizeof *facts);
  facts->mask = what;
  return pidfd >= 0 && ioctl(pidfd, PIDFD_GET_INFO, facts) == 0 && (facts->mask & what) != 0;
}

static void make_table(void) {
  by_tid = mmap(NULL, PIDS_MAX * sizeof *by_tid, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  proc_fds = mmap(NULL, PIDS_MAX * sizeof *proc_fds, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (by_tid == MAP_FAILED || proc_fds == MAP_FAILED) give_up("process table");
  // Two descriptors a process; the command's own limit is set back by its launcher.
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    command_files = limit;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  if (!spec.exit_state) {
    waited = calloc(PIDS_MAX, sizeof *waited);
    waited_set = calloc(PIDS_MAX, sizeof *waited_set);
    if (waited == NULL || waited_set == NULL) give_up("process table");
  }
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  ends_fd = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd < 0 || ends_fd < 0) give_up("epoll_create1");
}

static void forget_pending(struct process *process) {
  if (process->pending == NULL) return;
  free(process->pending->base);
  free(process->pending->places);
  free(process->pending);
  process->pending = NULL;
}

static void add_thread(struct process *process, pid_t tid) {
  if (process->threads_count == process->threads_room) {
    int more = process->threads_room == 0 ? 4 : 2 * process->threads_room;
    pid_t *list = realloc(process->threads, (size_t)more * sizeof *list);
    if (list == NULL) return;
    process->threads = list;
    process->threads_room = more;
  }
  process->threads[process->threads_count++] = tid;
  by_tid[tid] = process;
}

/* What it runs was perhaps told as a try only, by the supervisor before this one. */
static void expect_program(struct process *process) {
  process->pending = calloc(1, sizeof *process->pending);
  if (process->pending != NULL) process->pending->base = strdup("");
}

/* `again`: known to the reader from before a change of supervisors. */
static struct process *add_process(pid_t pid, int pidfd, bool again) {
  struct pidfd_facts facts;
  pid_t ppid = ask_pidfd(pidfd, INFO_PID, &facts) ? (pid_t)facts.ppid : read_status(pid, "\nPPid:");
  bool orphan = (ppid == self_pid || ppid == getppid()) && pid != shared->main_pid;
  if (!orphan && ppid > 1 && ppid < (pid_t)PIDS_MAX && ppid != self_pid && by_tid[ppid] == NULL) {
    int parent_fd = open_pidfd(ppid);
    if (parent_fd >= 0) add_process(ppid, parent_fd, again);
  }
  struct process *process = calloc(1, sizeof *process);
  if (process == NULL) give_up("memory");
  process->pid = pid;
  process->ppid = ppid;
  process->pidfd = pidfd;
  add_thread(process, pid);
  proc_fds[pid] = NOT_OPEN;
  process->next = processes;
  if (processes != NULL) processes->before = process;
  processes = process;
  known_count++;
  if (again) expect_program(process);
  if (pidfd >= 0 && !spec.ptrace) {
    // A hang-up is always told and comes when it was waited for; "readable" comes when it died.
    struct epoll_event event = {.events = spec.exit_state ? 0 : EPOLLIN, .data.u64 = (uint32_t)pid};
    epoll_ctl(ends_fd, EPOLL_CTL_ADD, pidfd, &event);
    // The command's own end is what everybody waits for.
    event.data.u64 = (uint64_t)TAG_MAIN << 40;
    if (pid == shared->main_pid) epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pidfd, &event);
  }
  // An orphan's parent is gone, so its tool call can only come from its own environment.
  struct text keys = orphan ? keys_of(pid) : (struct text){"", 0, true};
  put(F_PROCESS, (uint32_t)pid, (uint32_t)ppid, again, 0, &PART(keys.at, keys.size), orphan ? 1 : 0);
  return process;
}

/* A process id opens as a pidfd; a mere thread's does not. */
static struct process *first_sight(pid_t tid) {
  int pidfd = open_pidfd(tid);
  if (pidfd >= 0) return add_process(tid, pidfd, false);
  pid_t tgid = read_status(tid, "\nTgid:");
  if (tgid <= 0 || tgid >= (pid_t)PIDS_MAX) tgid = tid;
  struct process *process = by_tid[tgid];
  if (process == NULL || process->pid != tgid)
    process = add_process(tgid, tgid == tid ? -1 : open_pidfd(tgid), false);
  if (tgid != tid) add_thread(process, tid);
  return process;
}

static struct process *process_of(pid_t tid) {
  struct process *known = by_tid[tid];
  if (known == NULL) return first_sight(tid);
  // A thread's id may have been given to a new process since; a living leader's can't.
  if (known->pid == tid || syscall(SYS_tgkill, known->pid, tid, 0) == 0) return known;
  for (int i = 0; i < known->threads_count; i++)
    if (known->threads[i] == tid) known->threads[i] = known->threads[--known->threads_count];
  by_tid[tid] = NULL;
  return first_sight(tid);
}

/* Whether others could change the memory of a stopped thread's process now. */
static bool is_threaded(struct process *process, pid_t tid) {
  if (!process->threaded) {
    char name[64];
    struct stat facts;
    int at = proc_at(process->pid, "task", name, sizeof name);
    // A directory has a link for itself, one for its name and one for each directory in it.
    process->threaded = tid != process->pid || (fstatat(at, name, &facts, 0) == 0 && facts.st_nlink > 3);
  }
  return process->threaded;
}

/* Why a search failed, as execvp(3) reports it: EACCES if any place gave it, else what the last
 * one gave; 0 where a file was there that could be run. `root`: whose root directory counts. */
static int exec_error(const struct pending *pending, pid_t root) {
  int last = 0;
  bool denied = false;
  if (pending == NULL) return 0;
  const char *place = pending->places;
  for (int i = 0; i < pending->count; i++) {
    size_t size = strlen(place);
    last = access_of(root, AT_FDCWD, place, size, X_OK);
    if (last == 0) return 0;
    if (last == EACCES) denied = true;
    place += size + 1;
  }
  return denied ? EACCES : last;
}

/* Who could not exec ends with a code of its own that is not 0; a signal or a 0 says nothing. */
static int lost_error(struct process *process, uint32_t status) {
  if (status == 0 || (status & 0x7f) != 0) return 0;
  // Its root is gone with it. Ours is the same unless it changed it; then its parent's may be.
  int error = exec_error(process->pending, self_pid);
  pid_t ppid = process->ppid;
  if (error == 0 || ppid <= 1 || ppid == self_pid) return error;
  int by_parent = exec_error(process->pending, ppid);
  return access_of(ppid, AT_FDCWD, "/", 1, F_OK) == 0 ? by_parent : error;
}

static void remove_process(struct process *process, uint32_t status) {
  if (process->pending != NULL)
    put(F_EXEC_LOST, (uint32_t)process->pid, (uint32_t)lost_error(process, status), 0, 0, NULL, 0);
  put(F_EXIT, (uint32_t)process->pid, status, 0, 0, NULL, 0);
  if (process->pid == shared->main_pid) {
    main_gone = true;
    main_status = status;
  }
  for (int i = 0; i < process->threads_count; i++)
    if (by_tid[process->threads[i]] == process) by_tid[process->threads[i]] = NULL;
  if (process->before != NULL) process->before->next = process->next;
  else processes = process->next;
  if (process->next != NULL) process->next->before = process->before;
  if (proc_fds[process->pid] > 0) close(proc_fds[process->pid] - 1);
  proc_fds[process->pid] = 0;
  if (process->pidfd >= 0) close(process->pidfd);
  forget_pending(process);
  free(process->threads);
  free(process->dns);
  free(process);
  known_count--;
}

/* Orphans come to us. Where exit state is kept (SIGCHLD ignored) the kernel reaps them. */
static void wait_for_children(void) {
  int status;
  // A tracer waits for them itself.
  if (spec.exit_state || spec.ptrace) return;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
    waited[pid] = (uint32_t)status;
    waited_set[pid] = true;
  }
}

static uint32_t end_status(struct process *process) {
  struct pidfd_facts facts;
  if (spec.exit_state)
    return ask_pidfd(process->pidfd, INFO_EXIT, &facts) ? (uint32_t)facts.exit_code : NO_NUMBER;
  struct stat_facts dead = read_stat(process->pid);
  wait_for_children();
  if (waited_set[process->pid]) {
    waited_set[process->pid] = false;
    return waited[process->pid];
  }
  return dead.state == 'Z' ? dead.code : NO_NUMBER;
}

static void take_reads(void);

/* Reports the ends that are due: before each call, so that a child's end is told before what its
 * parent does next. */
static void take_ends(void) {
  static struct epoll_event events[EVENTS_MAX];
  int count = epoll_wait(ends_fd, events, EVENTS_MAX, 0);
  // What was read is told while its reader is still known.
  if (count > 0) take_reads();
  for (int i = 0; i < count; i++) {
    struct process *process = by_tid[(uint32_t)events[i].data.u64];
    if (process == NULL || process->pid != (pid_t)events[i].data.u64) continue;
    if ((events[i].events & (spec.exit_state ? EPOLLHUP : EPOLLIN)) == 0) continue;
    remove_process(process, end_status(process));
  }
}

/* Reports the processes that are dead but that nobody waits for. */
static void sweep(void) {
  for (struct process *process = processes, *next; process != NULL; process = next) {
    next = process->next;
    struct stat_facts facts = read_stat(process->pid);
    if (facts.state == 'Z') remove_process(process, facts.code);
  }
}

/* All living processes below `root`, by one look at /proc; how many. */
static int descendants(pid_t root, pid_t *below, int most) {
  static struct { pid_t pid, ppid; } all[16384];
  int count = 0, found = 0;
  DIR *proc = opendir("/proc");
  if (proc == NULL) return 0;
  for (struct dirent *entry; (entry = readdir(proc)) != NULL && count < 16384;) {
    pid_t pid = atoi(entry->d_name);
    if (pid <= 0) continue;
    struct stat_facts facts = read_stat(pid);
    if (facts.state == 0 || facts.state == 'Z' || facts.state == 'X') continue;
    all[count].pid = pid;
    all[count++].ppid = facts.ppid;
  }
  closedir(proc);
  for (int next = -1; next < found; next++) {
    pid_t parent = next < 0 ? root : below[next];
    for (int i = 0; i < count && found < most; i++)
      if (all[i].ppid == parent) below[found++] = all[i].pid;
  }
  return found;
}
#endif
