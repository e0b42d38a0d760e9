/* The physical limit: what this machine needs at least to send one message to many WebSocket clients.

   One thread, one epoll loop. Who connects to /publish speaks, everyone else listens. Each text message
   of a speaker becomes one frame, which is sent to each listener by a send() of its own: frames are
   never joined, as a server that promises low latency under low load cannot join them either. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "basics.h"

enum { ROOM = 256 << 10, MOST_UNSENT = 4 << 20, LONGEST_HEAD = 16 << 10, FILES = 1 << 20, BATCH = 256 };

enum role { NOBODY, NEWCOMER, SPEAKER, LISTENER };

struct connection {
    int fd, place; /* among the listeners */
    enum role role;
    size_t torn; /* so many bytes of what is unsent are the rest of a frame */
    struct bytes kept, unsent;
};

static struct connection *by_fd[FILES], *listeners[FILES];
static int listening, loop;

/* ---- The handshake's key: base64(SHA-1(key + GUID)), RFC 6455, section 4.2.2 ---- */

static uint32_t rotated(uint32_t x, int by) { return x << by | x >> (32 - by); }

static void sha1_block(uint32_t h[5], const uint8_t *block) {
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 16; i++, block += 4)
        w[i] = (uint32_t)block[0] << 24 | (uint32_t)block[1] << 16 | (uint32_t)block[2] << 8 | block[3];
    for (int i = 16; i < 80; i++) w[i] = rotated(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20 ? (b & c) | (~b & d) : i >= 40 && i < 60 ? (b & c) | (b & d) | (c & d) : b ^ c ^ d;
        uint32_t k = i < 20 ? 0x5a827999 : i < 40 ? 0x6ed9eba1 : i < 60 ? 0x8f1bbcdc : 0xca62c1d6;
        uint32_t next = rotated(a, 5) + f + e + k + w[i];
        e = d, d = c, c = rotated(b, 30), b = a, a = next;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
}

/* The key has 24 letters, so that with the GUID there are 60 bytes: two blocks, once padded. */
static void accept_key(const char *key, char out[29]) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t blocks[128] = {0}, hash[21] = {0};
    memcpy(blocks, key, 24);
    memcpy(blocks + 24, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11\x80", 37);
    blocks[126] = 60 * 8 >> 8;
    blocks[127] = 60 * 8 & 255;
    sha1_block(h, blocks);
    sha1_block(h, blocks + 64);
    for (int i = 0; i < 20; i++) hash[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
    for (int i = 0; i < 28; i++) {
        const uint8_t *three = hash + i / 4 * 3;
        uint32_t bits = (uint32_t)three[0] << 16 | (uint32_t)three[1] << 8 | three[2];
        out[i] = letters[bits >> (18 - 6 * (i % 4)) & 63];
    }
    out[27] = '=';
    out[28] = 0;
}

/* ---- Connections ---- */

static void watch(struct connection *c, uint32_t events, int how) {
    struct epoll_event e = {.events = events, .data.fd = c->fd};
    epoll_ctl(loop, how, c->fd, &e);
}

static void leave(struct connection *c) {
    if (c->role == LISTENER) {
        struct connection *last = listeners[--listening];
        listeners[last->place = c->place] = last;
    }
    by_fd[c->fd] = NULL;
    close(c->fd);
    release(&c->kept), release(&c->unsent);
    free(c);
}

/* Send one frame, or keep of it what the socket does not take. False: the connection is gone. */
static bool write_frame(struct connection *c, const char *frame, size_t length) {
    ssize_t sent = c->unsent.length ? 0 : send(c->fd, frame, length, MSG_NOSIGNAL);
    if (sent == (ssize_t)length) return true;
    if ((sent < 0 && errno != EAGAIN) || c->unsent.length > MOST_UNSENT) return leave(c), false;
    if (sent > 0) c->torn = length - (size_t)sent;
    if (!c->unsent.length) watch(c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
    append(&c->unsent, frame + (sent > 0 ? sent : 0), length - (size_t)(sent > 0 ? sent : 0));
    return true;
}

/* Send what was kept, still by one send() for each frame. */
static bool write_unsent(struct connection *c) {
    size_t done = 0;
    struct frame f;
    while (done < c->unsent.length) {
        char *from = c->unsent.at + done;
        size_t size = c->torn ? c->torn : take_first(from, c->unsent.length - done, &f);
        ssize_t sent = send(c->fd, from, size, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) return leave(c), false;
        if (sent < 0) break;
        done += (size_t)sent;
        if ((c->torn = size - (size_t)sent)) break;
    }
    c->unsent.length -= done;
    memmove(c->unsent.at, c->unsent.at + done, c->unsent.length);
    if (c->unsent.length) return true;
    release(&c->unsent);
    watch(c, EPOLLIN, EPOLL_CTL_MOD);
    return true;
}

/* ---- What clients send ---- */

static void tell_all(const struct frame *said) {
    static struct bytes frame;
    char header[HEADER];
    frame.length = 0;
    append(&frame, header, put_header(header, TEXT, said->length, false));
    append(&frame, said->body, said->length);
    /* From the last: who leaves meanwhile is replaced by one that was already told. */
    for (int i = listening; i--;) write_frame(listeners[i], frame.at, frame.length);
}

/* Answer a frame of a client. False: the connection is gone. */
static bool take_frame(struct connection *c, const struct frame *f) {
    char reply[HEADER + 125];
    if (f->opcode == TEXT && c->role == SPEAKER) tell_all(f);
    if (f->opcode != PING && f->opcode != CLOSE) return true;
    if (f->length > 125) return leave(c), false;
    size_t header = put_header(reply, f->opcode == PING ? PONG : CLOSE, f->length, false);
    memcpy(reply + header, f->body, f->length);
    if (!write_frame(c, reply, header + f->length)) return false;
    if (f->opcode == PING) return true;
    return leave(c), false;
}

/* Take a whole request; return its size, 0 if it is torn, SIZE_MAX if it is none. */
static size_t take_request(struct connection *c, const char *bytes, size_t length) {
    static const char name[] = "sec-websocket-key: ";
    char accepted[29], reply[160];
    const char *end = memmem(bytes, length, "\r\n\r\n", 4), *line = bytes;
    if (!end) return length > LONGEST_HEAD ? SIZE_MAX : 0;
    while (line < end && strncasecmp(line, name, sizeof name - 1)) {
        line = memmem(line, (size_t)(end + 2 - line), "\r\n", 2) + 2;
    }
    if (end - line < (ptrdiff_t)sizeof name - 1 + 24) return SIZE_MAX;
    accept_key(line + sizeof name - 1, accepted);
    int size = snprintf(reply, sizeof reply, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accepted);
    if (send(c->fd, reply, (size_t)size, MSG_NOSIGNAL) != size) return SIZE_MAX;
    c->role = memcmp(bytes, "GET /publish", 12) ? LISTENER : SPEAKER;
    if (c->role == LISTENER) listeners[c->place = listening++] = c;
    return (size_t)(end + 4 - bytes);
}

/* Take what is whole of what was read, and keep the rest. */
static void take(struct connection *c, char *bytes, size_t length) {
    size_t done = 0, size;
    struct frame f;
    if (c->role == NEWCOMER) {
        done = take_request(c, bytes, length);
        if (done == SIZE_MAX) return leave(c);
    }
    while (c->role != NEWCOMER && (size = take_first(bytes + done, length - done, &f))) {
        if (size == SIZE_MAX) return leave(c);
        if (!take_frame(c, &f)) return;
        done += size;
    }
    append(&c->kept, bytes + done, length - done);
}

static void read_some(struct connection *c) {
    static struct bytes room;
    room.length = 0;
    append(&room, c->kept.at, c->kept.length);
    if (room.capacity < room.length + ROOM) room.at = have(room.at, room.capacity = room.length + ROOM);
    ssize_t got = recv(c->fd, room.at + room.length, ROOM, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return leave(c);
    release(&c->kept);
    take(c, room.at, room.length + (size_t)got);
}

/* ---- The loop ---- */

static void welcome(int server) {
    for (int fd; (fd = accept4(server, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        struct connection *c = have(NULL, sizeof *c);
        *c = (struct connection){.fd = fd, .role = NEWCOMER};
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        if (fd >= FILES) abort();
        by_fd[fd] = c;
        watch(c, EPOLLIN, EPOLL_CTL_ADD);
    }
}

static int serve(int port) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int server = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(server, (struct sockaddr *)&here, sizeof here) || listen(server, 4096)) return -1;
    struct epoll_event e = {.events = EPOLLIN, .data.fd = server};
    return epoll_ctl(loop, EPOLL_CTL_ADD, server, &e) ? -1 : server;
}

int main(int count, char **arguments) {
    static struct epoll_event events[BATCH];
    allow_many_files();
    signal(SIGPIPE, SIG_IGN);
    loop = epoll_create1(EPOLL_CLOEXEC);
    int server = count == 2 ? serve(atoi(arguments[1])) : -1;
    if (server < 0) return fprintf(stderr, "usage: limit PORT, one that is free: %s\n", strerror(errno)), 1;
    puts("ready");
    fflush(stdout);
    for (;;) {
        int happened = epoll_wait(loop, events, BATCH, -1);
        for (int i = 0; i < happened; i++) {
            int fd = events[i].data.fd;
            struct connection *c = by_fd[fd];
            if (fd == server) welcome(server);
            else if (c && events[i].events & EPOLLOUT && c->unsent.length && !write_unsent(c)) continue;
            else if (c && events[i].events & ~(uint32_t)EPOLLOUT) read_some(c);
        }
    }
}
