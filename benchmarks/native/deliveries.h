/* What was said, and what of it was delivered when. Each message holds a marker, ~0000000000~, whose
   digits are its running number. It may hold it again, at #0000000000#, for what answers repeat.
   Memory is bounded: the oldest of very many messages is given up. */
#include "basics.h"

enum { DIGITS = 10, MARKER = DIGITS + 2, SLOTS = 1 << 20, STEPS = 128 };

/* Times by powers of two, each in 128 steps, so within 1 %. */
struct histogram { uint64_t count, max, at[64 * STEPS]; };

static void record(struct histogram *h, uint64_t ns) {
    unsigned power = ns < STEPS ? 0 : 56 - (unsigned)__builtin_clzll(ns);
    h->at[power * STEPS + (ns >> power)]++;
    h->count++;
    if (ns > h->max) h->max = ns;
}

static double milliseconds(const struct histogram *h, double share) {
    uint64_t rank = (uint64_t)(share * (double)h->count), seen = 0;
    for (unsigned i = 0; i < 64 * STEPS; i++) {
        if ((seen += h->at[i]) <= rank) continue;
        unsigned power = i < 2 * STEPS ? 0 : i / STEPS - 1;
        return (double)((uint64_t)(i - power * STEPS) << power) / 1e6;
    }
    return (double)h->max / 1e6;
}

struct slot { uint64_t sent; uint32_t expected, delivered; };

static struct {
    unsigned long long first, next; /* running numbers */
    unsigned long long outstanding, deliveries, missing, surplus, late;
    uint64_t last; /* when a delivery came */
    struct histogram delivery_times, message_times;
    struct slot slots[SLOTS];
} said;

static void begin_said(void) {
    said.first = said.next;
    said.outstanding = said.deliveries = said.missing = said.surplus = said.last = 0;
    memset(&said.delivery_times, 0, sizeof said.delivery_times);
    memset(&said.message_times, 0, sizeof said.message_times);
}

static void give_up(uint64_t number) {
    struct slot *s = &said.slots[number % SLOTS];
    said.outstanding -= s->delivered < s->expected;
    said.missing += s->expected - s->delivered;
    s->expected = s->delivered = 0;
}

static void end_said(void) {
    uint64_t oldest = said.next - said.first > SLOTS ? said.next - SLOTS : said.first;
    while (oldest < said.next) give_up(oldest++);
}

/* Number the next message and write its number where its marker's digits are. */
static void number_next(char *digits, uint32_t expected) {
    if (said.next - said.first >= SLOTS) give_up(said.next - SLOTS);
    uint64_t number = said.next++;
    said.slots[number % SLOTS] = (struct slot){.sent = now(), .expected = expected};
    said.outstanding++;
    for (int i = DIGITS; i--; number /= 10) digits[i] = (char)('0' + number % 10);
}

static void deliver(uint64_t number, uint64_t at) {
    struct slot *s = &said.slots[number % SLOTS];
    if (number < said.first || number >= said.next || number + SLOTS < said.next) {
        said.late++; /* of what was given up */
    } else if (s->delivered == s->expected) {
        said.surplus++;
    } else {
        said.deliveries++;
        said.last = at;
        record(&said.delivery_times, at - s->sent);
        if (++s->delivered < s->expected) return;
        said.outstanding--;
        record(&said.message_times, at - s->sent);
    }
}

static void find_markers(const char *text, size_t length, uint64_t at) {
    const char *end = text + length;
    while (end - text >= MARKER && (text = memchr(text, '~', (size_t)(end - text)))) {
        uint64_t number = 0;
        int digits = 0;
        if (end - text < MARKER) return;
        for (text++; digits < DIGITS && *text >= '0' && *text <= '9'; digits++)
            number = number * 10 + (uint64_t)(*text++ - '0');
        if (digits == DIGITS && *text == '~') deliver(number, at), text++;
    }
}
