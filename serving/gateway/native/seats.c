/* Who sits on the fast path, and the heads that are known there. See fast.h. */

#define _GNU_SOURCE
#include "fast.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

EXPORT uint64_t fast_token(const Fast *f, int64_t number)
{
    return (uint64_t)f->seat[number].count << 32 | (uint32_t)number;
}

/* The seat of a request that is still there, or NULL. */
Seat *fast_find(Fast *f, uint64_t token)
{
    uint32_t number = (uint32_t)token;
    if (number >= (uint32_t)f->seats)
        return NULL;
    Seat *seat = f->seat + number;
    return seat->fd >= 0 && seat->count == (uint32_t)(token >> 32) ? seat : NULL;
}

EXPORT Fast *fast_open(int64_t seats, const char *half, uint64_t names)
{
    Fast *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->seat = calloc((size_t)seats, sizeof *f->seat);
    f->poll = epoll_create1(EPOLL_CLOEXEC);
    if (!f->seat || f->poll < 0) {
        if (f->poll >= 0)
            close(f->poll);
        free(f->seat);
        free(f);
        return NULL;
    }
    f->seats = (int32_t)seats;
    for (int32_t i = 0; i < f->seats; i++)
        f->seat[i].fd = -1;
    memset(f->slots, -1, sizeof f->slots);
    memcpy(f->half, half, 16);
    f->names = names;
    f->pending = -1;
    return f;
}

EXPORT int64_t fast_fileno(const Fast *f)
{
    return f->poll;
}

EXPORT Route *fast_routes(Fast *f)
{
    return f->routes;
}

/* Forget all heads: connections that send them are handed back. */
EXPORT void fast_forget(Fast *f)
{
    for (int32_t i = 0; i < f->heads; i++)
        free(f->known[i].bytes);
    f->heads = 0;
    memset(f->slots, -1, sizeof f->slots);
}

static uint32_t hash(const char *bytes, uint32_t size)
{
    uint64_t h = 14695981039346656037u;
    for (uint32_t i = 0; i < size; i++)
        h = (h ^ (uint8_t)bytes[i]) * 1099511628211u;
    return (uint32_t)(h >> 32 ^ h);
}

/* Know a head, which begins a request of `size` bytes. 0: there is no more room. */
EXPORT int64_t fast_know(Fast *f, const char *bytes, int64_t end, int64_t size, int64_t route)
{
    char *copy = f->heads < SLOTS / 2 && size < ROOM ? malloc((size_t)end) : NULL;
    if (!copy)
        return 0;
    memcpy(copy, bytes, (size_t)end);
    f->known[f->heads] = (Known){copy, (uint32_t)end, (uint32_t)size, (int32_t)route};
    uint32_t slot = hash(bytes, (uint32_t)end) % SLOTS;
    while (f->slots[slot] >= 0)
        slot = (slot + 1) % SLOTS;
    f->slots[slot] = f->heads++;
    return 1;
}

static int fits(const Fast *f, const Seat *s, int32_t head)
{
    if (head < 0 || head >= f->heads)
        return 0;
    const Known *k = f->known + head;
    return s->size == k->size && !memcmp(s->data, k->bytes, k->end);
}

/* The head of what a seat has read, if that is one whole request with a known one; or -1. */
int32_t fast_head(const Fast *f, const Seat *s)
{
    if (fits(f, s, s->head))
        return s->head;
    const char *end = memmem(s->data, s->size, "\r\n\r\n", 4);
    if (!end)
        return -1;
    uint32_t slot = hash(s->data, (uint32_t)(end + 4 - s->data)) % SLOTS;
    for (; f->slots[slot] >= 0; slot = (slot + 1) % SLOTS)
        if (fits(f, s, f->slots[slot]))
            return f->slots[slot];
    return -1;
}

/* Give a connection a seat; its number, or -1. */
EXPORT int64_t fast_seat(Fast *f, int64_t fd)
{
    int32_t i = 0;
    while (i < f->seats && f->seat[i].fd >= 0)
        i++;
    char *data = i < f->seats ? malloc(ROOM) : NULL;
    if (!data)
        return -1;
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.u64 = (uint64_t)i};
    if (epoll_ctl(f->poll, EPOLL_CTL_ADD, (int)fd, &event)) {
        free(data);
        return -1;
    }
    f->seat[i] = (Seat){.fd = (int)fd, .count = f->seat[i].count + 1, .head = -1, .data = data};
    return i;
}

/* Take the seat of a connection away; what it had read is no more. */
EXPORT void fast_leave(Fast *f, int64_t number)
{
    Seat *s = f->seat + number;
    epoll_ctl(f->poll, EPOLL_CTL_DEL, s->fd, NULL);
    free(s->data);
    *s = (Seat){.fd = -1, .count = s->count + 1};
}

EXPORT void fast_close(Fast *f)
{
    for (int32_t i = 0; i < f->seats; i++)
        if (f->seat[i].fd >= 0)
            fast_leave(f, i);
    fast_forget(f);
    close(f->poll);
    free(f->seat);
    free(f);
}

/* The bytes that a seat has read and not yet answered; how many. */
EXPORT int64_t fast_data(const Fast *f, int64_t number, const char **data)
{
    *data = f->seat[number].data;
    return f->seat[number].size;
}

/* The number of the head of the request that a seat has read, in the order in which they were learned. */
EXPORT int64_t fast_known(const Fast *f, int64_t number)
{
    return f->seat[number].head;
}

/* 2: an answer is due; 1: one was given since this was last asked; 0: nothing has happened. */
EXPORT int64_t fast_state(Fast *f, int64_t number)
{
    Seat *s = f->seat + number;
    int active = s->active;
    s->active = 0;
    return s->waiting ? 2 : active;
}
