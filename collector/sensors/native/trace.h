/* Rung 2: ptrace with RET_TRACE, where a container's runtime owns the one listener. The tracer is
 * the thread that has started the command; stops come with waitpid(2). */
#ifndef TELLTALE_TRACE_H
#define TELLTALE_TRACE_H
#include <sys/user.h>
#include "serve.h"

/* struct ptrace_syscall_info of linux/ptrace.h, which can't be had beside sys/ptrace.h. */
struct stop_info {
  uint8_t op, pad[3];
  uint32_t arch;
  uint64_t instruction_pointer, stack_pointer, number, args[6];
  uint32_t data;
};
#ifndef PTRACE_GET_SYSCALL_INFO
#define PTRACE_GET_SYSCALL_INFO 0x420e
#endif

/* Takes a stopped call back: it is not made, and gives `error`. */
static void refuse_call(pid_t tid, int error) {
  struct user_regs_struct registers;
  if (ptrace(PTRACE_GETREGS, tid, 0, &registers) != 0) return;
  registers.orig_rax = (unsigned long long)-1;
  registers.rax = (unsigned long long)-error;
  ptrace(PTRACE_SETREGS, tid, 0, &registers);
}

static void trace_call(pid_t tid) {
  struct stop_info info;
  memset(&info, 0, sizeof info);
  if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof info, &info) <= 0) return;
  int number = (int)info.number;
  bool foreign = info.arch != AUDIT_ARCH_X86_64 || (number & X32_BIT) != 0;
  struct process *process = recording ? process_of(tid) : NULL;
  if (foreign || number == SYS_io_uring_setup) {
    if (recording) put_blocked(process->pid, foreign ? EVASION_ARCHITECTURE : EVASION_IO_URING);
    refuse_call(tid, ENOSYS);
    return;
  }
  if (recording) {
    uint64_t args[6];
    memcpy(args, info.args, sizeof args);
    note_start(process, number);
    capture(process, tid, number, args);
    write_frames(process);
  }
  // A listener of the command's own would outrank the tracer.
  if (number == SYS_seccomp) refuse_call(tid, EBUSY);
}

static void trace_exec(pid_t tid) {
  if (!recording) return;
  struct process *process = process_of(tid);
  note_start(process, SYS_execve);
  frames_count = 0;
  // Another's listener outranks the tracer and has taken the call; the kernel tells of it anyway.
  if (process->pending == NULL) {
    struct frame *frame = add_frame(F_EXEC_TRY, 0, 0, 0);
    add_part(frame, "", 0);
    add_text(frame, read_link(process->pid, "exe"));
    add_text(frame, read_proc(process->pid, "cmdline"));
  }
  add_program_state(process, F_EXEC_DONE);
  forget_pending(process);
  process->threaded = false;
  write_frames(process);
}

static void trace_end(pid_t tid, int status) {
  struct process *process = by_tid[tid];
  if (process == NULL || !recording) return;
  if (process->pid == tid) {
    remove_process(process, (uint32_t)status);
    tell_main_exit();
    return;
  }
  for (int i = 0; i < process->threads_count; i++)
    if (process->threads[i] == tid) process->threads[i] = process->threads[--process->threads_count];
  by_tid[tid] = NULL;
}

/* One stop; what is given back is the signal to go on with, or -1 where it must not go on. */
static int trace_stop(pid_t tid, int status) {
  int signal_ = WSTOPSIG(status);
  switch (status >> 16) {
    case PTRACE_EVENT_SECCOMP: trace_call(tid); return 0;
    case PTRACE_EVENT_EXEC: trace_exec(tid); return 0;
    case PTRACE_EVENT_FORK:
    case PTRACE_EVENT_VFORK:
    case PTRACE_EVENT_CLONE: return 0;
    case PTRACE_EVENT_STOP:
      // A group stop is the command's own; else it is a new thread's first breath.
      if (signal_ != SIGSTOP && signal_ != SIGTSTP && signal_ != SIGTTIN && signal_ != SIGTTOU)
        return 0;
      ptrace(PTRACE_LISTEN, tid, 0, 0);
      return -1;
    default: return signal_;
  }
}

static void trace_calls(void) {
  int status;
  for (;;) {
    pid_t tid = waitpid(-1, &status, __WALL);
    if (tid < 0 && errno == EINTR) continue;
    pthread_mutex_lock(&lock);
    if (tid < 0) {
      if (!recording) _exit(0);
      users_gone = true;
      uint64_t one = 1;
      if (write(kick_fd, &one, sizeof one) < 0) _exit(1);
      pthread_mutex_unlock(&lock);
      for (;;) pause();
    }
    take_time();
    arena_used = 0;
    if (WIFSTOPPED(status)) {
      int signal_ = trace_stop(tid, status);
      if (signal_ >= 0) ptrace(PTRACE_CONT, tid, 0, (long)signal_);
    } else trace_end(tid, status);
    kick();
    pthread_mutex_unlock(&lock);
  }
}
#endif
