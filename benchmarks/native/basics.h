/* What both programs need: clocks, memory that grows, lines, and WebSocket frames (RFC 6455, section 5.2). */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { TEXT = 1, CLOSE = 8, PING = 9, PONG = 10 };
enum { HEADER = 14, LARGEST = 16 << 20 };
#define SECOND 1000000000ull

static inline uint64_t clock_of(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static inline uint64_t now(void) { return clock_of(CLOCK_MONOTONIC); }
static inline uint64_t cpu(void) { return clock_of(CLOCK_PROCESS_CPUTIME_ID); }
static inline double seconds(uint64_t ns) { return (double)ns / 1e9; }

static inline void allow_many_files(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

static inline void *have(void *memory, size_t size) {
    if (!(memory = realloc(memory, size ? size : 1))) abort();
    return memory;
}

struct bytes { char *at; size_t length, capacity; };

static inline void append(struct bytes *b, const char *from, size_t length) {
    if (b->length + length > b->capacity) {
        b->capacity = b->length + length + b->capacity / 2;
        b->at = have(b->at, b->capacity);
    }
    if (length) memcpy(b->at + b->length, from, length);
    b->length += length;
}

static inline void release(struct bytes *b) {
    free(b->at);
    *b = (struct bytes){0};
}

/* Hand each line of a file to `take`. It ends with a zero, for texts may hold line feeds. */
static inline bool each_line(const char *path, void (*take)(char *)) {
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    if (!file) return false;
    while ((length = getdelim(&line, &size, 0, file)) > 0) take(line);
    free(line);
    fclose(file);
    return true;
}

/* Write a frame's header. A mask is a key of zeros, which leaves the text as it is. */
static inline size_t put_header(char *out, int opcode, size_t length, bool masked) {
    size_t n = 2, bytes = length < 126 ? 0 : length < 65536 ? 2 : 8;
    out[0] = (char)(0x80 | opcode);
    out[1] = (char)((masked ? 0x80 : 0) | (bytes == 0 ? length : bytes == 2 ? 126 : 127));
    while (bytes--) out[n++] = (char)(length >> (8 * bytes));
    if (!masked) return n;
    memset(out + n, 0, 4);
    return n + 4;
}

struct frame { int opcode; bool last, masked; char *body; size_t length; };

/* Read the first frame and unmask it in place. Return its size; 0: torn; SIZE_MAX: too large. */
static inline size_t take_first(char *bytes, size_t there, struct frame *f) {
    const uint8_t *b = (const uint8_t *)bytes;
    if (there < 2) return 0;
    size_t extra = (b[1] & 127) == 126 ? 2 : (b[1] & 127) == 127 ? 8 : 0;
    size_t header = 2 + extra + (b[1] & 0x80 ? 4 : 0);
    if (there < header) return 0;
    f->length = extra ? 0 : b[1] & 127;
    for (size_t i = 0; i < extra; i++) f->length = f->length << 8 | b[2 + i];
    if (f->length > LARGEST) return SIZE_MAX;
    if (there - header < f->length) return 0;
    f->opcode = b[0] & 15;
    f->last = b[0] & 0x80;
    f->masked = b[1] & 0x80;
    f->body = bytes + header;
    if (f->masked) for (size_t i = 0; i < f->length; i++) f->body[i] ^= bytes[header - 4 + (i & 3)];
    return header + f->length;
}
