/* Evaluates gradient boosted trees exactly: the sums, in the order and the rounding of LightGBM.
 *
 * One to a few rows: each walks many trees at once, without branches that depend on data. Many rows:
 * one tree after the other for a block of rows (kernels.h). Build without fused multiply-add
 * (-ffp-contract=off): LightGBM rounds between the two.
 */
#include "forest.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"

#define LANES 8  /* trees that one row walks at once */
#define BLOCK 256 /* most rows of a block, at any level */

struct scratch {
    int8_t *ranks;
    uint32_t leaves[BLOCK];
};

/* --- one row ------------------------------------------------------------------------------- */

/* To the child, or nowhere from a leaf; the distance to the left child, 0 at a leaf. */
static inline __attribute__((always_inline)) uint32_t step(const uint32_t *nodes,
                                                           const uint8_t *rank, uint32_t *at,
                                                           int wide)
{
    const uint32_t n = nodes[*at];
    const uint8_t bin = (uint8_t)(n >> 16);
    const uint32_t right = bin < rank[n & 0xffff];
    if (!wide) {
        *at += (n >> 24) + right;
        return n >> 24;
    }
    const uint32_t distance = bin == LEAF_BIN ? 0 : nodes[*at + 1];
    *at += 2 * (distance + right);
    return distance;
}

/* Lanes are independent chains: while one waits for a node, the others go on. A lane that has
 * reached its leaf stays there. */
static inline __attribute__((always_inline)) void walk_trees(const struct forest *f,
                                                             const struct tree *t,
                                                             const uint8_t *rank, int wide,
                                                             uint32_t *leaf)
{
    uint32_t at[LANES];
    for (int j = 0; j < LANES; j++)
        at[j] = t[j].root;
    for (uint32_t inner = 1; inner;) {
        inner = 0;
        for (int j = 0; j < LANES; j++) {
            const uint32_t distance = step(f->nodes, rank, at + j, wide);
            inner |= distance;
        }
    }
    for (int j = 0; j < LANES; j++)
        leaf[j] = wide ? f->nodes[at[j] + 1] : NODE_COLUMN(f->nodes[at[j]]);
}

static uint32_t walk_tree(const struct forest *f, const struct tree *t, const uint8_t *rank)
{
    uint32_t at = t->root;
    const int wide = (int)f->head->wide;
    for (;;) {
        const uint32_t n = f->nodes[at], bin = NODE_BIN(n);
        if (bin == LEAF_BIN)
            return wide ? f->nodes[at + 1] : NODE_COLUMN(n);
        const uint32_t right = rank[NODE_COLUMN(n)] > bin;
        at += wide ? 2 * (f->nodes[at + 1] + right) : (n >> 24) + right;
    }
}

static void walk_row(const struct forest *f, const double *x, uint8_t *rank, double *out)
{
    const uint32_t outputs = f->head->outputs;
    uint64_t i = 0;
    uint32_t leaf[LANES], k = 0;
    rank_row(f, x, rank);
    for (; i + LANES <= f->count[TREES]; i += LANES) {
        if (f->head->wide)
            walk_trees(f, f->trees + i, rank, 1, leaf);
        else
            walk_trees(f, f->trees + i, rank, 0, leaf);
        for (int j = 0; j < LANES; j++, k = k + 1 < outputs ? k + 1 : 0)
            out[k] += leaf_value(f, f->trees + i + j, leaf[j], x);
    }
    for (; i < f->count[TREES]; i++, k = k + 1 < outputs ? k + 1 : 0)
        out[k] += leaf_value(f, f->trees + i, walk_tree(f, f->trees + i, rank), x);
}

/* --- many rows ----------------------------------------------------------------------------- */

#define LEVEL(name) name##_16
#define WIDTH 16
#define TARGET
#include "kernels.h"

#if defined(__x86_64__)
#define LEVEL(name) name##_32
#define WIDTH 32
#define TARGET __attribute__((target("avx2")))
#include "kernels.h"

#define LEVEL(name) name##_64
#define WIDTH 64
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#include "kernels.h"
#endif

int forest_level(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return VECTOR_64;
    if (__builtin_cpu_supports("avx2"))
        return VECTOR_32;
#endif
    return VECTOR_16;
}

static void score_blocks(const struct forest *f, const double *matrix, int64_t rows, double *out,
                         int level, int design, struct scratch *scratch)
{
#if defined(__x86_64__)
    if (level == VECTOR_64) {
        blocks_64(f, matrix, rows, out, design, scratch);
        return;
    }
    if (level == VECTOR_32) {
        blocks_32(f, matrix, rows, out, design, scratch);
        return;
    }
#endif
    (void)level;
    blocks_16(f, matrix, rows, out, design, scratch);
}

/* --- outputs ------------------------------------------------------------------------------- */

static void softmax(double *out, uint32_t outputs)
{
    double most = out[0], sum = 0.0;
    for (uint32_t k = 1; k < outputs; k++)
        most = out[k] < most ? most : out[k];
    for (uint32_t k = 0; k < outputs; k++)
        sum += out[k] = exp(out[k] - most);
    for (uint32_t k = 0; k < outputs; k++)
        out[k] /= sum;
}

static void transform(const struct header *h, double *out)
{
    for (uint32_t k = 0; h->averaged && k < h->outputs; k++)
        out[k] /= h->divisor;
    switch (h->transform) {
    case SIGMOID_FIRST:
        out[0] = 1.0 / (1.0 + exp(-h->sigmoid * out[0]));
        break;
    case SIGMOID_EACH:
        for (uint32_t k = 0; k < h->outputs; k++)
            out[k] = 1.0 / (1.0 + exp(-h->sigmoid * out[k]));
        break;
    case SOFTMAX:
        softmax(out, h->outputs);
        break;
    case EXP:
        out[0] = exp(out[0]);
        break;
    case LOG1P_EXP:
        out[0] = log1p(exp(out[0]));
        break;
    case SIGNED_SQUARE:
        out[0] = (out[0] > 0) - (out[0] < 0) == 0 ? 0.0 * out[0] * out[0]
               : out[0] > 0 ? out[0] * out[0] : -out[0] * out[0];
        break;
    default:
        break;
    }
}

/* Whether so few rows walk one by one. A rule costs a vector of rows 1.4 ns (2.4 of 16 bytes), a
 * tree costs a row that walks 23; measured by `python -m tests.benchmarks.forest`. */
static int is_few(const struct forest *f, int64_t rows, int level)
{
    const uint64_t trees = f->count[TREES], rules = f->count[RULES];
    const uint64_t ratio = level == VECTOR_16 ? 10 : 16;
    return !rules || (rows < 64 && (uint64_t)rows * trees * ratio < rules);
}

int forest_predict(const void *image, const double *matrix, int64_t rows, double *out, int raw,
                   int level, int design)
{
    const struct forest f = open_image(image);
    const size_t features = f.head->features, outputs = f.head->outputs, width = f.head->width;
    const int walk = design == WALK || level == SCALAR
        || (design == AUTOMATIC && is_few(&f, rows, level));
    uint8_t fixed[4096];
    struct scratch scratch;
    void *memory = fixed;
    if (!walk || width > sizeof fixed) {
        memory = aligned_alloc(64, walk ? (width + 63) / 64 * 64 : width * BLOCK);
        if (!memory)
            return -1;
    }
    memset(out, 0, (size_t)rows * outputs * sizeof *out);
    if (walk) {
        memset(memory, 0, width);
        for (int64_t r = 0; r < rows; r++)
            walk_row(&f, matrix + (size_t)r * features, memory, out + (size_t)r * outputs);
    } else {
        scratch.ranks = memory;
        memset(memory, 0, width * BLOCK);
        score_blocks(&f, matrix, rows, out, level, design, &scratch);
    }
    for (int64_t r = 0; !raw && r < rows; r++)
        transform(f.head, out + (size_t)r * outputs);
    if (memory != fixed)
        free(memory);
    return 0;
}
