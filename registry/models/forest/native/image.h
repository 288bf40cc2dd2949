/* The image of a forest: flat arrays in one block of memory that nobody writes.
 *
 * Several processes map one file. Nothing in it is a pointer; `forest_check` proves that every
 * index stays inside before anything is followed. registry/models/forest/image.py writes it and
 * mirrors these structs; both carry FORMAT.
 *
 * A *column* turns one feature of a row into a byte, its rank, so that every split of every tree
 * becomes `rank > bin`: right if true, left if not. Numbers: how many of the column's thresholds lie
 * below the value. A split that treats missing values otherwise has a column of its own, in which
 * they rank below or above all thresholds. Categories: 0 where the code is in the set, else 1.
 */
#ifndef PENSTOCK_FOREST_IMAGE_H
#define PENSTOCK_FOREST_IMAGE_H

#include <stdint.h>

#define FORMAT 1u
#define ORDER 0x01020304u /* another byte order reads it otherwise, and refuses */
#define MOST_THRESHOLDS 255u
#define MOST_PLANES 32u /* bit vectors hold trees of at most 32 x 8 leaves */
#define LEAF_BIN 255u  /* no rank is above it, so a walk stays at a leaf */

enum missing { MISSING_NONE, NAN_LEFT, NAN_RIGHT, ZERO_LEFT, ZERO_RIGHT, CATEGORY };

enum transform { IDENTITY, SIGMOID_FIRST, SIGMOID_EACH, SOFTMAX, EXP, LOG1P_EXP, SIGNED_SQUARE };

enum part { COLUMNS, THRESHOLDS, WORDS, TREES, NODES, VALUES, PLANES, RULES, LINEAR, TERMS, PARTS };

struct section {
    uint64_t offset; /* from the start of the image, a multiple of 64 */
    uint64_t count;  /* elements */
};

struct header {
    char magic[8]; /* "PSFOREST" */
    uint32_t format, order;
    uint64_t bytes;
    uint8_t digest[32]; /* SHA-256 of all that follows; registry/models/forest/image.py looks */
    uint32_t features, outputs;
    uint32_t width; /* bytes of a row's ranks: as many as columns, and as leaves of a small tree */
    uint32_t wide;  /* nodes are 64 bits; else 32 */
    uint32_t transform, averaged;
    double divisor, sigmoid;
    struct section parts[PARTS];
};

struct column {
    uint32_t feature, missing;
    uint32_t first, count; /* of thresholds; of words of the set, a word of zeros behind them */
};

struct tree {
    uint32_t root, nodes; /* in NODES */
    uint32_t depth;
    uint32_t value, leaves; /* in VALUES and LINEAR, from left to right; room for 8 x planes */
    uint32_t plane, planes; /* in PLANES, whose entries are where rules begin; 0: no bit vectors */
    uint32_t linear;
};

/* A node of 32 bits: column 0-15, bin 16-23, distance to the left child 24-31, the right child
 * behind it. A leaf has LEAF_BIN, distance 0, and its number instead of a column.
 * A node of 64 bits: column 0-15, bin 16-23, distance 32-63; a leaf has its number there. */
#define NODE_COLUMN(n) ((uint32_t)(n) & 0xffffu)
#define NODE_BIN(n) ((uint32_t)(n) >> 16 & 0xffu)

/* "Where rank >= bin, leaves whose bit is not in `keep` are out": one plane of 8 leaves. */
struct rule {
    uint16_t column;
    int8_t bin; /* bin + 1 - 128: ranks are biased to compare as signed bytes */
    uint8_t keep;
};

/* A leaf of a linear tree: constant + sum of coefficient x feature; with a NaN its value instead. */
struct linear {
    double constant;
    uint32_t first, count; /* in TERMS */
};

struct term {
    double coefficient;
    uint32_t feature, unused;
};

_Static_assert(sizeof(struct header) == 256 && sizeof(struct tree) == 32, "as image.py writes them");

#endif
