/* The fast path: connections whose plain requests are read and answered without the event loop.

   A connection has a seat while it only ever sends whole requests of one row with heads that are
   known by all of their bytes. Whatever else comes (other bytes, a part of a request, an end, a
   request before the last one was answered) is *odd*: the caller takes the connection back and goes
   on with the bytes that were read. So nothing here has to know HTTP, and nothing is guessed.

   A request is named by a token: its seat, and a count that tells it from others of that seat. One
   thread; nothing here waits. */

#ifndef PENSTOCK_FAST_H
#define PENSTOCK_FAST_H

#include "plain.h"

#include <sys/epoll.h>

enum { ROOM = 8192, EVENTS = 256, SLOTS = 4096, ROUTES = 64 };

typedef struct {
    int fd; /* -1: free */
    uint32_t count, size;
    int32_t head;
    uint8_t waiting, early, active;
    char *data;
} Seat;

typedef struct {
    char *bytes;
    uint32_t end, size;
    int32_t route;
} Known;

/* Laid out by fast.py, as are Run and Frame. */
typedef struct {
    int64_t rows; /* whether the form is plain_rows, not plain_tensor */
    Plan *plan; /* NULL: nothing is taken */
    int64_t most; /* requests of one run */
} Route;

typedef struct {
    int64_t route, count, odd;
    uint64_t tokens[EVENTS]; /* what was read, in the order of its rows in the plan */
    uint64_t odds[2 * EVENTS];
} Run;

/* What is around the number in an answer; its first line and its names come before it. */
typedef struct {
    const char *head, *headers, *before, *after;
    int64_t head_size, headers_size, before_size, after_size;
} Frame;

typedef struct {
    Run run; /* first, where fast.py looks for it */
    Route routes[ROUTES];
    int poll;
    int32_t seats, heads, pending, event, events, polled;
    Seat *seat;
    Known known[SLOTS / 2];
    int32_t slots[SLOTS];
    struct epoll_event found[EVENTS];
    uint64_t names;
    char half[17];
} Fast;

/* seats.c */
uint64_t fast_token(const Fast *f, int64_t number);
Seat *fast_find(Fast *f, uint64_t token);
int32_t fast_head(const Fast *f, const Seat *seat);

#endif
