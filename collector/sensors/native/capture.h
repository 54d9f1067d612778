/* What is read of each stopped call, before it is let go on; the frames are written after it. */
#ifndef TELLTALE_CAPTURE_H
#define TELLTALE_CAPTURE_H
#include "processes.h"

#define FRAMES_MAX 1030
#define PARTS_MAX 5
#define PAYLOAD_MAX 512u
#define O_WRITE_MASK (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)
#define TMPFILE_BIT 020000000
#define DNS_PORT 53

struct frame {
  uint16_t type, flags;
  uint32_t a, b;
  struct part parts[PARTS_MAX];
  int count;
};
static struct frame frames[FRAMES_MAX];
static int frames_count;

static struct frame *add_frame(uint16_t type, uint32_t a, uint32_t b, uint16_t flags) {
  if (frames_count == FRAMES_MAX) return NULL;
  struct frame *frame = &frames[frames_count++];
  *frame = (struct frame){type, flags, a, b, {{0}}, 0};
  return frame;
}
static void add_part(struct frame *frame, const void *at, size_t size) {
  if (frame != NULL && frame->count < PARTS_MAX) frame->parts[frame->count++] = PART(at, size);
}
static void add_text(struct frame *frame, struct text text) { add_part(frame, text.at, text.size); }

/* ---------- programs ---------- */
static void add_program_state(struct process *process, uint16_t type) {
  uint32_t error =
      type == F_EXEC_SETTLE ? (uint32_t)exec_error(process->pending, process->pid) : 0;
  struct frame *frame = add_frame(type, error, 0, 0);
  // Most programs do nothing else that is looked up.
  proc_once = true;
  add_text(frame, read_link(process->pid, "exe"));
  add_text(frame, read_link(process->pid, "cwd"));
  add_text(frame, read_proc(process->pid, "cmdline"));
  add_text(frame, keys_of(process->pid));
  proc_once = false;
}

static bool keep_place(struct pending *pending, struct text dir, struct text name) {
  if (pending->count == PLACES_MAX) {
    size_t first = strlen(pending->places) + 1;
    pending->places_size -= first;
    memmove(pending->places, pending->places + first, pending->places_size);
    pending->count--;
  }
  size_t size = name.size + 1 + (dir.size > 0 ? dir.size + 1 : 0);
  char *places = realloc(pending->places, pending->places_size + size);
  if (places == NULL) return false;
  pending->places = places;
  char *at = places + pending->places_size;
  if (dir.size > 0) {
    memcpy(at, dir.at, dir.size);
    at += dir.size;
    *at++ = '/';
  }
  memcpy(at, name.at, name.size);
  at[name.size] = 0;
  pending->places_size += size;
  pending->count++;
  return true;
}

static void capture_exec(struct process *process, const uint64_t *args, int path, int dirfd_at) {
  pid_t pid = process->pid;
  int dirfd = dirfd_at < 0 ? AT_FDCWD : (int)args[dirfd_at];
  uint64_t vector = args[path + 1];
  struct text text = read_string_and_vector(pid, args[path], vector);
  bool by_fd = text.ok && text.size == 0 && dirfd_at >= 0 && (args[4] & AT_EMPTY_PATH) != 0;
  struct text name = by_fd ? directory_of(pid, dirfd) : text;
  struct text dir = {"", 0, true};
  if (name.size == 0 || name.at[0] != '/') dir = directory_of(pid, dirfd);
  const char *slash = name.size == 0 ? NULL : memrchr(name.at, '/', name.size);
  const char *base = slash == NULL ? name.at : slash + 1;
  size_t base_size = name.size == 0 ? 0 : (size_t)(name.at + name.size - base);
  struct pending *before = process->pending;
  // A search along PATH tries the same name with the same vector in one place after another.
  bool continues = before != NULL && before->argv == vector && strlen(before->base) == base_size &&
                   memcmp(before->base, base_size == 0 ? "" : base, base_size) == 0;
  if (before != NULL && !continues) {
    add_program_state(process, F_EXEC_SETTLE);
    forget_pending(process);
  }
  if (!continues) {
    process->pending = calloc(1, sizeof *process->pending);
    if (process->pending == NULL) give_up("memory");
    process->pending->argv = vector;
    process->pending->base = strndup(base_size == 0 ? "" : base, base_size);
  }
  // What a search has told once is not read again at each of its places.
  struct text argv = {"", 0, true};
  if (!continues) argv = read_vector(pid, vector);
  keep_place(process->pending, dir, name);
  process->dns_count = 0;
  struct frame *frame =
      add_frame(F_EXEC_TRY, 0, continues ? 1 : 0, text.ok ? 0 : FLAG_UNREADABLE);
  add_text(frame, dir);
  add_text(frame, name);
  add_text(frame, argv);
}

/* ---------- files ---------- */
static void add_path(struct frame *frame, pid_t pid, int dirfd, struct text text, bool is_path) {
  struct text dir = {"", 0, true};
  if (is_path && text.ok && (text.size == 0 || text.at[0] != '/')) dir = directory_of(pid, dirfd);
  if (frame != NULL && !text.ok) frame->flags |= FLAG_UNREADABLE;
  add_text(frame, dir);
  add_text(frame, text.ok ? text : (struct text){"", 0, true});
}

static struct frame *add_file(pid_t pid, uint32_t op, uint32_t mode, int dirfd, uint64_t at) {
  struct frame *frame = add_frame(F_FILE, op, mode, 0);
  add_path(frame, pid, dirfd, read_string(pid, at), true);
  return frame;
}

/* Whether an open creates its file is found out before it is let go on. */
static void capture_open(pid_t pid, int dirfd, uint64_t at, uint64_t flags, uint32_t mode) {
  if ((flags & O_WRITE_MASK) == 0) return;
  bool unnamed = (flags & TMPFILE_BIT) != 0;
  if (!unnamed && (flags & O_CREAT) == 0) {
    add_file(pid, OP_WRITE, NO_NUMBER, dirfd, at);
    return;
  }
  struct frame *frame = add_file(pid, OP_CREATE, mode & 07777, dirfd, at);
  if (frame == NULL) return;
  if (unnamed) frame->flags |= FLAG_TMPFILE;
  // O_EXCL on a file that exists fails, so what succeeds is a creation.
  if (unnamed || (flags & O_EXCL) != 0 || frame->flags != 0) return;
  if (access_of(pid, dirfd, frame->parts[1].at, frame->parts[1].size, F_OK) != 0) return;
  frame->a = OP_WRITE;
  frame->b = NO_NUMBER;
}

static int dirfd_in(const uint64_t *args, uint8_t at) {
  return at < 6 ? (int)args[at] : AT_FDCWD;
}

static void capture_shape(pid_t pid, const struct shape *shape, const uint64_t *args) {
  struct frame *frame;
  if (shape->op == SHAPE_GUARDED) {
    frame = add_frame(F_CALL, shape->number, 0, 0);
    uint64_t *registers = room(6 * sizeof *registers);
    if (registers == NULL) return;
    memcpy(registers, args, 6 * sizeof *registers);
    add_part(frame, registers, 6 * sizeof *registers);
  } else {
    uint32_t mode = shape->mode < 6 ? (uint32_t)args[shape->mode] & 07777 : NO_NUMBER;
    frame = add_frame(F_FILE, shape->op, mode, 0);
  }
  // The text of a symbolic link is relative to the link, not to a directory of the process.
  bool first = shape->dirfd != SHAPE_NO_PATH && shape->op != OP_SYMLINK;
  if (shape->path < 6)
    add_path(frame, pid, dirfd_in(args, shape->dirfd), read_string(pid, args[shape->path]), first);
  // What makes every directory on its way once more (mkdir -p) changes nothing: it fails.
  if (shape->op == OP_MKDIR && frame != NULL && frame->flags == 0 &&
      access_of(pid, dirfd_in(args, shape->dirfd), frame->parts[1].at, frame->parts[1].size,
                F_OK) == 0) {
    frames_count--;
    return;
  }
  if (shape->path2 < 6)
    add_path(frame, pid, dirfd_in(args, shape->dirfd2), read_string(pid, args[shape->path2]), true);
}

/* ---------- network ---------- */
static uint16_t port_of(const uint8_t *address, size_t size) {
  uint16_t family = 0, port = 0;
  if (size < 4) return 0;
  memcpy(&family, address, 2);
  if (family != AF_INET && family != AF_INET6) return 0;
  memcpy(&port, address + 2, 2);
  return ntohs(port);
}

/* Asks a copy of the descriptor for its protocol; NO_NUMBER where taking one is refused. */
static uint32_t protocol_of(struct process *process, int fd) {
  int copy = (int)syscall(SYS_pidfd_getfd, process->pidfd, fd, 0), value = 0;
  socklen_t size = sizeof value;
  if (copy < 0) return NO_NUMBER;
  bool ok = getsockopt(copy, SOL_SOCKET, SO_PROTOCOL, &value, &size) == 0;
  close(copy);
  return ok ? (uint32_t)value : NO_NUMBER;
}

static struct text read_address(pid_t pid, uint64_t at, uint64_t size) {
  size_t want = size < 128 ? (size_t)size : 128;
  struct text text = {room(128), 0, false};
  if (text.at == NULL || at == 0 || want < 2) return text;
  ssize_t got = read_memory(pid, at, text.at, want);
  text.ok = got > 0;
  text.size = got > 0 ? (size_t)got : 0;
  return text;
}

static void add_net(struct process *process, uint32_t op, int fd, struct text address,
                    struct text payload) {
  uint16_t family = 0;
  if (address.size >= 2) memcpy(&family, address.at, 2);
  bool ip = family == AF_INET || family == AF_INET6;
  bool relative = family == AF_UNIX && address.size > 2 && address.at[2] != 0 && address.at[2] != '/';
  struct frame *frame = add_frame(F_NET, op, ip ? protocol_of(process, fd) : NO_NUMBER, 0);
  add_text(frame, address);
  add_text(frame, relative ? read_link(process->pid, "cwd") : (struct text){"", 0, true});
  add_text(frame, payload);
}

static struct dns_socket *dns_of(struct process *process, int fd) {
  for (int i = 0; i < process->dns_count; i++)
    if (process->dns[i].fd == fd) return &process->dns[i];
  return NULL;
}

/* Keeps in mind which descriptors lead to port 53: later sends on them carry no address. */
static void remember_dns(struct process *process, int fd, struct text address) {
  struct dns_socket *known = dns_of(process, fd);
  if (port_of((uint8_t *)address.at, address.size) != DNS_PORT) {
    if (known != NULL) *known = process->dns[--process->dns_count];
    return;
  }
  if (process->dns == NULL) process->dns = calloc(DNS_SOCKETS_MAX, sizeof *process->dns);
  if (known == NULL && process->dns != NULL && process->dns_count < DNS_SOCKETS_MAX)
    known = &process->dns[process->dns_count++];
  if (known == NULL) return;
  known->fd = fd;
  known->size = (uint32_t)address.size;
  memcpy(known->address, address.at, address.size);
}

static struct text read_payload(pid_t pid, uint64_t at, uint64_t size) {
  size_t want = size < PAYLOAD_MAX ? (size_t)size : PAYLOAD_MAX;
  struct text text = {room(PAYLOAD_MAX), 0, false};
  if (text.at == NULL || want == 0) return text;
  ssize_t got = read_memory(pid, at, text.at, want);
  text.ok = got > 0;
  text.size = got > 0 ? (size_t)got : 0;
  return text;
}

static void capture_message(struct process *process, int fd, const struct msghdr *header) {
  struct text none = {"", 0, true};
  struct text address =
      read_address(process->pid, (uint64_t)(uintptr_t)header->msg_name, header->msg_namelen);
  struct dns_socket *dns = address.ok ? NULL : dns_of(process, fd);
  if (dns != NULL) {
    memcpy(address.at, dns->address, dns->size);
    address.size = dns->size;
  } else if (!address.ok) return;
  if (port_of((uint8_t *)address.at, address.size) != DNS_PORT) {
    add_net(process, NET_SEND, fd, address, none);
    return;
  }
  struct iovec first = {0};
  if (read_memory(process->pid, (uint64_t)(uintptr_t)header->msg_iov, &first, sizeof first) !=
      (ssize_t)sizeof first)
    return;
  add_net(process, NET_SEND, fd, address,
          read_payload(process->pid, (uint64_t)(uintptr_t)first.iov_base, first.iov_len));
}

static void capture_messages(struct process *process, const uint64_t *args, uint64_t count) {
  struct mmsghdr header;
  size_t step = sizeof header, size = sizeof header.msg_hdr;
  if (count > 1024) count = 1024;
  for (uint64_t i = 0; i < count; i++) {
    memset(&header, 0, sizeof header);
    if (read_memory(process->pid, args[1] + i * step, &header, size) != (ssize_t)size) return;
    capture_message(process, (int)args[0], &header.msg_hdr);
  }
}

/* ---------- all calls ---------- */
static bool is_exec(int number) { return number == SYS_execve || number == SYS_execveat; }

static void capture_call(struct process *process, int number, const uint64_t *args) {
  pid_t pid = process->pid;
  struct text none = {"", 0, true};
  switch (number) {
    case SYS_execve: capture_exec(process, args, 0, -1); return;
    case SYS_execveat: capture_exec(process, args, 1, 0); return;
    case SYS_arch_prctl:
      if (process->pending == NULL) return;
      add_program_state(process, F_EXEC_DONE);
      forget_pending(process);
      process->threaded = false;
      return;
    case SYS_exit_group: add_frame(F_EXITING, (uint32_t)args[0] & 0xff, 0, 0); return;
    case SYS_openat: capture_open(pid, (int)args[0], args[1], args[2], (uint32_t)args[3]); return;
    case SYS_open: capture_open(pid, AT_FDCWD, args[0], args[1], (uint32_t)args[2]); return;
    case SYS_creat:
      capture_open(pid, AT_FDCWD, args[0], O_CREAT | O_WRONLY | O_TRUNC, (uint32_t)args[1]);
      return;
    case SYS_openat2: {
      uint64_t how[2];
      if (read_memory(pid, args[2], how, sizeof how) != (ssize_t)sizeof how) return;
      capture_open(pid, (int)args[0], args[1], how[0], (uint32_t)how[1]);
      return;
    }
    case SYS_unlinkat:
      add_file(pid, (args[2] & AT_REMOVEDIR) == 0 ? OP_DELETE : OP_RMDIR, NO_NUMBER, (int)args[0],
               args[1]);
      return;
    case SYS_fchmod: {
      struct frame *frame = add_frame(F_FILE, OP_MODE, (uint32_t)args[1] & 07777, 0);
      add_text(frame, none);
      add_text(frame, directory_of(pid, (int)args[0]));
      return;
    }
    case SYS_connect:
    case SYS_bind: {
      struct text address = read_address(pid, args[1], (uint32_t)args[2]);
      if (!address.ok) return;
      if (number == SYS_connect) remember_dns(process, (int)args[0], address);
      add_net(process, number == SYS_connect ? NET_CONNECT : NET_BIND, (int)args[0], address, none);
      return;
    }
    case SYS_sendto: {
      struct text address = read_address(pid, args[4], (uint32_t)args[5]);
      if (!address.ok) return;
      bool dns = port_of((uint8_t *)address.at, address.size) == DNS_PORT;
      struct text payload = dns ? read_payload(pid, args[1], (uint32_t)args[2]) : none;
      add_net(process, NET_SEND, (int)args[0], address, payload);
      return;
    }
    case SYS_sendmsg: capture_messages(process, args, 1); return;
    case SYS_sendmmsg: capture_messages(process, args, (uint32_t)args[2]); return;
    default:
      if (number >= 0 && number < CALLS_MAX && spec.shaped[number])
        capture_shape(pid, &spec.shapes[number], args);
  }
}

/* Reads one stop into `frames`. */
static void capture(struct process *process, pid_t tid, int number, const uint64_t *args) {
  frames_count = 0;
  // Another call than those of an exec: the exec before it has ended, one way or the other.
  if (process->pending != NULL && !is_exec(number) && number != SYS_arch_prctl) {
    add_program_state(process, F_EXEC_SETTLE);
    forget_pending(process);
  }
  capture_call(process, number, args);
  bool races = false;
  for (int i = 0; i < frames_count; i++) {
    uint16_t type = frames[i].type;
    bool once = type == F_FILE || type == F_NET || type == F_CALL;
    if (once && (races || (races = is_threaded(process, tid)))) frames[i].flags |= FLAG_RACEABLE;
  }
}

static void write_frames(struct process *process) {
  for (int i = 0; i < frames_count; i++)
    put(frames[i].type, (uint32_t)process->pid, frames[i].a, frames[i].b, frames[i].flags,
        frames[i].parts, (uint32_t)frames[i].count);
}

/* Of a call that was interrupted before it began: it comes again if it is made again. */
static void write_settled(struct process *process) {
  int kept = 0;
  for (int i = 0; i < frames_count; i++)
    if (frames[i].type == F_EXEC_SETTLE || frames[i].type == F_EXEC_DONE) frames[kept++] = frames[i];
  frames_count = kept;
  write_frames(process);
}
#endif
