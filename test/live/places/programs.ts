/** Small C programs that make a place of a kind: each restricts itself, then runs its arguments. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

/** Landlock: everything may be read and run, only what is below its first argument written. */
const LANDLOCK = `
  #define _GNU_SOURCE
  #include <fcntl.h>
  #include <linux/landlock.h>
  #include <sys/prctl.h>
  #include <sys/syscall.h>
  #include <unistd.h>
  int main(int count, char **argv) {
    __u64 write = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |
                  LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                  LANDLOCK_ACCESS_FS_REMOVE_DIR;
    struct landlock_ruleset_attr rules = {.handled_access_fs = write};
    int set = syscall(444, &rules, sizeof rules, 0);
    const char *allowed[] = {argv[1], "/dev"};
    for (int i = 0; set >= 0 && i < 2; i++) {
      struct landlock_path_beneath_attr beneath = {write, open(allowed[i], O_PATH)};
      syscall(445, set, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0);
    }
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (set < 0 || syscall(446, set, 0) != 0) return 77;
    execvp(argv[2], argv + 2);
    return 126;
  }`;

/** A filter that has a listener already, as a container runtime's may; or that refuses ptrace too. */
const FILTER = `
  #define _GNU_SOURCE
  #include <errno.h>
  #include <linux/audit.h>
  #include <linux/filter.h>
  #include <linux/seccomp.h>
  #include <string.h>
  #include <sys/prctl.h>
  #include <sys/syscall.h>
  #include <sys/wait.h>
  #include <unistd.h>
  int main(int count, char **argv) {
    int listen = strcmp(argv[1], "listener") == 0, none = strcmp(argv[1], "neither") == 0;
    unsigned refused = SECCOMP_RET_ERRNO | EPERM;
    struct sock_filter code[] = {
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, 0},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_ptrace},
      {BPF_RET | BPF_K, 0, 0, listen ? SECCOMP_RET_ALLOW : refused},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_seccomp},
      {BPF_RET | BPF_K, 0, 0, none ? refused : SECCOMP_RET_ALLOW},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_acct},
      {BPF_RET | BPF_K, 0, 0, listen ? SECCOMP_RET_USER_NOTIF : refused},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    unsigned long flags = listen ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0;
    long got = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    if (got < 0 && errno != EBUSY) return 77;
    // A listener that nobody holds is none; so this process stays and holds it.
    int status, child = listen && got >= 0 ? fork() : 0;
    if (child == 0) {
      execvp(argv[2], argv + 2);
      return 126;
    }
    while (waitpid(child, &status, 0) < 0) continue;
    return WEXITSTATUS(status);
  }`;

/** As sudo begins: root by its file's mode. Says who it is, and runs one program as that. */
const SETUID = `
  #include <stdio.h>
  #include <sys/wait.h>
  #include <unistd.h>
  int main(int count, char **argv) {
    FILE *out = fopen(argv[1], "w");
    if (out != NULL) { fprintf(out, "%d", (int)geteuid()); fclose(out); }
    if (fork() == 0) { execl("/bin/true", "true", "elevated", (char *)0); _exit(126); }
    wait(NULL);
    return 0;
  }`;

const SOURCES = { landlock: LANDLOCK, filter: FILTER, setuid: SETUID } as const;

/** Compiles them into `dir`; the set-user-id one belongs to root, where we are root. */
export function makePrograms(dir: string): void {
  fs.mkdirSync(dir, { recursive: true });
  for (const [name, source] of Object.entries(SOURCES)) {
    const file = path.join(dir, name);
    execFileSync('cc', ['-O1', '-w', '-x', 'c', '-o', file, '-'], { input: source });
  }
  fs.chmodSync(path.join(dir, 'setuid'), 0o4755);
}
