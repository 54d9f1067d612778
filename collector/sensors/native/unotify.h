/* Rung 1: seccomp user notification. One thread blocks in RECV, so that the kernel can hand the
 * caller's core straight to it (SYNC_WAKE_UP); everything else is the other thread's. */
#ifndef TELLTALE_UNOTIFY_H
#define TELLTALE_UNOTIFY_H
#include "serve.h"

enum { HAND_RECEIVED, HAND_WRITING, HAND_WRITTEN };
static _Atomic int *hand;

/* Lets the call go on, or answers it with an error. False where it does not wait any more. */
static bool answer(uint64_t id, int error) {
  struct seccomp_notif_resp response = {.id = id, .error = -error};
  if (error == 0) response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  return ioctl(shared->listener, SECCOMP_IOCTL_NOTIF_SEND, &response) == 0;
}

static bool still_waits(uint64_t id) {
  return ioctl(shared->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

static void begin_writing(void) {
  shared->written_from = shared->tail;
  *hand = HAND_WRITING;
}

/* For a successor, before anything else is written: a call of which a frame stands in the ring was
 * told, and telling it again would make two of it. */
static void judge_hand(void) {
  if (shared->in_hand == HAND_WRITING)
    shared->in_hand = shared->tail == shared->written_from ? HAND_RECEIVED : HAND_WRITTEN;
}

/* One received call; called with the lock. */
static void handle(const struct seccomp_notif *notif) {
  int number = notif->data.nr;
  bool foreign = notif->data.arch != AUDIT_ARCH_X86_64 || (number & X32_BIT) != 0;
  bool refused = foreign || number == SYS_io_uring_setup;
  if (*hand == HAND_WRITTEN || (!recording && !refused)) {
    answer(notif->id, refused ? ENOSYS : 0);
    return;
  }
  take_time();
  arena_used = 0;
  if (recording) take_ends();
  if (refused) {
    if (recording && still_waits(notif->id)) {
      struct process *process = process_of((pid_t)notif->pid);
      begin_writing();
      put_blocked(process->pid, foreign ? EVASION_ARCHITECTURE : EVASION_IO_URING);
    }
    answer(notif->id, ENOSYS);
    return;
  }
  struct process *process = process_of((pid_t)notif->pid);
  note_start(process, number);
  uint64_t args[6];
  memcpy(args, notif->data.args, sizeof args);
  capture(process, (pid_t)notif->pid, number, args);
  begin_writing();
  // The id is valid only as long as the call still waits: then what was read was its own.
  if (still_waits(notif->id)) write_frames(process);
  else write_settled(process);
  *hand = HAND_WRITTEN;
  answer(notif->id, 0);
}

/* The loop over calls; it never returns. */
static void receive_calls(void) {
  for (;;) {
    // The kernel fills it in: from then on, and not from our next line on, the call is in hand.
    *hand = HAND_RECEIVED;
    memset(&shared->notif, 0, sizeof shared->notif);
    if (ioctl(shared->listener, SECCOMP_IOCTL_NOTIF_RECV, &shared->notif) != 0) {
      struct pollfd one = {shared->listener, 0, 0};
      // Nobody has the filter any more: the other thread brings it to its end.
      if (errno != EINTR && poll(&one, 1, 0) > 0 && (one.revents & POLLHUP) != 0)
        for (;;) pause();
      continue;
    }
    pthread_mutex_lock(&lock);
    handle(&shared->notif);
    kick();
    pthread_mutex_unlock(&lock);
  }
}

/* The call that the one before had taken, if any: it waits for an answer for ever. */
static void finish_in_hand(void) {
  if (shared->notif.id != 0 && still_waits(shared->notif.id)) handle(&shared->notif);
}

/* A successor: what the one before left half done, and who lives. */
static void take_over(void) {
  static pid_t below[8192];
  take_time();
  put_text(F_RESUMED, 0, 0, "the supervisor was killed and replaced: what began or ended in between, "
                            "and one call at most, may be missing");
  int count = descendants(keeper_pid, below, 8192);
  for (int i = 0; i < count; i++) {
    arena_used = 0;
    int pidfd = below[i] == self_pid ? -1 : open_pidfd(below[i]);
    if (pidfd < 0) continue;
    if (by_tid[below[i]] == NULL) add_process(below[i], pidfd, true);
    else close(pidfd);
  }
  if (!shared->running) put(F_RUNNING, (uint32_t)shared->main_pid, 0, 0, 0, NULL, 0);
  shared->running = true;
  if (by_tid[shared->main_pid] == NULL) main_gone = true;
  finish_in_hand();
}
#endif
