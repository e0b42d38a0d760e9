/* Many WebSocket clients in one epoll loop: the load of the benchmark.

   Commands come on stdin, one a line; each is answered by one JSON object on stdout. It shares the
   machine with what it measures, so it reads into one big buffer and keeps only torn frames. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "deliveries.h"

enum { ROOM = 256 << 10, MOST_UNSENT = 1 << 20, LONGEST_HEAD = 16 << 10 };
enum { BATCH = 64 }; /* small, so that a message that is due waits for few reads */
#define STDIN_MARK UINT32_MAX
#define CONNECT_PATIENCE (60 * SECOND)
#define LINGER (SECOND / 20) /* for deliveries that should not be */

/* ---- Connections ---- */

enum state { WAITING, UPGRADING, OPEN, GONE };

struct connection {
    int fd;
    enum state state;
    bool ready, writing;
    uint16_t port;
    uint32_t wanted, received; /* messages until it counts as ready; and by now */
    char *path, *hello;        /* hello: "K:TEXT", a tab, and so on */
    uint64_t began;
    struct bytes kept, parts, unsent; /* a torn frame; a fragmented message; what the socket did not take */
};

static struct connection *all;
static uint32_t known, started; /* all[started..known) still wait for their turn */
static uint32_t connecting;     /* started, and neither ready nor failed */
static uint32_t ready_count, failed_count;
static unsigned long long closed_count, message_count;
static int close_code, loop;
static char reason[256];
static const char *heartbeat, *heartbeat_answer;
static struct histogram ready_times;

static void watch(struct connection *c, bool writing, int how) {
    struct epoll_event e = {.events = EPOLLIN | (writing ? EPOLLOUT : 0)};
    e.data.u32 = (uint32_t)(c - all);
    epoll_ctl(loop, how, c->fd, &e);
    c->writing = writing;
}

static void leave(struct connection *c) {
    if (c->state != WAITING && c->state != GONE) close(c->fd);
    c->state = GONE;
    release(&c->kept), release(&c->parts), release(&c->unsent);
}

__attribute__((format(printf, 2, 3)))
static void lose(struct connection *c, const char *format, ...) {
    if (c->state == GONE) return;
    if (c->state == OPEN) closed_count++, close_code = 1006; /* unless a close frame told another */
    if (!c->ready) {
        va_list arguments;
        va_start(arguments, format);
        if (!failed_count++) vsnprintf(reason, sizeof reason, format, arguments);
        va_end(arguments);
        connecting--;
    }
    leave(c);
}

static void write_bytes(struct connection *c, const char *bytes, size_t length) {
    ssize_t sent = c->unsent.length ? 0 : send(c->fd, bytes, length, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return lose(c, "write: %s", strerror(errno));
    if (sent < 0) sent = 0;
    if ((size_t)sent == length) return;
    append(&c->unsent, bytes + sent, length - (size_t)sent);
    if (!c->writing) watch(c, true, EPOLL_CTL_MOD);
}

static void write_unsent(struct connection *c) {
    struct bytes rest = c->unsent;
    c->unsent = (struct bytes){0};
    watch(c, false, EPOLL_CTL_MOD);
    write_bytes(c, rest.at, rest.length);
    release(&rest);
}

static void send_frame(struct connection *c, int opcode, const char *text, size_t length) {
    struct bytes frame = {0};
    char header[HEADER];
    append(&frame, header, put_header(header, opcode, length, true));
    append(&frame, text, length);
    write_bytes(c, frame.at, frame.length);
    release(&frame);
}

/* Send the hellos that are due; count it as ready once it is. */
static void progress(struct connection *c) {
    while (c->hello && *c->hello && c->state == OPEN) {
        char *text;
        if (strtoul(c->hello, &text, 10) > c->received) break;
        size_t length = strcspn(++text, "\t");
        send_frame(c, TEXT, text, length);
        c->hello = text[length] ? text + length + 1 : NULL;
    }
    if (c->ready || c->received < c->wanted || c->state != OPEN) return;
    c->ready = true;
    connecting--;
    ready_count++;
    record(&ready_times, now() - c->began);
}

/* ---- Lines to say ---- */

struct line { uint32_t speaker, expected; size_t length, digits, id; char *frame; }; /* id: 0 for none */
static struct { struct line *at; size_t count, turn; bool bad; } lines;

/* Send the next line whose speaker is there. False: no speaker is, or this one's socket is full. */
static bool say_next(void) {
    for (size_t tried = 0; tried < lines.count; tried++) {
        struct line *l = &lines.at[lines.turn];
        struct connection *c = &all[l->speaker];
        if (c->state == OPEN && c->unsent.length > MOST_UNSENT) return false;
        lines.turn = (lines.turn + 1) % lines.count;
        if (c->state != OPEN) continue;
        number_next(l->frame + l->digits, l->expected);
        if (l->id) memcpy(l->frame + l->id, l->frame + l->digits, DIGITS);
        write_bytes(c, l->frame, l->length);
        return true;
    }
    return false;
}

/* ---- What servers send ---- */

static void take_message(struct connection *c, const char *text, size_t length, uint64_t at) {
    if (heartbeat && length == strlen(heartbeat) && !memcmp(text, heartbeat, length))
        return send_frame(c, TEXT, heartbeat_answer, strlen(heartbeat_answer));
    c->received++;
    message_count++;
    find_markers(text, length, at);
    if (c->hello || !c->ready) progress(c);
}

static void take_control(struct connection *c, int opcode, const char *body, size_t length) {
    if (opcode == PING) return send_frame(c, PONG, body, length);
    if (opcode != CLOSE) return;
    int code = length < 2 ? 1005 : (uint8_t)body[0] << 8 | (uint8_t)body[1];
    send_frame(c, CLOSE, body, length < 2 ? 0 : 2);
    lose(c, "closed with %d", code);
    close_code = code;
}

static void take_frame(struct connection *c, const struct frame *f, uint64_t at) {
    if (f->opcode >= CLOSE) return take_control(c, f->opcode, f->body, f->length);
    if (f->last && f->opcode) return take_message(c, f->body, f->length, at);
    if (c->parts.length + f->length > LARGEST) return lose(c, "a message of more than 16 MiB");
    append(&c->parts, f->body, f->length);
    if (!f->last) return;
    struct bytes whole = c->parts;
    c->parts = (struct bytes){0};
    take_message(c, whole.at, whole.length, at);
    release(&whole);
}

/* Take whole frames; return how many bytes they were. */
static size_t take_frames(struct connection *c, char *bytes, size_t length, uint64_t at) {
    size_t done = 0, size;
    struct frame f;
    while (c->state == OPEN && (size = take_first(bytes + done, length - done, &f))) {
        if (size == SIZE_MAX || f.masked) {
            lose(c, "a frame that is masked or of more than 16 MiB");
            break;
        }
        done += size;
        take_frame(c, &f, at);
    }
    return done;
}

/* Take the answer to the handshake, once it is whole; return how many bytes it was. */
static size_t take_answer(struct connection *c, const char *bytes, size_t length) {
    const char *end = memmem(bytes, length, "\r\n\r\n", 4), *line = memmem(bytes, length, "\r\n", 2);
    if (!end) {
        if (length > LONGEST_HEAD) lose(c, "a handshake's answer without an end");
        return 0;
    }
    if (length < 12 || memcmp(bytes, "HTTP/1.1 101", 12)) {
        lose(c, "%.*s", (int)(line - bytes), bytes);
        return 0;
    }
    c->state = OPEN;
    progress(c);
    return (size_t)(end + 4 - bytes);
}

static void read_some(struct connection *c) {
    static struct bytes room;
    struct bytes torn = c->kept;
    c->kept = (struct bytes){0};
    room.length = 0;
    append(&room, torn.at, torn.length);
    release(&torn);
    if (room.capacity < room.length + ROOM) room.at = have(room.at, room.capacity = room.length + ROOM);
    ssize_t got = recv(c->fd, room.at + room.length, ROOM, 0);
    if (got < 0 && errno != EAGAIN) return lose(c, "read: %s", strerror(errno));
    if (got == 0) return lose(c, "closed without a word");
    room.length += got < 0 ? 0 : (size_t)got;
    size_t done = c->state == UPGRADING ? take_answer(c, room.at, room.length) : 0;
    if (c->state == OPEN) done += take_frames(c, room.at + done, room.length - done, now());
    if (c->state != GONE) append(&c->kept, room.at + done, room.length - done);
}

/* ---- The loop ---- */

static bool commands_wait;

static void start_next(void) {
    struct connection *c = &all[started++];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(c->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connecting++;
    c->began = now();
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) return lose(c, "socket: %s", strerror(errno));
    c->state = UPGRADING;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS)
        return lose(c, "connect: %s", strerror(errno));
    int length = asprintf(&c->unsent.at, /* written as soon as it is connected */
        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", c->path, c->port);
    if (length < 0) abort();
    c->unsent.length = (size_t)length;
    watch(c, true, EPOLL_CTL_ADD);
}

static bool awake;    /* never sleep: to wake us would be charged to the server */
static uint64_t idled; /* while nothing had come */

/* Look until something has come or it is time. */
static int watch_closely(struct epoll_event *events, uint64_t until) {
    uint64_t began = now(), seen = began;
    int count;
    while (!(count = epoll_wait(loop, events, BATCH, 0)) && (seen = now()) < until) {}
    idled += seen - began;
    return count;
}

/* Wait until something happens or the time has come, and handle it. */
static void turn(uint64_t until) {
    static struct epoll_event events[BATCH];
    uint64_t t = until ? now() : 0, left = until > t ? until - t : 0;
    struct timespec wait = {(time_t)(left / SECOND), (long)(left % SECOND)};
    int count = awake ? watch_closely(events, until)
                      : epoll_pwait2(loop, events, BATCH, until ? &wait : NULL, NULL);
    for (int i = 0; i < count; i++) {
        if (events[i].data.u32 == STDIN_MARK) {
            commands_wait = true;
            continue;
        }
        struct connection *c = &all[events[i].data.u32];
        if (c->state != GONE && events[i].events & ~(uint32_t)EPOLLOUT) read_some(c);
        if (c->state != GONE && events[i].events & EPOLLOUT && c->writing) write_unsent(c);
    }
}

/* ---- Commands ---- */

__attribute__((format(printf, 1, 2)))
static void answer(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf(", \"closed\": %llu, \"close_code\": %d}\n", closed_count, close_code);
    fflush(stdout);
}

static void refuse(const char *why) { answer("{\"error\": \"%s\"", why); }

static char *next_field(char **rest) {
    char *field = strsep(rest, "\t");
    return field ? field : "";
}

static void add_person(char *line) {
    char *rest = strdup(line); /* for as long as the connection */
    all = have(all, (known + 1) * sizeof *all);
    struct connection *c = &all[known++];
    *c = (struct connection){.fd = -1, .port = (uint16_t)atoi(next_field(&rest))};
    c->path = next_field(&rest);
    c->wanted = (uint32_t)strtoul(next_field(&rest), NULL, 10);
    c->hello = rest;
}

static void connect_people(const char *path, uint32_t concurrency) {
    uint64_t began = now(), spent = cpu();
    ready_count = failed_count = 0;
    reason[0] = 0;
    memset(&ready_times, 0, sizeof ready_times);
    if (!each_line(path, add_person)) return refuse("no such file");
    while (started < known || connecting) {
        if (now() - began > CONNECT_PATIENCE) break;
        while (started < known && connecting < concurrency) start_next();
        if (connecting) turn(began + CONNECT_PATIENCE);
    }
    for (; started < known; started++) connecting++, lose(&all[started], "no time left to connect");
    for (uint32_t i = 0; i < known && connecting; i++)
        if (!all[i].ready) lose(&all[i], "not ready in time after %u messages", all[i].received);
    for (char *r = reason; *r; r++) if (strchr("\"\\", *r) || (signed char)*r < ' ') *r = '?'; /* it goes into JSON */
    answer("{\"ready\": %u, \"failed\": %u, \"reason\": \"%s\", \"seconds\": %.6f, \"cpu_seconds\": %.6f"
           ", \"p50_ms\": %.4f, \"p99_ms\": %.4f", ready_count, failed_count, reason, seconds(now() - began),
           seconds(cpu() - spent), milliseconds(&ready_times, .5), milliseconds(&ready_times, .99));
}

static void add_line(char *rest) {
    struct line l = {.speaker = (uint32_t)strtoul(next_field(&rest), NULL, 10)};
    l.expected = (uint32_t)strtoul(next_field(&rest), NULL, 10);
    char *marker = rest ? strstr(rest, "~0000000000~") : NULL;
    if (!marker || l.speaker >= known || !l.expected) {
        lines.bad = true;
        return;
    }
    size_t length = strlen(rest);
    l.frame = have(NULL, HEADER + length);
    size_t header = put_header(l.frame, TEXT, length, true);
    memcpy(l.frame + header, rest, length);
    l.length = header + length;
    l.digits = header + (size_t)(marker + 1 - rest);
    char *id = strstr(rest, "#0000000000#");
    l.id = id ? header + (size_t)(id + 1 - rest) : 0;
    lines.at = have(lines.at, (lines.count + 1) * sizeof l);
    lines.at[lines.count++] = l;
}

/* Send what is due now; return when the next one is. */
static uint64_t say_due(uint64_t began, uint64_t end, uint64_t window, double rate) {
    if (window) {
        while (said.outstanding < window && now() < end && say_next()) {}
        return end;
    }
    for (;;) {
        uint64_t due = began + (uint64_t)((double)(said.next - said.first) * 1e9 / rate);
        if (due >= end || due > now()) return due < end ? due : end;
        if (!say_next()) return now() + SECOND / 100;
    }
}

static void print_said(uint64_t began, uint64_t spent) {
    uint64_t whole = said.last > began ? said.last - began : now() - began;
    struct histogram *d = &said.delivery_times, *m = &said.message_times;
    answer("{\"messages\": %llu, \"deliveries\": %llu, \"missing\": %llu, \"surplus\": %llu, \"late\": %llu"
           ", \"seconds\": %.6f, \"cpu_seconds\": %.6f"
           ", \"delivery_ms\": {\"p50\": %.4f, \"p99\": %.4f, \"max\": %.4f}"
           ", \"message_ms\": {\"p50\": %.4f, \"p99\": %.4f, \"max\": %.4f}",
           said.next - said.first, said.deliveries, said.missing, said.surplus, said.late,
           seconds(whole), seconds(spent), milliseconds(d, .5), milliseconds(d, .99), seconds(d->max) * 1e3,
           milliseconds(m, .5), milliseconds(m, .99), seconds(m->max) * 1e3);
}

static uint64_t patience = 10 * SECOND;

static void say(const char *path, double length, uint64_t window, double rate, bool closely) {
    while (lines.count) free(lines.at[--lines.count].frame);
    lines.turn = lines.bad = 0;
    if (!each_line(path, add_line)) return refuse("no such file");
    if (lines.bad || !lines.count) return refuse("a line without a known speaker, a number and a marker");
    if (!window == !(rate > 0)) return refuse("either a window or a rate");
    begin_said();
    uint64_t spent = cpu(), began = now(), end = began + (uint64_t)(length * 1e9);
    awake = closely;
    idled = 0;
    while (now() < end) turn(say_due(began, end, window, rate));
    while (said.outstanding && now() < end + patience) turn(end + patience);
    awake = false;
    spent = cpu() - spent;
    spent -= idled < spent ? idled : spent;
    for (uint64_t t = now() + LINGER; now() < t;) turn(t);
    end_said();
    print_said(began, spent);
    said.late = 0;
}

static void idle(double length) {
    unsigned long long before = message_count;
    uint64_t began = now(), end = began + (uint64_t)(length * 1e9);
    while (now() < end) turn(end);
    answer("{\"seconds\": %.6f, \"messages\": %llu", seconds(now() - began), message_count - before);
}

static void drop(uint32_t from, uint32_t to) {
    unsigned dropped = 0;
    for (; from < to && from < known; from++) {
        dropped += all[from].state != GONE;
        leave(&all[from]);
    }
    answer("{\"dropped\": %u", dropped);
}

static void obey(const char *command) {
    char path[4096];
    double length, rate = 0;
    unsigned long long window = 0;
    unsigned a, b;
    if (sscanf(command, "connect %4095s concurrency=%u", path, &a) == 2 && a) connect_people(path, a);
    else if (sscanf(command, "say %4095s awake=%u seconds=%lf window=%llu", path, &a, &length, &window) == 4
             || sscanf(command, "say %4095s awake=%u seconds=%lf rate=%lf", path, &a, &length, &rate) == 4)
        say(path, length, window, rate, a);
    else if (sscanf(command, "idle seconds=%lf", &length) == 1) idle(length);
    else if (sscanf(command, "drop %u %u", &a, &b) == 2) drop(a, b);
    else if (!strcmp(command, "quit")) exit(0);
    else refuse("no such command");
}

static void read_commands(void) {
    static char text[8192];
    static size_t length;
    ssize_t got = read(STDIN_FILENO, text + length, sizeof text - 1 - length);
    if (got <= 0) exit(0);
    text[length += (size_t)got] = 0;
    for (char *end; (end = strchr(text, '\n'));) {
        *end++ = 0;
        obey(text);
        length -= (size_t)(end - text);
        memmove(text, end, length + 1);
    }
}

int main(int count, char **arguments) {
    for (int i = 1; i < count; i++) {
        if (!strcmp(arguments[i], "--answer") && i + 2 < count) {
            heartbeat = arguments[++i];
            heartbeat_answer = arguments[++i];
        } else if (!strcmp(arguments[i], "--patience") && i + 1 < count) {
            patience = (uint64_t)(atof(arguments[++i]) * 1e9);
        } else {
            fprintf(stderr, "usage: clients [--answer PING PONG] [--patience SECONDS]\n");
            return 2;
        }
    }
    allow_many_files();
    signal(SIGPIPE, SIG_IGN);
    loop = epoll_create1(EPOLL_CLOEXEC);
    /* One shot: commands wait while one is carried out, and must not wake the loop again and again. */
    struct epoll_event e = {.events = EPOLLIN | EPOLLONESHOT, .data.u32 = STDIN_MARK};
    if (loop < 0 || epoll_ctl(loop, EPOLL_CTL_ADD, STDIN_FILENO, &e)) return perror("clients"), 1;
    for (;;) {
        while (!commands_wait) turn(0);
        commands_wait = false;
        read_commands();
        epoll_ctl(loop, EPOLL_CTL_MOD, STDIN_FILENO, &e);
    }
}
