/* What plain.c reads, and where to. */

#ifndef PENSTOCK_PLAIN_H
#define PENSTOCK_PLAIN_H

#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))

/* What stays the same from body to body; laid out by plain.py. */
typedef struct {
    const uint64_t *powers; /* high and low half of 10**k, normalised, for k from lowest on */
    int64_t lowest, count;
    double *out;
    int64_t room, width; /* values that fit, values in a row */
    int64_t used; /* values that are there already; for the functions that gather */
} Plan;

typedef int64_t (*Read)(const char *body, int64_t size, const Plan *plan);

int64_t plain_tensor(const char *body, int64_t size, const Plan *plan);
int64_t plain_rows(const char *body, int64_t size, const Plan *plan);

#endif
