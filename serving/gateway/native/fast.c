/* Reading requests and writing answers on the fast path. See fast.h. */

#define _GNU_SOURCE
#include "fast.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

static void odd(Fast *f, int32_t number)
{
    f->run.odds[f->run.odd++] = fast_token(f, number);
}

/* Something has come for a seat: read it. Whether it is to be gathered. */
static int take(Fast *f, int32_t number, uint32_t events)
{
    Seat *s = f->seat + number;
    if (s->fd < 0)
        return 0;
    if (s->waiting || s->size) {
        /* More, before its answer, or before anybody took what was read: the end at once, other
           bytes once the connection reads for itself again. */
        s->early = 1;
        if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
            odd(f, number);
        return 0;
    }
    ssize_t size = recv(s->fd, s->data, ROOM, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    s->size = size > 0 ? (uint32_t)size : 0;
    s->head = size > 0 && !(events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) ? fast_head(f, s) : -1;
    if (s->head < 0)
        odd(f, number);
    return s->head >= 0;
}

/* Put the request of a seat into the run. 0: it belongs into the next one. */
static int gather(Fast *f, int32_t number)
{
    Seat *s = f->seat + number;
    const Known *known = f->known + s->head;
    const Route *route = f->routes + known->route;
    Run *run = &f->run;
    if (run->count && (run->route != known->route || run->count >= route->most))
        return 0;
    run->route = known->route;
    if (!run->count && route->plan)
        route->plan->used = 0;
    int64_t rows = 0;
    if (route->plan && route->plan->used + route->plan->width <= route->plan->room) {
        Plan rest = *route->plan;
        rest.out += rest.used;
        rest.room = rest.width; /* one row, no more */
        Read read = route->rows ? plain_rows : plain_tensor;
        rows = read(s->data + known->end, known->size - known->end, &rest);
    }
    if (rows != 1) {
        odd(f, number);
        return 1;
    }
    route->plan->used += route->plan->width;
    s->count++;
    s->waiting = 1;
    run->tokens[run->count++] = fast_token(f, number);
    return 1;
}

/* Read what has come, until a run is full or there is nothing more. 1: call again, there may be. */
EXPORT int64_t fast_turn(Fast *f)
{
    f->run.count = f->run.odd = 0;
    if (f->pending >= 0) {
        int32_t number = f->pending;
        f->pending = -1;
        Seat *s = f->seat + number;
        if (s->fd >= 0 && !s->waiting) {
            s->head = fast_head(f, s); /* heads may have been forgotten meanwhile */
            if (s->head < 0)
                odd(f, number);
            else
                gather(f, number);
        }
    }
    while (f->event < f->events || f->events == EVENTS || !f->polled) {
        if (f->event == f->events) {
            f->events = epoll_wait(f->poll, f->found, EVENTS, 0);
            f->event = 0;
            f->polled = 1;
            if (f->events <= 0)
                break;
        }
        if (f->run.odd == EVENTS)
            return 1;
        const struct epoll_event *event = f->found + f->event++;
        int32_t number = (int32_t)event->data.u64;
        if (take(f, number, event->events) && !gather(f, number)) {
            f->pending = number;
            return 1;
        }
    }
    f->events = f->event = 0;
    f->polled = 0;
    return 0;
}

/* Sixteen hexadecimal digits. */
static char *hex(char *to, uint64_t value)
{
    for (int i = 15; i >= 0; i--, value >>= 4)
        to[i] = "0123456789abcdef"[value & 15];
    return to + 16;
}

static char *put(char *to, const char *from, int64_t size)
{
    memcpy(to, from, (size_t)size);
    return to + size;
}

static char *decimal(char *to, int64_t value)
{
    char digits[20], *at = digits + sizeof digits;
    do
        *--at = (char)('0' + value % 10);
    while (value /= 10);
    return put(to, at, digits + sizeof digits - at);
}

#define PUT(to, text) put(to, text, sizeof(text) - 1)

/* An answer: what `frame` says around a number of `size` digits, with names of its own. */
static int64_t compose(Fast *f, char *out, const Frame *frame, const char *value, int64_t size)
{
    const int64_t body = frame->before_size + size + frame->after_size;
    const uint64_t name = f->names++;
    char *to = put(out, frame->head, frame->head_size);
    to = put(PUT(to, "x-request-id: "), f->half, 16);
    to = hex(to, name);
    to = put(PUT(to, "\r\ntraceparent: 00-"), f->half, 16);
    to = hex(to, name);
    to = hex(PUT(to, "-"), name);
    to = PUT(to, "-00\r\ncontent-type: application/json\r\ncontent-length: ");
    to = PUT(decimal(to, body), "\r\n");
    to = PUT(put(to, frame->headers, frame->headers_size), "\r\n");
    to = put(put(to, frame->before, frame->before_size), value, size);
    return put(to, frame->after, frame->after_size) - out;
}

/* Write an answer to a seat. What the socket does not take becomes the seat's data, and odd. */
static void answer(Fast *f, Seat *s, const char *out, int64_t size)
{
    s->waiting = 0;
    s->active = 1;
    ssize_t sent = send(s->fd, out, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
    /* Where the connection is broken, who writes the rest will find that out. */
    s->size = (uint32_t)(size - (sent > 0 ? sent : 0));
    memcpy(s->data, out + size - s->size, s->size);
    if (s->size || s->early)
        odd(f, (int32_t)(s - f->seat));
}

/* Answer requests with the numbers in `values`, parted by commas, one for each.

   Those that have left their seats, or whose answers are too long, are told in `missed`, by their
   place; returns how many. Afterwards `odds` has who is to be taken back, their data unsent bytes. */
EXPORT int64_t fast_answer(Fast *f, const Frame *frame, const uint64_t *tokens, int64_t count,
                           const char *values, int64_t *missed)
{
    char out[ROOM];
    const int64_t around = frame->head_size + frame->headers_size + frame->before_size + frame->after_size;
    int64_t left = 0;
    f->run.odd = 0;
    for (int64_t i = 0; i < count; i++) {
        const char *end = strchrnul(values, ',');
        Seat *s = fast_find(f, tokens[i]);
        if (!s || !s->waiting || around + (end - values) + 256 > ROOM)
            missed[left++] = i;
        else
            answer(f, s, out, compose(f, out, frame, values, end - values));
        values = *end ? end + 1 : end;
    }
    return left;
}
