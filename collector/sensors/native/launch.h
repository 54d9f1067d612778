/* Starts the command under the filter. The child shares our descriptors until it says that all is
 * set, so the listener is here the moment that it is made: sending it would be a filtered call. */
#ifndef TELLTALE_LAUNCH_H
#define TELLTALE_LAUNCH_H
#include <spawn.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include "base.h"

enum { EXIT_NOT_RUNNABLE = 126, EXIT_NOT_FOUND = 127 };
static int channel_fd = -1;
/* The limit that we were started with. */
static struct rlimit command_files;

static char **strings_of(const char *list, uint32_t size) {
  size_t count = 0, at = 0;
  for (uint32_t i = 0; i < size; i++) count += list[i] == 0;
  char **strings = calloc(count + 1, sizeof *strings);
  if (strings == NULL) give_up("memory");
  for (size_t i = 0; i < count; i++) {
    strings[i] = (char *)list + at;
    at += strlen(strings[i]) + 1;
  }
  return strings;
}

/* A LaunchFault of launch.ts as a line of JSON. */
static void write_fault(int to, const char *step, int error, const char *detail) {
  char text[8192];
  int used = snprintf(text, 256, "{\"step\":\"%s\",\"errno\":%d,\"detail\":\"", step, error);
  for (const unsigned char *at = (const unsigned char *)detail; *at != 0 && used < 8000; at++)
    if (*at < 0x20 || *at == '"' || *at == '\\')
      used += snprintf(text + used, 8, "\\u%04x", *at);
    else
      text[used++] = (char)*at;
  used += snprintf(text + used, 8, "\"}\n");
  if (write(to, text, (size_t)used) != used) _exit(EXIT_NOT_RUNNABLE);
}

static void fail(int to, const char *step, int error, const char *detail) {
  write_fault(to, step, error, detail);
  _exit(error == ENOENT || step[0] == 'c' ? EXIT_NOT_FOUND : EXIT_NOT_RUNNABLE);
}

static long set_filter(void) {
  if (spec.ptrace) return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &spec.filter);
  unsigned long base = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_SPEC_ALLOW;
  // Newer flags are left out where they are unknown.
  unsigned long flags[] = {base | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, base};
  long got = -1;
  for (int i = 0; i < 2 && got < 0; i++) {
    got = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags[i], &spec.filter);
    if (got < 0 && errno != EINVAL) break;
  }
  return got;
}

/* One exec, one write, one connect, as the self-check wants to see them (probe.ts). */
static void probe(void) {
  int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (fd >= 0) close(fd);
  fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in discard = {.sin_family = AF_INET, .sin_port = htons(9)};
  discard.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd >= 0) {
    if (connect(fd, (struct sockaddr *)&discard, sizeof discard) != 0) errno = 0;
    close(fd);
  }
  static const char *const programs[] = {"/bin/true", "/usr/bin/true", "/bin/busybox"};
  for (size_t i = 0; i < 3; i++) {
    if (access(programs[i], X_OK) != 0) continue;
    char *const argv[] = {(char *)programs[i], "telltale-probe", NULL};
    char *const env[] = {NULL};
    pid_t pid;
    if (posix_spawn(&pid, programs[i], NULL, NULL, argv, env) == 0) waitpid(pid, NULL, 0);
    return;
  }
}

/* execvp(3) with the command's own PATH; returns only when nothing could be run: why. */
static int execute(char **argv, char **env) {
  const char *name = argv[0], *path = "/bin:/usr/bin";
  bool direct = strchr(name, '/') != NULL;
  int denied = 0;
  for (char **one = env; *one != NULL; one++)
    if (strncmp(*one, "PATH=", 5) == 0) {
      path = *one + 5;
      break;
    }
  if (name[0] == 0) return ENOENT;
  for (const char *at = path;;) {
    char place[8192];
    const char *end = strchrnul(at, ':');
    int size = (int)(end - at);
    if (direct) snprintf(place, sizeof place, "%s", name);
    else snprintf(place, sizeof place, "%.*s/%s", size == 0 ? 1 : size, size == 0 ? "." : at, name);
    execve(place, argv, env);
    int failed = errno;
    if (failed == ENOEXEC) {
      size_t count = 0;
      while (argv[count] != NULL) count++;
      char **script = calloc(count + 2, sizeof *script);
      if (script == NULL) return ENOMEM;
      script[0] = "/bin/sh";
      script[1] = place;
      memcpy(script + 2, argv + 1, count * sizeof *script);
      execve("/bin/sh", script, env);
      free(script);
    }
    if (failed == EACCES) denied = EACCES;
    else if (failed != ENOENT && failed != ENOTDIR) return failed;
    if (direct || *end == 0) return denied != 0 ? denied : ENOENT;
    at = end + 1;
  }
}

/* The child: it becomes the command. */
static void become_command(int channel) {
  char byte;
  sigset_t none;
  for (int signal_ = 1; signal_ <= 64; signal_++) signal(signal_, SIG_DFL);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  setrlimit(RLIMIT_NOFILE, &command_files);
  char **argv = strings_of(spec.argv, spec.argv_size), **env = strings_of(spec.env, spec.env_size);
  char cwd[8192];
  snprintf(cwd, sizeof cwd, "%.*s", (int)spec.cwd_size, spec.cwd);
  if (chdir(cwd) != 0) fail(channel, "cwd", errno, cwd);
  // Traced from the start: what is filtered before would fail.
  if (spec.ptrace && (write(channel, "t", 1) != 1 || read(channel, &byte, 1) != 1)) _exit(1);
  // Without CAP_SYS_ADMIN the kernel wants no_new_privs: then set-user-id programs don't elevate.
  long listener = geteuid() == 0 ? set_filter() : (errno = EACCES, -1L);
  bool no_new_privs = listener < 0 && errno == EACCES;
  if (no_new_privs) {
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    listener = set_filter();
  }
  if (listener < 0) fail(channel, "filter", errno, "seccomp(SECCOMP_SET_MODE_FILTER)");
  shared->listener = spec.ptrace ? -1 : (int)listener;
  if (write(channel, no_new_privs ? "n" : "f", 1) != 1 || read(channel, &byte, 1) != 1) _exit(1);
  // From here on our descriptors are our own; what is closed on exec is closed for us alone.
  if (unshare(CLONE_FILES) != 0 || write(channel, "u", 1) != 1 || read(channel, &byte, 1) != 1)
    _exit(1);
  probe();
  fail(channel, "exec", execute(argv, env), argv[0]);
}

static bool expect(int fd, char *byte) {
  ssize_t got;
  do got = read(fd, byte, 1);
  while (got < 0 && errno == EINTR);
  return got == 1;
}

/* What a child that could not go on wrote; the first byte has been read already. */
static void refused(int fd, char first) {
  static char text[8192];
  size_t used = 0;
  if (first != 0) text[used++] = first;
  for (ssize_t got; used < sizeof text; used += (size_t)got) {
    got = read(fd, text + used, sizeof text - used);
    if (got <= 0) break;
    if (text[used + (size_t)got - 1] == '\n') {
      used += (size_t)got;
      break;
    }
  }
  if (used == 0)
    used = (size_t)snprintf(text, sizeof text,
                            "{\"step\":\"filter\",\"errno\":0,\"detail\":\"the launcher ended before "
                            "it had set the filter\"}");
  take_time();
  put(F_REFUSED, 0, 0, 0, 0, &PART(text, used), 1);
  flush_all();
  shared->done = true;
  _exit(0);
}

/* Starts the child; it waits for its last byte, which `go_on` gives. */
static void launch(void) {
  int pair[2];
  char byte = 0;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) give_up("socketpair");
  pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
  if (pid < 0) give_up("clone");
  if (pid == 0) become_command(pair[1]);
  shared->main_pid = pid;
  channel_fd = pair[0];
  if (!expect(channel_fd, &byte)) refused(channel_fd, 0);
  if (byte == 't') {
    long options = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
                   PTRACE_O_TRACEEXEC | PTRACE_O_TRACESECCOMP;
    if (ptrace(PTRACE_SEIZE, pid, 0, options) != 0) {
      write_fault(pair[1], "filter", errno, "ptrace(PTRACE_SEIZE)");
      kill(pid, SIGKILL);
      refused(channel_fd, 0);
    }
    if (write(channel_fd, "k", 1) != 1 || !expect(channel_fd, &byte)) refused(channel_fd, 0);
  }
  if (byte != 'f' && byte != 'n') refused(channel_fd, byte);
  spec.no_new_privs = byte == 'n';
  if (write(channel_fd, "k", 1) != 1 || !expect(channel_fd, &byte) || byte != 'u')
    refused(channel_fd, 0);
  close(pair[1]);
}

static void go_on(void) {
  if (write(channel_fd, "k", 1) != 1) give_up("launcher");
}
#endif
