/* The parts of an image as pointers, the ranks of a row, and the value of a leaf. */
#ifndef PENSTOCK_FOREST_PARTS_H
#define PENSTOCK_FOREST_PARTS_H

#include <math.h>

#include "image.h"

#define ZERO 1e-35f /* LightGBM reads values up to here as 0 */

/* An image with its parts as pointers. */
struct forest {
    const struct header *head;
    uint64_t count[PARTS];
    const struct column *columns;
    const double *thresholds;
    const uint32_t *words;
    const struct tree *trees;
    const uint32_t *nodes;
    const double *values;
    const uint32_t *planes;
    const struct rule *rules;
    const struct linear *linear;
    const struct term *terms;
};

static inline struct forest open_image(const void *image)
{
    const char *base = image;
    const struct header *h = image;
    struct forest f = {.head = h};
    for (int p = 0; p < PARTS; p++)
        f.count[p] = h->parts[p].count;
    f.columns = (const void *)(base + h->parts[COLUMNS].offset);
    f.thresholds = (const void *)(base + h->parts[THRESHOLDS].offset);
    f.words = (const void *)(base + h->parts[WORDS].offset);
    f.trees = (const void *)(base + h->parts[TREES].offset);
    f.nodes = (const void *)(base + h->parts[NODES].offset);
    f.values = (const void *)(base + h->parts[VALUES].offset);
    f.planes = (const void *)(base + h->parts[PLANES].offset);
    f.rules = (const void *)(base + h->parts[RULES].offset);
    f.linear = (const void *)(base + h->parts[LINEAR].offset);
    f.terms = (const void *)(base + h->parts[TERMS].offset);
    return f;
}

/* --- columns ------------------------------------------------------------------------------- */

/* What LightGBM compares: tiny values are 0, and NaN is where the split has no place for it. */
static inline double flush(double x, uint32_t missing)
{
    if (fabs(x) <= (double)ZERO)
        x = 0.0;
    return missing == MISSING_NONE && isnan(x) ? 0.0 : x;
}

/* How many thresholds lie below each of eight values. */
static inline void rank_numbers(const double *threshold, uint32_t count, const double *v,
                                uint32_t *at)
{
    for (uint32_t length = count; length;) {
        const uint32_t half = (length + 1) / 2;
        for (int j = 0; j < 8; j++)
            at[j] += threshold[at[j] + half - 1] < v[j] ? half : 0;
        length -= half;
    }
}

static inline uint32_t rank_number(const double *threshold, uint32_t count, double v)
{
    uint32_t at = 0;
    for (uint32_t length = count; length;) {
        const uint32_t half = (length + 1) / 2;
        at += threshold[at + half - 1] < v ? half : 0;
        length -= half;
    }
    return at;
}

/* The rank, unless the value is what this column's splits call missing. */
static inline uint32_t missing_or(const struct column *column, double v, uint32_t rank)
{
    const uint32_t missing = column->missing;
    const int absent = isnan(v) || (missing >= ZERO_LEFT && v == 0.0);
    const uint32_t other = missing == NAN_RIGHT || missing == ZERO_RIGHT ? column->count : 0;
    return absent ? other : rank;
}

/* 0 where the set holds the code; what is no code (NaN, below 0, too large) is in no set. */
static inline uint32_t rank_category(const uint32_t *words, uint32_t count, double x)
{
    if (fabs(x) <= (double)ZERO)
        x = 0.0;
    if (!(x > -1.0 && x < 2147483648.0))
        return 1;
    const uint32_t code = (uint32_t)(int32_t)x;
    const uint32_t word = code / 32 < count ? code / 32 : count; /* a word of zeros */
    return ~(words[word] >> code % 32) & 1;
}

static inline void rank_row(const struct forest *f, const double *x, uint8_t *rank)
{
    for (uint32_t c = 0; c < f->count[COLUMNS]; c++) {
        const struct column *column = f->columns + c;
        if (column->missing == CATEGORY) {
            rank[c] = (uint8_t)rank_category(f->words + column->first, column->count,
                                             x[column->feature]);
            continue;
        }
        const double v = flush(x[column->feature], column->missing);
        const uint32_t found = rank_number(f->thresholds + column->first, column->count, v);
        rank[c] = (uint8_t)missing_or(column, v, found);
    }
}

/* --- leaves -------------------------------------------------------------------------------- */

static inline double linear_value(const struct forest *f, uint32_t leaf, const double *x)
{
    const struct linear *l = f->linear + leaf;
    double sum = l->constant;
    for (uint32_t i = l->first; i < l->first + l->count; i++) {
        const double v = x[f->terms[i].feature];
        if (isnan(v))
            return f->values[leaf];
        sum += f->terms[i].coefficient * (fabs(v) <= (double)ZERO ? 0.0 : v);
    }
    return sum;
}

static inline double leaf_value(const struct forest *f, const struct tree *t, uint32_t leaf,
                                const double *x)
{
    return t->linear ? linear_value(f, t->value + leaf, x) : f->values[t->value + leaf];
}

#endif
